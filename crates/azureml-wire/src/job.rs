//! Jobs.

use crate::Bag;
use crate::sweep::SweepJob;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// A job. Other types deserialize as [`Job::Other`]. Has no `Debug`: environment variables can
/// contain secrets.
#[derive(Clone, Serialize, Deserialize)]
#[serde(tag = "jobType")]
pub enum Job {
    /// A command that runs in an environment on a compute target.
    Command(Box<CommandJob>),
    /// A command that runs as many trials with different hyperparameters.
    Sweep(Box<SweepJob>),
    /// Any other type.
    #[serde(other)]
    Other,
}

/// A command job in requests and responses. Has no `Debug`, for the same reason as [`Job`].
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CommandJob {
    /// The description.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The name shown in Studio.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// The experiment of the job; `Default` when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub experiment_name: Option<String>,
    /// The command line, with `${{inputs.name}}` and `${{outputs.name}}` as placeholders.
    pub command: String,
    /// ARM id of the code snapshot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code_id: Option<String>,
    /// ARM id of the compute target.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compute_id: Option<String>,
    /// ARM id of the environment's version, or a curated name (`azureml:AzureML-…:33`).
    pub environment_id: String,
    /// Environment variables of the process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment_variables: Option<Bag>,
    /// Tags.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<Bag>,
    /// Properties.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub properties: Option<Bag>,
    /// Whether the asset is archived (hidden from lists).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_archived: Option<bool>,
    /// Inputs by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inputs: Option<BTreeMap<String, JobInput>>,
    /// Outputs by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outputs: Option<BTreeMap<String, JobOutput>>,
    /// Configuration of a distributed job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distribution: Option<Distribution>,
    /// Number of nodes and settings of the container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<JobResources>,
    /// Limits of the job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<CommandJobLimits>,
    /// The identity that the job runs under.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<serde_json::Value>,
    /// The job tier of the queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_settings: Option<serde_json::Value>,
    /// Recipients of notifications about the job's end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notification_setting: Option<serde_json::Value>,
    /// ARM id of the component that the job was created from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub component_id: Option<serde_json::Value>,
    /// Links of the job: `Tracking`, `Studio`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub services: Option<BTreeMap<String, JobService>>,
    /// The status; only in responses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<JobStatus>,
    /// Read-only parameters; only in responses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameters: Option<serde_json::Value>,
}

/// The status of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum JobStatus {
    /// Created, not yet processed.
    NotStarted,
    /// Starting.
    Starting,
    /// The nodes are being allocated.
    Provisioning,
    /// The environment and the code are being copied to the node.
    Preparing,
    /// Waiting for a node.
    Queued,
    /// The command is running.
    Running,
    /// The command has ended; the outputs are being collected.
    Finalizing,
    /// Cancellation was requested.
    CancelRequested,
    /// Succeeded.
    Completed,
    /// Failed.
    Failed,
    /// Canceled.
    Canceled,
    /// The node does not respond.
    NotResponding,
    /// Paused until a user acts.
    Paused,
    /// The service reports `Unknown` or a status that this crate does not support.
    #[serde(other)]
    Unknown,
}

impl JobStatus {
    /// Whether the status is final.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Canceled)
    }

    /// Whether log streaming stops at this status, as in the official client.
    pub fn ends_streaming(self) -> bool {
        self.is_terminal() || matches!(self, Self::NotResponding | Self::Paused)
    }

    /// Returns the name used on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotStarted => "NotStarted",
            Self::Starting => "Starting",
            Self::Provisioning => "Provisioning",
            Self::Preparing => "Preparing",
            Self::Queued => "Queued",
            Self::Running => "Running",
            Self::Finalizing => "Finalizing",
            Self::CancelRequested => "CancelRequested",
            Self::Completed => "Completed",
            Self::Failed => "Failed",
            Self::Canceled => "Canceled",
            Self::NotResponding => "NotResponding",
            Self::Paused => "Paused",
            Self::Unknown => "Unknown",
        }
    }
}

impl fmt::Display for JobStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl std::str::FromStr for JobStatus {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok([
            Self::NotStarted,
            Self::Starting,
            Self::Provisioning,
            Self::Preparing,
            Self::Queued,
            Self::Running,
            Self::Finalizing,
            Self::CancelRequested,
            Self::Completed,
            Self::Failed,
            Self::Canceled,
            Self::NotResponding,
            Self::Paused,
        ]
        .into_iter()
        .find(|status| status.as_str() == text)
        .unwrap_or(Self::Unknown))
    }
}

