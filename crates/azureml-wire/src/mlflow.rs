//! MLflow's tracking REST, as far as metrics, parameters and tags go.

use serde::{Deserialize, Serialize};

/// One value of a metric.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    /// The metric's name.
    pub key: String,
    /// The value; MLflow writes `NaN` and infinities as text, which the services read too.
    pub value: f64,
    /// Milliseconds since 1970.
    pub timestamp: i64,
    /// The step; 0 when the metric has none.
    #[serde(default)]
    pub step: i64,
}

/// One parameter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Param {
    /// Its name.
    pub key: String,
    /// Its value.
    pub value: String,
}

/// One tag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunTag {
    /// Its name.
    pub key: String,
    /// Its value.
    pub value: String,
}

/// `POST runs/log-batch`: at most 1000 metrics, 100 parameters and 100 tags.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct LogBatch {
    /// The run.
    pub run_id: String,
    /// Metrics.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<Metric>,
    /// Parameters.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub params: Vec<Param>,
    /// Tags.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<RunTag>,
}

/// `POST runs/set-tag`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SetTag {
    /// The run.
    pub run_id: String,
    /// The tag's name.
    pub key: String,
    /// The tag's value.
    pub value: String,
}

/// `GET runs/get`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GetRun {
    /// The run.
    pub run: Run,
}

/// A run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Run {
    /// Identity and status.
    pub info: RunInfo,
    /// Latest metrics, parameters and tags.
    #[serde(default)]
    pub data: RunData,
}

/// A run's identity and status.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RunInfo {
    /// The run's id: the job's name.
    pub run_id: String,
    /// The same, under its older name.
    pub run_uuid: String,
    /// The name that people see.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_name: Option<String>,
    /// The experiment.
    pub experiment_id: String,
    /// The user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// `RUNNING`, `SCHEDULED`, `FINISHED`, `FAILED`, `KILLED`.
    pub status: String,
    /// Milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_time: Option<i64>,
    /// Milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_time: Option<i64>,
    /// Root of the run's artifacts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub artifact_uri: Option<String>,
    /// `active` or `deleted`.
    pub lifecycle_stage: String,
}

/// A run's latest metrics, parameters and tags.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RunData {
    /// The last value of each metric.
    pub metrics: Vec<Metric>,
    /// Parameters.
    pub params: Vec<Param>,
    /// Tags.
    pub tags: Vec<RunTag>,
}

/// `GET metrics/get-history`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct MetricHistory {
    /// Every value, in the order of logging.
    pub metrics: Vec<Metric>,
    /// Where to go on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_page_token: Option<String>,
}
