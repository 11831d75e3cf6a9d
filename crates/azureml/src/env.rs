//! Every environment variable that the SDK reads, beside those of the local workspace (`azureml_wire::local::env`).

/// Set in a job: where its metrics go (`azureml://…`, or `http…` of any MLflow server).
pub const MLFLOW_TRACKING_URI: &str = "MLFLOW_TRACKING_URI";
/// Set in a job: the bearer token of the tracking service.
pub const MLFLOW_TRACKING_TOKEN: &str = "MLFLOW_TRACKING_TOKEN";
/// Set in a job: the run that metrics belong to.
pub const MLFLOW_RUN_ID: &str = "MLFLOW_RUN_ID";
/// Set in a job: the same, under Azure ML's own name.
pub const AZUREML_RUN_ID: &str = "AZUREML_RUN_ID";
/// Set in a job: the experiment that the run belongs to.
pub const MLFLOW_EXPERIMENT_NAME: &str = "MLFLOW_EXPERIMENT_NAME";

/// The resource manager of a cloud other than Azure's public one, as `az cloud show` has it; `https`, or plain `http` to this machine.
pub const RESOURCE_MANAGER: &str = "AZUREML_RESOURCE_MANAGER";
/// The authority of a cloud other than Azure's public one, as all of Azure's clients read it.
pub const AZURE_AUTHORITY_HOST: &str = "AZURE_AUTHORITY_HOST";
/// The tenant of an application.
pub const AZURE_TENANT_ID: &str = "AZURE_TENANT_ID";
/// The application that signs in.
pub const AZURE_CLIENT_ID: &str = "AZURE_CLIENT_ID";
/// Its secret.
pub const AZURE_CLIENT_SECRET: &str = "AZURE_CLIENT_SECRET";
/// The file with the platform's token for an application.
pub const AZURE_FEDERATED_TOKEN_FILE: &str = "AZURE_FEDERATED_TOKEN_FILE";
/// Where Azure ML gives tokens on behalf of the user who submitted a job.
pub const OBO_ENDPOINT: &str = "OBO_ENDPOINT";
/// Where Azure ML's managed identity gives tokens.
pub const MSI_ENDPOINT: &str = "MSI_ENDPOINT";
/// The secret that the managed identity wants to hear.
pub const MSI_SECRET: &str = "MSI_SECRET";
/// Which managed identity; Azure ML wants it named.
pub const DEFAULT_IDENTITY_CLIENT_ID: &str = "DEFAULT_IDENTITY_CLIENT_ID";

/// The cargo that builds Rust scripts; cargo sets it for the programs that it runs.
pub const CARGO: &str = "CARGO";
/// The file descriptor of the notebook's display; not for the programs that a cell starts.
pub const NOTEBOOK_DISPLAY_FD: &str = "NOTEBOOK_DISPLAY_FD";

/// The value of `name`; an empty one counts as unset.
pub fn var(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
