//! Run history: the data-plane API that reports the status, logs and artifacts of a job.

use crate::Bag;
use crate::error::ErrorResponse;
use crate::job::JobStatus;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The key in [`RunDetails::properties`] under which the local workspace returns a run's
/// [`StatusChange`]s, as JSON in a string.
pub const STATUS_HISTORY: &str = "azureml.status_history";

/// The response of `…/runs/{name}/details`. Has no `Debug`: the URLs of the logs are secrets.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunDetails {
    /// The job's name.
    pub run_id: String,
    /// The compute target.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub target: Option<String>,
    /// The status.
    pub status: JobStatus,
    /// Time at which the command started.
    #[serde(default)]
    pub start_time_utc: Option<DateTime<Utc>>,
    /// Time at which the job ended.
    #[serde(default)]
    pub end_time_utc: Option<DateTime<Utc>>,
    /// URLs of the log files by name (`user_logs/std_log.txt`). The URLs are secrets: they give
    /// access without a further credential.
    #[serde(default, deserialize_with = "crate::lenient::null_as_default")]
    pub log_files: BTreeMap<String, String>,
    /// Properties.
    #[serde(default, deserialize_with = "crate::lenient::null_as_default")]
    pub properties: Bag,
    /// The error of a failed run.
    #[serde(default)]
    pub error: Option<ErrorResponse>,
    /// Warnings.
    #[serde(default, deserialize_with = "crate::lenient::null_as_default")]
    pub warnings: Vec<RunWarning>,
}

/// A run in the responses of `…/runs/{name}` and its children. Not every run is a job: a program
/// can create child runs within its own run.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    /// The run id; for a job, its name.
    pub run_id: String,
    /// Id of the parent run.
    #[serde(default)]
    pub parent_run_id: Option<String>,
    /// The display name.
    #[serde(default)]
    pub display_name: Option<String>,
    /// The status.
    pub status: JobStatus,
    /// Time of creation.
    #[serde(default)]
    pub created_utc: Option<DateTime<Utc>>,
    /// The compute target.
    #[serde(default)]
    pub target: Option<String>,
    /// Tags.
    #[serde(default, deserialize_with = "crate::lenient::null_as_default")]
    pub tags: Bag,
    /// Properties.
    #[serde(default, deserialize_with = "crate::lenient::null_as_default")]
    pub properties: Bag,
}

/// A page of runs.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunPage {
    /// The runs of this page.
    pub value: Vec<Run>,
    /// Token of the next page; absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub continuation_token: Option<String>,
    /// URL of the next page; absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub next_link: Option<String>,
}

/// A warning about a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RunWarning {
    /// The source of the warning.
    #[serde(default)]
    pub source: Option<String>,
    /// The message.
    pub message: String,
}

/// One entry of a run's status history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusChange {
    /// The new status.
    pub status: JobStatus,
    /// Time of the change.
    pub time: DateTime<Utc>,
}

/// One file of a run, as listed by `…/runs/{name}/artifacts`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Artifact {
    /// The path within the run, e.g. `outputs/model/model.pt`.
    pub path: String,
    /// `ExperimentRun`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub origin: Option<String>,
    /// `dcid.{run}`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub container: Option<String>,
    /// Size in bytes. The local workspace always returns it, the service only sometimes.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub content_length: Option<u64>,
    /// The path in the container of all runs' artifacts.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub artifact_id: Option<String>,
    /// Time of the last change.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub created_time: Option<DateTime<Utc>>,
}

/// A page of artifacts.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ArtifactPage {
    /// The artifacts of this page.
    pub value: Vec<Artifact>,
    /// Token of the next page; absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub continuation_token: Option<String>,
    /// URL of the next page; absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub next_link: Option<String>,
}

/// The request of `POST …/artifacts/batch/metadata`: the artifacts to upload.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ArtifactPaths {
    /// The files.
    pub paths: Vec<ArtifactPath>,
}

/// One file to upload.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ArtifactPath {
    /// The path within the run, e.g. `outputs/model/model.pt`.
    pub path: String,
    /// Tags.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<Bag>,
}

/// The upload URLs of artifacts by path; each accepts a `PUT` of a block blob. Has no `Debug`: the
/// URLs are secrets.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ArtifactUploads {
    /// The created artifacts by path.
    pub artifacts: BTreeMap<String, Artifact>,
    /// The upload URLs by path.
    pub artifact_content_information: BTreeMap<String, ArtifactContent>,
    /// Errors of the rejected artifacts by path.
    pub errors: BTreeMap<String, ErrorResponse>,
}

/// A URL that gives access to one artifact without a further credential. Has no `Debug`: the URL is
/// a secret.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ArtifactContent {
    /// A signed URL.
    pub content_uri: String,
    /// `ExperimentRun`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub origin: Option<String>,
    /// `dcid.{run}`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub container: Option<String>,
    /// The path within the run.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub path: Option<String>,
}

/// The request of `PATCH …/runs/{name}`: tags and properties to add to a run.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ModifyRun {
    /// Tags to set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<Bag>,
    /// Properties to set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub properties: Option<Bag>,
}
