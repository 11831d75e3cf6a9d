//! Runs.

use super::Workspace;
use crate::asynchronous;
use crate::context::RunContext;
use crate::error::Result;
use crate::model::Model;
use crate::run::{FileList, Metrics, RunDetails, RunFilter, Trials, WaitOptions};
use crate::runtime::block_on;
use crate::show::{Cell, List, Row};
use azureml_wire::Bag;
use azureml_wire::job::JobStatus;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The longest wait for a status before a run is displayed.
const REFRESH: Duration = Duration::from_secs(3);

/// One execution of a job; cheap to clone.
///
/// The run does not depend on the notebook: it goes on when the kernel ends, and [`Run::get`]
/// returns it again by its id.
#[derive(Debug, Clone)]
pub struct Run(asynchronous::Run);

impl Run {
    /// The run of this process, for training programs. Outside a job the context is offline.
    pub fn get_context() -> RunContext {
        RunContext::current()
    }

    /// A run by its id.
    pub fn get(workspace: &Workspace, id: &str) -> Result<Self> {
        block_on(workspace.asynchronous().run(id)).map(Self)
    }

    /// Lists the runs of an experiment, the newest first.
    pub fn list(workspace: &Workspace, experiment: &str) -> Result<List<Self>> {
        let runs = block_on(workspace.asynchronous().runs(experiment))?;
        Ok(runs.into_iter().map(Self).collect())
    }

    /// Lists the runs that match a filter, the newest first. Child runs are not included: list them
    /// with [`children`](Self::children).
    pub fn find(workspace: &Workspace, filter: &RunFilter) -> Result<List<Self>> {
        let runs = block_on(workspace.asynchronous().find_runs(filter))?;
        Ok(runs.into_iter().map(Self).collect())
    }

    /// The id of the run, which is the name of the job.
    pub fn id(&self) -> &str {
        self.0.id()
    }

    /// The experiment of the run.
    pub fn experiment_name(&self) -> &str {
        self.0.experiment_name()
    }

    /// The display name.
    pub fn display_name(&self) -> &str {
        self.0.display_name()
    }

    /// The URL of the run's page in Studio.
    pub fn portal_url(&self) -> Option<&str> {
        self.0.portal_url()
    }

    /// Requests the current status.
    pub fn status(&self) -> Result<JobStatus> {
        block_on(self.0.status())
    }

    /// Requests the details: the current status, its time and, for a failed run, the reason.
    pub fn details(&self) -> Result<RunDetails> {
        block_on(self.0.details())
    }

    /// Waits until the run has ended. With `show_output`, prints the statuses and the log while
    /// they arrive. A run that fails or is canceled is an error.
    pub fn wait_for_completion(&self, show_output: bool) -> Result<RunDetails> {
        block_on(self.0.wait_for_completion(show_output))
    }

    /// Waits until the run has ended, with these options.
    pub fn wait_for_completion_with(&self, options: WaitOptions) -> Result<RunDetails> {
        block_on(self.0.wait_for_completion_with(options))
    }

    /// The complete logs so far.
    pub fn logs(&self) -> Result<String> {
        block_on(self.0.logs())
    }

    /// Reads the metrics of the run, with all values.
    pub fn metrics(&self) -> Result<Metrics> {
        block_on(self.0.metrics())
    }

    /// Lists the files of the run: outputs and logs.
    pub fn file_names(&self) -> Result<FileList> {
        block_on(self.0.file_names())
    }

    /// Downloads one file to `to`, or into `to` if that is a folder, and returns its path.
    pub fn download_file(&self, name: &str, to: impl AsRef<Path>) -> Result<PathBuf> {
        block_on(self.0.download_file(name, to))
    }

    /// Downloads all files whose names begin with `prefix` into the folder `to`, with the same
    /// relative paths, and returns their paths.
    pub fn download_files(&self, prefix: &str, to: impl AsRef<Path>) -> Result<List<PathBuf>> {
        block_on(self.0.download_files(prefix, to))
    }

    /// Sets a tag.
    pub fn tag(&self, name: &str, value: &str) -> Result<()> {
        block_on(self.0.tag(name, value))
    }

    /// Reads the tags.
    pub fn tags(&self) -> Result<Bag> {
        block_on(self.0.tags())
    }

    /// Lists the child runs in the order of their creation: the trials of a sweep, and the runs
    /// that programs start within their own run.
    pub fn children(&self) -> Result<List<Self>> {
        let children = block_on(self.0.children())?;
        Ok(children.into_iter().map(Self).collect())
    }

    /// The parent run, if any.
    pub fn parent(&self) -> Result<Option<Self>> {
        Ok(block_on(self.0.parent())?.map(Self))
    }

    /// The trials of a sweep so far, as a table with the best first and as charts.
    pub fn trials(&self) -> Result<Trials> {
        block_on(self.0.trials())
    }

    /// The best trial of a sweep so far; `None` until a trial has logged the primary metric.
    pub fn best_child(&self) -> Result<Option<Self>> {
        Ok(block_on(self.0.best_child())?.map(Self))
    }

    /// Requests cancellation, for a sweep including its trials;
    /// [`wait_for_completion`](Self::wait_for_completion) waits until the run has ended.
    pub fn cancel(&self) -> Result<()> {
        block_on(self.0.cancel())
    }

    /// Registers a file or folder of this run as a model, under its next version.
    ///
    /// A folder with a file `MLmodel` is registered as a model in MLflow format.
    pub fn register_model(&self, name: &str, path: &str) -> Result<Model> {
        block_on(self.0.register_model(name, path))
    }

    /// The same run for async code.
    pub fn asynchronous(&self) -> &asynchronous::Run {
        &self.0
    }
}

impl From<asynchronous::Run> for Run {
    fn from(run: asynchronous::Run) -> Self {
        Self(run)
    }
}

impl Row for Run {
    const NOUN: &'static str = asynchronous::Run::NOUN;
    const HEADERS: &'static [&'static str] = asynchronous::Run::HEADERS;

    fn cells(&self) -> Vec<Cell> {
        self.0.cells()
    }
}

impl notebook::Display for Run {
    /// A card with the current status, or with the last known one when the service is slow.
    fn mime_bundle(&self) -> notebook::MimeBundle {
        if !self.0.last_status().is_terminal() {
            let _ = block_on(async {
                let _ = tokio::time::timeout(REFRESH, self.0.status()).await;
                Ok(())
            });
        }
        self.0.mime_bundle()
    }
}

notebook::evcxr_display!(Run, List<Run>);
