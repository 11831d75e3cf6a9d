//! The locations of kernelspecs.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::env;

/// The location to install to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// For the user, in every environment.
    User,
    /// In the active Python environment.
    SysPrefix,
    /// In `share/jupyter/kernels` below a folder.
    Prefix(PathBuf),
}

/// A location that cannot be found.
#[derive(Debug, thiserror::Error)]
pub enum LocationError {
    /// No home folder exists.
    #[error(
        "there is no home folder to install to\nhint: set HOME, or name a folder with `--prefix`"
    )]
    NoHome,
    /// No Python environment is active.
    #[error(
        "no Python environment was found: VIRTUAL_ENV and CONDA_PREFIX are not set and `python3` does not run\nhint: activate the environment that Jupyter runs in, or install for the user with `--user`"
    )]
    NoPython,
}

/// Returns the folder that contains the kernelspec folders of a location.
pub fn kernels_folder(location: &Location) -> Result<PathBuf, LocationError> {
    match location {
        Location::User => user_data_folder()
            .map(|data| data.join("kernels"))
            .ok_or(LocationError::NoHome),
        Location::SysPrefix => active_prefix()
            .map(|prefix| below_prefix(&prefix))
            .ok_or(LocationError::NoPython),
        Location::Prefix(prefix) => Ok(below_prefix(
            &std::path::absolute(prefix).unwrap_or_else(|_| prefix.clone()),
        )),
    }
}

/// Returns all folders that Jupyter searches for kernelspecs, in Jupyter's order; some may not
/// exist.
pub fn all_kernels_folders() -> Vec<PathBuf> {
    let mut folders = Vec::new();
    if let Some(paths) = std::env::var_os(env::JUPYTER_PATH) {
        folders.extend(std::env::split_paths(&paths).map(|path| path.join("kernels")));
    }
    folders.extend(active_prefix().map(|prefix| below_prefix(&prefix)));
    folders.extend(user_data_folder().map(|data| data.join("kernels")));
    for system in ["/usr/local", "/usr"] {
        folders.push(below_prefix(Path::new(system)));
    }
    let mut seen = std::collections::HashSet::new();
    folders.retain(|folder| seen.insert(folder.clone()));
    folders
}

fn below_prefix(prefix: &Path) -> PathBuf {
    prefix.join("share/jupyter/kernels")
}

/// Returns the folder of Jupyter's user data.
fn user_data_folder() -> Option<PathBuf> {
    if let Some(named) = env::folder(env::JUPYTER_DATA_DIR) {
        return Some(named);
    }
    if cfg!(target_os = "macos") {
        return env::home().map(|home| home.join("Library/Jupyter"));
    }
    env::folder(env::XDG_DATA_HOME)
        .or_else(|| env::home().map(|home| home.join(".local/share")))
        .map(|data| data.join("jupyter"))
}

/// Returns the active Python environment.
fn active_prefix() -> Option<PathBuf> {
    env::folder(env::VIRTUAL_ENV)
        .or_else(|| env::folder(env::CONDA_PREFIX))
        .or_else(python_prefix)
}

fn python_prefix() -> Option<PathBuf> {
    let output = Command::new("python3")
        .args(["-c", "import sys; print(sys.prefix)"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    let prefix = PathBuf::from(String::from_utf8(output.stdout).ok()?.trim_end());
    prefix.is_absolute().then_some(prefix)
}
