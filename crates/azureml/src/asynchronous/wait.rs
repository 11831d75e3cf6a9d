//! Waits for the end of a run.

use super::Run;
use crate::error::Result;
use crate::run::{RunDetails, WaitOptions, wait};

impl Run {
    /// Waits until the run has ended. With `show_output`, prints the statuses and the log while
    /// they arrive. A run that fails or is canceled is an error.
    pub async fn wait_for_completion(&self, show_output: bool) -> Result<RunDetails> {
        self.wait_for_completion_with(WaitOptions {
            show_output,
            ..WaitOptions::default()
        })
        .await
    }

    /// Waits until the run has ended, with these options.
    pub async fn wait_for_completion_with(&self, options: WaitOptions) -> Result<RunDetails> {
        wait(self, options).await
    }
}
