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

/// A cell's value is not worth a longer wait.
const REFRESH: Duration = Duration::from_secs(3);

/// One execution of a job; cheap to clone.
///
/// It goes on whatever becomes of the notebook: [`Run::get`] finds it again by its id.
#[derive(Debug, Clone)]
pub struct Run(asynchronous::Run);

impl Run {
    /// The run that this program belongs to; for training programs. Outside a job it is offline.
    pub fn get_context() -> RunContext {
        RunContext::current()
    }

    /// A run by its id.
    pub fn get(workspace: &Workspace, id: &str) -> Result<Self> {
        block_on(workspace.asynchronous().run(id)).map(Self)
    }

    /// The runs of an experiment, newest first.
    pub fn list(workspace: &Workspace, experiment: &str) -> Result<List<Self>> {
        let runs = block_on(workspace.asynchronous().runs(experiment))?;
        Ok(runs.into_iter().map(Self).collect())
    }

    /// The runs that are wanted, newest first. Children of runs are found by way of their parents.
    pub fn find(workspace: &Workspace, filter: &RunFilter) -> Result<List<Self>> {
        let runs = block_on(workspace.asynchronous().find_runs(filter))?;
        Ok(runs.into_iter().map(Self).collect())
    }

    /// Its id: the job's name.
    pub fn id(&self) -> &str {
        self.0.id()
    }

    /// The experiment that it belongs to.
    pub fn experiment_name(&self) -> &str {
        self.0.experiment_name()
    }

    /// The name that people see.
    pub fn display_name(&self) -> &str {
        self.0.display_name()
    }

    /// Its page in Studio.
    pub fn portal_url(&self) -> Option<&str> {
        self.0.portal_url()
    }

    /// Where it stands.
    pub fn status(&self) -> Result<JobStatus> {
        block_on(self.0.status())
    }

    /// Where it stands, since when, and why.
    pub fn details(&self) -> Result<RunDetails> {
        block_on(self.0.details())
    }

    /// Waits until it has ended. With `show_output` its statuses and its log are printed as they come. A run that fails or is
    /// canceled is an error.
    pub fn wait_for_completion(&self, show_output: bool) -> Result<RunDetails> {
        block_on(self.0.wait_for_completion(show_output))
    }

    /// Waits until it has ended.
    pub fn wait_for_completion_with(&self, options: WaitOptions) -> Result<RunDetails> {
        block_on(self.0.wait_for_completion_with(options))
    }

    /// All that it has written to its logs so far.
    pub fn logs(&self) -> Result<String> {
        block_on(self.0.logs())
    }

    /// Its metrics: every value of each.
    pub fn metrics(&self) -> Result<Metrics> {
        block_on(self.0.metrics())
    }

    /// The names of its files: outputs and logs.
    pub fn file_names(&self) -> Result<FileList> {
        block_on(self.0.file_names())
    }

    /// Downloads one of its files to `to`, or into `to` when that is a folder; gives where it is.
    pub fn download_file(&self, name: &str, to: impl AsRef<Path>) -> Result<PathBuf> {
        block_on(self.0.download_file(name, to))
    }

    /// Downloads its files whose names begin with `prefix` into the folder `to`, under their own names; gives where they are.
    pub fn download_files(&self, prefix: &str, to: impl AsRef<Path>) -> Result<List<PathBuf>> {
        block_on(self.0.download_files(prefix, to))
    }

    /// Sets a tag.
    pub fn tag(&self, name: &str, value: &str) -> Result<()> {
        block_on(self.0.tag(name, value))
    }

    /// Its tags.
    pub fn tags(&self) -> Result<Bag> {
        block_on(self.0.tags())
    }

    /// The runs that belong to it, in the order in which they were made: the trials of a sweep, and what programs begin within
    /// their own runs.
    pub fn children(&self) -> Result<List<Self>> {
        let children = block_on(self.0.children())?;
        Ok(children.into_iter().map(Self).collect())
    }

    /// The run that it belongs to.
    pub fn parent(&self) -> Result<Option<Self>> {
        Ok(block_on(self.0.parent())?.map(Self))
    }

    /// The trials of a sweep so far, compared: a table, the best first, and charts.
    pub fn trials(&self) -> Result<Trials> {
        block_on(self.0.trials())
    }

    /// The best trial of a sweep so far; `None` while none has logged the primary metric.
    pub fn best_child(&self) -> Result<Option<Self>> {
        Ok(block_on(self.0.best_child())?.map(Self))
    }

    /// Asks for its end, and a sweep's trials' with it; [`wait_for_completion`](Self::wait_for_completion) tells when it has come.
    pub fn cancel(&self) -> Result<()> {
        block_on(self.0.cancel())
    }

    /// Registers a file or folder of this run as a model, under its next version.
    ///
    /// A folder that holds a file `MLmodel` is registered as a model in MLflow's form.
    pub fn register_model(&self, name: &str, path: &str) -> Result<Model> {
        block_on(self.0.register_model(name, path))
    }

    /// The same for async code.
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
    /// A card with the status of now, or the last one that was heard of when the service is slow.
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
