//! How a client finds the local workspace on this machine.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::IntoRawFd;
use std::path::{Path, PathBuf};

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
    /// Set in a job: the Unix socket on which the local workspace answers, whatever its port is.
    pub const SOCKET: &str = "AZUREML_SERVICE_SOCKET";
    /// Set in a job: its folder, by which the local workspace knows the processes that belong to it.
    pub const JOB: &str = "AZUREML_JOB_FOLDER";
    /// The folder of libtorch that jobs get; default: the user's cache.
    pub const LIBTORCH: &str = "AZUREML_LIBTORCH";
}

/// The file in the home folder in which a running local workspace says where it is.
pub const SERVER_FILE: &str = "server.json";

/// The Unix socket in the home folder on which a running local workspace answers its own user's programs.
///
/// The port on loopback belongs to whoever takes it first, another user included; a name in a folder that is closed to other
/// users belongs to the folder's owner. What holds a token, source or variables is therefore sent through the socket alone.
pub const SOCKET_FILE: &str = "server.sock";

/// The longest path of a Unix socket (`sun_path` without its final NUL).
const SOCKET_PATH: usize = 107;

/// A path to the same socket that the system takes: one that is too long leads through an open descriptor of its folder,
/// which stays open for as long as this process lives, because clients connect again and again.
pub fn socket_address(socket: &Path) -> io::Result<PathBuf> {
    if socket.as_os_str().len() <= SOCKET_PATH {
        return Ok(socket.to_owned());
    }
    let (Some(folder), Some(name)) = (socket.parent(), socket.file_name()) else {
        return Err(io::ErrorKind::InvalidFilename.into());
    };
    let folder = File::open(folder)?.into_raw_fd();
    Ok(Path::new("/proc/self/fd")
        .join(folder.to_string())
        .join(name))
}

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
