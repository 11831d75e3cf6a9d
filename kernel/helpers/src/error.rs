//! Errors that leave the kernel without a usable set of helper crates.

use crate::toolchain::ToolchainError;
use std::io;
use std::path::{Path, PathBuf};

/// Errors that leave the kernel without a usable set of helper crates.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No set was built, or it no longer exists.
    #[error(
        "the helper crates of this kernel are not built{}\nhint: run `azureml-kernel install`",
        .folder.as_ref().map(|folder| format!(": {} is missing", folder.display())).unwrap_or_default()
    )]
    Missing {
        /// The expected folder, if known.
        folder: Option<PathBuf>,
    },
    /// The set was built by another compiler than the one that compiles cells.
    #[error(
        "the helper crates were built by {built_by}, but cells are compiled by {current}\nhint: run `azureml-kernel install` again"
    )]
    Stale {
        /// The compiler of the set.
        built_by: String,
        /// The current compiler.
        current: String,
    },
    /// Another user may have changed the set.
    #[error(
        "the helper crates are not used: {0}\nhint: `azureml-kernel install` builds them into a folder of your own, see {var}",
        var = crate::env::CACHE
    )]
    NotOwn(io::Error),
    /// An older kernel built the set without the real manifests.
    #[error("{} holds no packages that could be written out\nhint: run `azureml-kernel install` again", .0.display())]
    NoSources(PathBuf),
    /// A helper crate does not exist.
    #[error("{} holds no Cargo package\nhint: name the folder of a crate's Cargo.toml", .0.display())]
    NoPackage(PathBuf),
    /// No compiler was found.
    #[error(transparent)]
    Toolchain(#[from] ToolchainError),
    /// Cargo could not be run.
    #[error("{} could not be started: {source}\nhint: check that `cargo --version` works in a terminal", .program.display())]
    NoCargo {
        /// Path of cargo.
        program: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// Cargo failed.
    #[error(
        "the helper crates do not build:\n{output}\nhint: `cargo build` in the crate's own folder shows the whole error"
    )]
    Build {
        /// The last lines of cargo's output.
        output: String,
    },
    /// A file operation failed.
    #[error("cannot {action} {}: {source}\nhint: {}", .path.display(), hint(source))]
    Io {
        /// The operation: `create`, `read`, ….
        action: &'static str,
        /// Path of the file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// No cache folder could be determined.
    #[error("no folder for the cache\nhint: set HOME or {}", crate::env::CACHE)]
    NoCache,
}

fn hint(source: &io::Error) -> String {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "the disk is full: make room, then run `azureml-kernel install` again".to_owned()
        }
        _ => format!(
            "check the folder's permissions, or choose another by {}",
            crate::env::CACHE
        ),
    }
}

/// Returns a function for `map_err` that adds the operation and the path to an I/O error.
pub fn io<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Error + 'a {
    move |source| Error::Io {
        action,
        path: path.to_owned(),
        source,
    }
}