/// An input of a job.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "jobInputType", rename_all = "snake_case")]
#[allow(missing_docs, reason = "named by the models")]
pub enum JobInput {
    Literal(LiteralInput),
    UriFile(AssetInput),
    UriFolder(AssetInput),
    Mltable(AssetInput),
    CustomModel(AssetInput),
    MlflowModel(AssetInput),
    TritonModel(AssetInput),
}

/// A literal value that replaces its placeholder in the command line.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LiteralInput {
    /// The description.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub description: Option<String>,
    /// The value.
    pub value: String,
}

/// A file or folder that is available to the job under a path.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AssetInput {
    /// The description.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub description: Option<String>,
    /// The source: `azureml://datastores/…/paths/…`, an ARM id or a URL.
    pub uri: String,
    /// `ReadOnlyMount`, `Download`, `Direct`, ….
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub mode: Option<String>,
}

/// An output of a job besides the folder `outputs/`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "jobOutputType", rename_all = "snake_case")]
#[allow(missing_docs, reason = "named by the models")]
pub enum JobOutput {
    UriFile(AssetOutput),
    UriFolder(AssetOutput),
    Mltable(AssetOutput),
    CustomModel(AssetOutput),
    MlflowModel(AssetOutput),
    TritonModel(AssetOutput),
}

impl JobOutput {
    /// Returns the name of the output's type on the wire.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::UriFile(_) => "uri_file",
            Self::UriFolder(_) => "uri_folder",
            Self::Mltable(_) => "mltable",
            Self::CustomModel(_) => "custom_model",
            Self::MlflowModel(_) => "mlflow_model",
            Self::TritonModel(_) => "triton_model",
        }
    }

    /// Returns the fields that all output types share.
    pub fn asset(&self) -> &AssetOutput {
        match self {
            Self::UriFile(asset)
            | Self::UriFolder(asset)
            | Self::Mltable(asset)
            | Self::CustomModel(asset)
            | Self::MlflowModel(asset)
            | Self::TritonModel(asset) => asset,
        }
    }
}

/// A file or folder that the job writes to.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AssetOutput {
    /// The description.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The name under which the output is registered as a data asset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asset_name: Option<String>,
    /// The destination; chosen by the service when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
    /// `ReadWriteMount`, `Upload`, `Direct`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
}

/// The launcher of a distributed job's processes.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "distributionType")]
pub enum Distribution {
    /// PyTorch: processes get the environment variables of `torch.distributed`.
    PyTorch(ProcessCount),
    /// MPI: processes are started by `mpirun`.
    Mpi(ProcessCount),
    /// TensorFlow: processes get `TF_CONFIG`.
    TensorFlow {
        /// Number of parameter servers.
        #[serde(
            rename = "parameterServerCount",
            skip_serializing_if = "Option::is_none",
            default
        )]
        parameter_server_count: Option<u32>,
        /// Number of workers.
        #[serde(
            rename = "workerCount",
            skip_serializing_if = "Option::is_none",
            default
        )]
        worker_count: Option<u32>,
    },
}

/// Number of processes on each node.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProcessCount {
    /// Number of processes on each node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process_count_per_instance: Option<u32>,
}

/// Number of nodes and settings of the container.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct JobResources {
    /// Number of nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance_count: Option<u32>,
    /// The machine size for serverless compute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance_type: Option<String>,
    /// Properties.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub properties: Option<BTreeMap<String, serde_json::Value>>,
    /// Additional arguments for `docker run`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub docker_args: Option<String>,
    /// The same arguments as a list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub docker_args_list: Option<Vec<String>>,
    /// Size of the shared memory, e.g. `2g`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shm_size: Option<String>,
}

/// Limits of a command job.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CommandJobLimits {
    /// `Command`.
    pub job_limits_type: String,
    /// Maximum run time, an ISO 8601 duration, e.g. `PT5M`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub timeout: Option<String>,
}

/// A link or an interactive service of a job.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct JobService {
    /// `Tracking`, `Studio`, ….
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job_service_type: Option<String>,
    /// The URL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// The port of an interactive service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The status of the service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// The nodes that the service runs on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nodes: Option<serde_json::Value>,
    /// Properties.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub properties: Option<serde_json::Value>,
    /// The error of the service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_message: Option<serde_json::Value>,
}
