//! Jobs.

use crate::Bag;
use crate::sweep::SweepJob;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// A job. Kinds other than these are read as [`Job::Other`]. Has no `Debug`: the variables of its process may be
/// secrets.
#[derive(Clone, Serialize, Deserialize)]
#[serde(tag = "jobType")]
pub enum Job {
    /// A command that runs in an environment on a compute target.
    Command(Box<CommandJob>),
    /// A command that is tried with many values of its hyperparameters.
    Sweep(Box<SweepJob>),
    /// Any other kind.
    #[serde(other)]
    Other,
}

/// A command job, as it is submitted and as it is answered. Has no `Debug`, as a [`Job`].
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CommandJob {
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The name that Studio shows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// The experiment that it belongs to; `Default` when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub experiment_name: Option<String>,
    /// The command line, with `${{inputs.name}}` and `${{outputs.name}}`.
    pub command: String,
    /// ARM id of the code snapshot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code_id: Option<String>,
    /// ARM id of the compute target.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compute_id: Option<String>,
    /// ARM id of the environment's version, or a curated name (`azureml:AzureML-…:33`).
    pub environment_id: String,
    /// Variables of the process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment_variables: Option<Bag>,
    /// Tags.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<Bag>,
    /// Properties.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub properties: Option<Bag>,
    /// Whether it is hidden.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_archived: Option<bool>,
    /// Inputs by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inputs: Option<BTreeMap<String, JobInput>>,
    /// Outputs by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outputs: Option<BTreeMap<String, JobOutput>>,
    /// More than one process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distribution: Option<Distribution>,
    /// Nodes, and what the container gets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<JobResources>,
    /// How long it may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<CommandJobLimits>,
    /// Whose identity it runs with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<serde_json::Value>,
    /// The queue's tier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_settings: Option<serde_json::Value>,
    /// Who is told of its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notification_setting: Option<serde_json::Value>,
    /// ARM id of the component that it was made from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub component_id: Option<serde_json::Value>,
    /// Links that belong to the job: `Tracking`, `Studio`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub services: Option<BTreeMap<String, JobService>>,
    /// Where it stands; only in answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<JobStatus>,
    /// Read-only parameters; only in answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameters: Option<serde_json::Value>,
}

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum JobStatus {
    /// Made, not yet looked at.
    NotStarted,
    /// Being set up.
    Starting,
    /// Nodes are being made.
    Provisioning,
    /// The environment and the code are brought to the node.
    Preparing,
    /// Waits for a node.
    Queued,
    /// The command runs.
    Running,
    /// The command has ended, outputs are being collected.
    Finalizing,
    /// Somebody asked for its end.
    CancelRequested,
    /// Ended well.
    Completed,
    /// Ended badly.
    Failed,
    /// Ended on request.
    Canceled,
    /// The node does not answer.
    NotResponding,
    /// Waits for somebody.
    Paused,
    /// The service does not know, or says a word that we do not know.
    #[serde(other)]
    Unknown,
}

impl JobStatus {
    /// Whether nothing more will happen.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Canceled)
    }

    /// Whether log streaming ends here, as in the official client.
    pub fn ends_streaming(self) -> bool {
        self.is_terminal() || matches!(self, Self::NotResponding | Self::Paused)
    }

    /// The word on the wire.
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

/// What goes into a job.
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

/// A value that is put into the command line as it is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LiteralInput {
    /// What it is.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub description: Option<String>,
    /// The value.
    pub value: String,
}

/// A file or folder that the job finds under a path.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AssetInput {
    /// What it is.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub description: Option<String>,
    /// Where it comes from: `azureml://datastores/…/paths/…`, an ARM id, or a URL.
    pub uri: String,
    /// `ReadOnlyMount`, `Download`, `Direct`, ….
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub mode: Option<String>,
}

/// What comes out of a job beside `outputs/`.
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
    /// What outputs of all kinds have.
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
    /// What it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The name under which it is registered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asset_name: Option<String>,
    /// Where it goes; the service chooses when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
    /// `ReadWriteMount`, `Upload`, `Direct`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
}

/// How a job's processes find each other.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "distributionType")]
pub enum Distribution {
    /// `torch.distributed`'s environment variables.
    PyTorch(ProcessCount),
    /// `mpirun`.
    Mpi(ProcessCount),
    /// `TF_CONFIG`.
    TensorFlow {
        /// Parameter servers.
        #[serde(
            rename = "parameterServerCount",
            skip_serializing_if = "Option::is_none",
            default
        )]
        parameter_server_count: Option<u32>,
        /// Workers.
        #[serde(
            rename = "workerCount",
            skip_serializing_if = "Option::is_none",
            default
        )]
        worker_count: Option<u32>,
    },
}

/// Processes on each node.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProcessCount {
    /// Processes on each node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process_count_per_instance: Option<u32>,
}

/// Nodes, and what the container gets.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct JobResources {
    /// Number of nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance_count: Option<u32>,
    /// Machine size, for serverless compute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance_type: Option<String>,
    /// Properties.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub properties: Option<BTreeMap<String, serde_json::Value>>,
    /// Arguments for docker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub docker_args: Option<String>,
    /// The same as a list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub docker_args_list: Option<Vec<String>>,
    /// Shared memory, e.g. `2g`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shm_size: Option<String>,
}

/// How long a command job may take.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CommandJobLimits {
    /// `Command`.
    pub job_limits_type: String,
    /// ISO 8601 duration, e.g. `PT5M`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub timeout: Option<String>,
}

/// A link that belongs to a job.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct JobService {
    /// `Tracking`, `Studio`, ….
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job_service_type: Option<String>,
    /// The URL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// The port, for interactive services.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Where the service stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// The nodes that it runs on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nodes: Option<serde_json::Value>,
    /// Properties.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub properties: Option<serde_json::Value>,
    /// What went wrong with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_message: Option<serde_json::Value>,
}
