//! Experiments: named groups of runs.

use super::{Run, Workspace};
use crate::error::Result;
use crate::runtime::block_on;
use crate::show::{Card, Cell, List};
use crate::sweep_config::JobConfig;

/// An experiment: a named group of runs. It is created with its first run.
#[derive(Debug, Clone)]
pub struct Experiment {
    workspace: Workspace,
    name: String,
}

impl Experiment {
    /// The experiment of that name.
    pub fn new(workspace: &Workspace, name: impl Into<String>) -> Self {
        Self {
            workspace: workspace.clone(),
            name: name.into(),
        }
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Submits a job, or a sweep of jobs.
    ///
    /// A Rust script is built first. The code and local inputs are uploaded unless the workspace
    /// already has the same content.
    pub fn submit<'a>(&self, config: impl Into<JobConfig<'a>>) -> Result<Run> {
        block_on(self.workspace.asynchronous().submit(&self.name, config)).map(Run::from)
    }

    /// Lists the runs, the newest first.
    pub fn runs(&self) -> Result<List<Run>> {
        Run::list(&self.workspace, &self.name)
    }
}

impl notebook::Display for Experiment {
    fn mime_bundle(&self) -> notebook::MimeBundle {
        Card::new("Experiment", &self.name)
            .row("Workspace", Cell::text(self.workspace.name()))
            .mime_bundle()
    }
}

notebook::evcxr_display!(Experiment);
