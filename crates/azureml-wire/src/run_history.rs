//! Run history: the data plane's view of a job while it runs.

use crate::Bag;
use crate::error::ErrorResponse;
use crate::job::JobStatus;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The key in [`RunDetails::properties`] under which the local workspace gives a run's [`StatusChange`]s, as JSON text.
pub const STATUS_HISTORY: &str = "azureml.status_history";

/// What `…/runs/{name}/details` answers. Has no `Debug`: the URLs of its logs are secrets.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunDetails {
    /// The job's name.
    pub run_id: String,
    /// The compute target.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub target: Option<String>,
    /// Where it stands.
    pub status: JobStatus,
    /// When the command began.
    #[serde(default)]
    pub start_time_utc: Option<DateTime<Utc>>,
    /// When the job ended.
    #[serde(default)]
    pub end_time_utc: Option<DateTime<Utc>>,
    /// Log files by name (`user_logs/std_log.txt`), each with a URL that needs no further credential. The URLs are secrets.
    #[serde(default, deserialize_with = "crate::lenient::null_as_default")]
    pub log_files: BTreeMap<String, String>,
    /// Properties.
    #[serde(default, deserialize_with = "crate::lenient::null_as_default")]
    pub properties: Bag,
    /// Why it failed.
    #[serde(default)]
    pub error: Option<ErrorResponse>,
    /// What else there is to say.
    #[serde(default, deserialize_with = "crate::lenient::null_as_default")]
    pub warnings: Vec<RunWarning>,
}

/// A run, as `…/runs/{name}` and its children are answered. A run need not be a job: a program may make some within its own.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    /// Its id; the name of a job.
    pub run_id: String,
    /// The run that it belongs to.
    #[serde(default)]
    pub parent_run_id: Option<String>,
    /// The name that people see.
    #[serde(default)]
    pub display_name: Option<String>,
    /// Where it stands.
    pub status: JobStatus,
    /// When it was made.
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
    /// Where to go on.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub continuation_token: Option<String>,
    /// The URL of the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub next_link: Option<String>,
}

/// One remark about a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RunWarning {
    /// Where it comes from.
    #[serde(default)]
    pub source: Option<String>,
    /// The remark.
    pub message: String,
}

/// One step of a run's status path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusChange {
    /// The status that it came to.
    pub status: JobStatus,
    /// When.
    pub time: DateTime<Utc>,
}

/// One file of a run, as `…/runs/{name}/artifacts` lists them.
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
    /// Size in bytes; the local workspace says it, the service not always.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub content_length: Option<u64>,
}

/// A page of artifacts.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ArtifactPage {
    /// The artifacts of this page.
    pub value: Vec<Artifact>,
    /// Where to go on.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub continuation_token: Option<String>,
    /// The URL of the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub next_link: Option<String>,
}

/// Which artifacts are going to be uploaded (`POST …/artifacts/batch/metadata`).
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ArtifactPaths {
    /// The files.
    pub paths: Vec<ArtifactPath>,
}

/// One file that is going to be uploaded.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ArtifactPath {
    /// The path within the run, e.g. `outputs/model/model.pt`.
    pub path: String,
    /// Tags.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<Bag>,
}

/// Where files can be uploaded to (each `PUT` as a block blob), by path. Has no `Debug`: the URLs are secrets.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ArtifactUploads {
    /// The artifacts made.
    pub artifacts: BTreeMap<String, Artifact>,
    /// Their places, by path.
    pub artifact_content_information: BTreeMap<String, ArtifactContent>,
    /// What was refused, by path.
    pub errors: BTreeMap<String, ErrorResponse>,
}

/// Where one artifact can be read without a further credential. Has no `Debug`: the URL is a secret.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ArtifactContent {
    /// A URL with its own signature.
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

/// What `PATCH …/runs/{name}` takes: tags and properties to add to a run.
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
