//! All environment variables that the SDK reads, except those of the local workspace
//! (`azureml_wire::local::env`).

/// Set in a job: the URI of the tracking service (`azureml://…`, or `http…` of any MLflow server).
pub const MLFLOW_TRACKING_URI: &str = "MLFLOW_TRACKING_URI";
/// Set in a job: the bearer token of the tracking service.
pub const MLFLOW_TRACKING_TOKEN: &str = "MLFLOW_TRACKING_TOKEN";
/// Set in a job: the id of the run for metrics.
pub const MLFLOW_RUN_ID: &str = "MLFLOW_RUN_ID";
/// Set in a job: the id of the run in Azure ML, which is the same.
pub const AZUREML_RUN_ID: &str = "AZUREML_RUN_ID";
/// Set in a job: the experiment of the run.
pub const MLFLOW_EXPERIMENT_NAME: &str = "MLFLOW_EXPERIMENT_NAME";

/// The resource manager endpoint of another cloud than Azure's public one, as `az cloud show`
/// prints it: `https`, or plain `http` on loopback.
pub const RESOURCE_MANAGER: &str = "AZUREML_RESOURCE_MANAGER";
/// The authority of another cloud than Azure's public one, under the name that all Azure clients
/// read.
pub const AZURE_AUTHORITY_HOST: &str = "AZURE_AUTHORITY_HOST";
/// The tenant of an application.
pub const AZURE_TENANT_ID: &str = "AZURE_TENANT_ID";
/// The client id of the application.
pub const AZURE_CLIENT_ID: &str = "AZURE_CLIENT_ID";
/// The client secret of the application.
pub const AZURE_CLIENT_SECRET: &str = "AZURE_CLIENT_SECRET";
/// The file with the federated token of the platform.
pub const AZURE_FEDERATED_TOKEN_FILE: &str = "AZURE_FEDERATED_TOKEN_FILE";
/// The endpoint of Azure ML for tokens on behalf of the user who submitted a job.
pub const OBO_ENDPOINT: &str = "OBO_ENDPOINT";
/// The endpoint of Azure ML's managed identity for tokens.
pub const MSI_ENDPOINT: &str = "MSI_ENDPOINT";
/// The secret that the managed identity endpoint requires.
pub const MSI_SECRET: &str = "MSI_SECRET";
/// The client id of the managed identity; Azure ML requires it.
pub const DEFAULT_IDENTITY_CLIENT_ID: &str = "DEFAULT_IDENTITY_CLIENT_ID";

/// The path of cargo, for building Rust scripts; cargo sets it for the programs that it runs.
pub const CARGO: &str = "CARGO";
/// The file descriptor of the notebook's display; not for the programs that a cell starts.
pub const NOTEBOOK_DISPLAY_FD: &str = "NOTEBOOK_DISPLAY_FD";

/// The value of `name`; an empty value is treated as unset.
pub fn var(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
