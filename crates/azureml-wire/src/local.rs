//! How a client finds the local workspace on this machine.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;

/// The subscription of the local workspace.
pub const SUBSCRIPTION_ID: &str = "00000000-0000-0000-0000-000000000000";
/// The resource group of the local workspace.
pub const RESOURCE_GROUP: &str = "local";
/// The name of the local workspace.
pub const WORKSPACE_NAME: &str = "local";

/// The local workspace's scope.
pub fn scope() -> crate::routes::WorkspaceScope {
    crate::routes::WorkspaceScope {
        subscription_id: SUBSCRIPTION_ID.to_owned(),
        resource_group: RESOURCE_GROUP.to_owned(),
        workspace_name: WORKSPACE_NAME.to_owned(),
    }
}

/// Environment variables that both ends read; declared here and nowhere else.
pub mod env {
    /// The local workspace's home folder; default: `azureml-local` in the user's data folder.
    pub const HOME: &str = "AZUREML_LOCAL_HOME";
    /// The program to start; default: `azureml-local` beside the current program, else on `PATH`.
    pub const BIN: &str = "AZUREML_LOCAL_BIN";
    /// `off` forbids the local workspace.
    pub const SWITCH: &str = "AZUREML_LOCAL";
    /// A file to which the local workspace appends every exchange in JSON, one object a line, without secrets.
    pub const TRACE: &str = "AZUREML_LOCAL_TRACE";
    /// What the local workspace writes to its log, as `tracing` filters have it; default: `info`.
    pub const LOG: &str = "AZUREML_LOCAL_LOG";
    /// Set in a job: the file in which the local workspace says at which port it answers now.
    pub const PORT_FILE: &str = "AZUREML_SERVICE_PORT_FILE";
    /// Set in a job: its folder, by which the local workspace knows the processes that belong to it.
    pub const JOB: &str = "AZUREML_JOB_FOLDER";
    /// The folder of libtorch that jobs get; default: the user's cache.
    pub const LIBTORCH: &str = "AZUREML_LIBTORCH";
}

/// The file in the home folder in which a running local workspace says where it is.
pub const SERVER_FILE: &str = "server.json";

/// Where a running local workspace answers. `Debug` hides the token.
#[derive(Clone, Serialize, Deserialize)]
pub struct Server {
    /// `http://127.0.0.1:port`.
    pub url: String,
    /// The bearer token of every call.
    pub token: String,
    /// Its process.
    pub pid: u32,
    /// Its version; a client starts a new one when they differ and no job runs.
    pub version: String,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("url", &self.url)
            .field("pid", &self.pid)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

/// The local workspace's home folder: `$AZUREML_LOCAL_HOME`, else `azureml-local` in the user's data folder.
///
/// `None` when neither the variable nor `XDG_DATA_HOME` nor `HOME` is set.
pub fn home() -> Option<PathBuf> {
    if let Some(home) = std::env::var_os(env::HOME).filter(|home| !home.is_empty()) {
        return Some(home.into());
    }
    user_folder("XDG_DATA_HOME", ".local/share").map(|data| data.join("azureml-local"))
}

/// The folder in which the project keeps what it fetches for the user (libtorch): `azureml` in the user's cache.
pub fn cache() -> Option<PathBuf> {
    user_folder("XDG_CACHE_HOME", ".cache").map(|cache| cache.join("azureml"))
}

fn user_folder(variable: &str, default: &str) -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    set(variable)
        .map(PathBuf::from)
        .or_else(|| set("HOME").map(|home| PathBuf::from(home).join(default)))
}
