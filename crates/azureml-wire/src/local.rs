//! How clients locate the local workspace on this machine.

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

/// Returns the scope of the local workspace.
pub fn scope() -> crate::routes::WorkspaceScope {
    crate::routes::WorkspaceScope {
        subscription_id: SUBSCRIPTION_ID.to_owned(),
        resource_group: RESOURCE_GROUP.to_owned(),
        workspace_name: WORKSPACE_NAME.to_owned(),
    }
}

/// Environment variables that both the client and the local workspace read. All are declared here.
pub mod env {
    /// The local workspace's home folder; default: `azureml-local` in the user's data folder.
    pub const HOME: &str = "AZUREML_LOCAL_HOME";
    /// The local workspace's executable; default: `azureml-local` beside the current program, else
    /// on `PATH`.
    pub const BIN: &str = "AZUREML_LOCAL_BIN";
    /// `off` disables the local workspace.
    pub const SWITCH: &str = "AZUREML_LOCAL";
    /// A file to which the local workspace appends each request and its response as one line of
    /// JSON, without secrets.
    pub const TRACE: &str = "AZUREML_LOCAL_TRACE";
    /// The local workspace's log filter, in the syntax of `tracing`; default: `info`.
    pub const LOG: &str = "AZUREML_LOCAL_LOG";
    /// Set in a job: the Unix socket of the local workspace. Unlike the port, it does not change.
    pub const SOCKET: &str = "AZUREML_SERVICE_SOCKET";
    /// Set in a job: the job's folder, by which the local workspace identifies the job's processes.
    pub const JOB: &str = "AZUREML_JOB_FOLDER";
    /// The libtorch folder that jobs use; default: the user's cache.
    pub const LIBTORCH: &str = "AZUREML_LIBTORCH";
}

/// The file in the home folder to which a running local workspace writes its address.
pub const SERVER_FILE: &str = "server.json";

/// The Unix socket in the home folder on which a running local workspace serves its user's
/// programs.
///
/// Any user of the machine can take a port on loopback first. A name in a folder that is closed to
/// other users belongs to the folder's owner. Requests that contain a token, source code or
/// variables are therefore sent only through the socket.
pub const SOCKET_FILE: &str = "server.sock";

/// Maximum length in bytes of a Unix socket's path (`sun_path` without its terminating NUL).
const SOCKET_PATH: usize = 107;

/// Returns a path to the same socket that is short enough for `connect` and `bind`.
///
/// For a path that is too long, the result leads through an open descriptor of its folder. The
/// descriptor stays open for the lifetime of the process, because clients connect repeatedly.
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

/// The address of a running local workspace. `Debug` hides the token.
#[derive(Clone, Serialize, Deserialize)]
pub struct Server {
    /// `http://127.0.0.1:port`.
    pub url: String,
    /// The bearer token that every request must carry.
    pub token: String,
    /// The process id.
    pub pid: u32,
    /// The version. A client of another version starts a new local workspace if no job is running.
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

/// Returns the local workspace's home folder: `$AZUREML_LOCAL_HOME`, else `azureml-local` in the
/// user's data folder.
///
/// `None` when neither the variable nor `XDG_DATA_HOME` nor `HOME` is set.
pub fn home() -> Option<PathBuf> {
    if let Some(home) = std::env::var_os(env::HOME).filter(|home| !home.is_empty()) {
        return Some(home.into());
    }
    user_folder("XDG_DATA_HOME", ".local/share").map(|data| data.join("azureml-local"))
}

/// Returns the folder for downloads (libtorch): `azureml` in the user's cache.
pub fn cache() -> Option<PathBuf> {
    user_folder("XDG_CACHE_HOME", ".cache").map(|cache| cache.join("azureml"))
}

fn user_folder(variable: &str, default: &str) -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    set(variable)
        .map(PathBuf::from)
        .or_else(|| set("HOME").map(|home| PathBuf::from(home).join(default)))
}
