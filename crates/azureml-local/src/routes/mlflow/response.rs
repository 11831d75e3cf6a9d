//! The responses of MLflow's routes that the client of this project does not read.

use azureml_wire::mlflow::{Run, RunInfo, RunTag};
use serde::Serialize;

/// A response without content.
#[derive(Serialize)]
pub struct Empty {}

/// A changed run.
#[derive(Serialize)]
pub struct Updated {
    /// Its identity and status.
    pub run_info: RunInfo,
}

/// A page of runs.
#[derive(Serialize)]
pub struct Runs {
    /// The runs.
    pub runs: Vec<Run>,
    /// The token of the next page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_page_token: Option<String>,
}

/// A page of logged models; always empty, because models are artifacts of runs here.
#[derive(Serialize)]
pub struct LoggedModels {
    /// No models.
    pub models: [(); 0],
}

/// The id of a new experiment.
#[derive(Serialize)]
pub struct Created {
    /// The id.
    pub experiment_id: String,
}

/// An experiment.
#[derive(Serialize)]
pub struct ShownExperiment {
    /// The id.
    pub experiment_id: String,
    /// The name.
    pub name: String,
    /// The root of its runs' artifacts.
    pub artifact_location: String,
    /// `active` or `deleted`.
    pub lifecycle_stage: String,
    /// Milliseconds since the Unix epoch.
    pub creation_time: i64,
    /// Milliseconds since the Unix epoch.
    pub last_update_time: i64,
    /// Its tags.
    pub tags: Vec<RunTag>,
}

/// One experiment.
#[derive(Serialize)]
pub struct GetExperiment {
    /// The experiment.
    pub experiment: ShownExperiment,
}

/// A page of experiments.
#[derive(Serialize)]
pub struct Experiments {
    /// The experiments.
    pub experiments: Vec<ShownExperiment>,
    /// The token of the next page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_page_token: Option<String>,
}
