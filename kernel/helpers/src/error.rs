//! Why there is no usable set of helper crates.

use crate::toolchain::ToolchainError;
use std::io;
use std::path::{Path, PathBuf};

/// Why there is no usable set of helper crates.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// None has been built, or the one that was is gone.
    #[error(
        "the helper crates of this kernel are not built{}\nhint: run `azureml-kernel install`",
        .folder.as_ref().map(|folder| format!(": {} is missing", folder.display())).unwrap_or_default()
    )]
    Missing {
        /// Where they should be, when that is known.
        folder: Option<PathBuf>,
    },
    /// They were built by another compiler than the one that compiles cells.
    #[error(
        "the helper crates were built by {built_by}, but cells are compiled by {current}\nhint: run `azureml-kernel install` again"
    )]
    Stale {
        /// The compiler of the set.
        built_by: String,
        /// The compiler of today.
        current: String,
    },
    /// Somebody else may have put something into them.
    #[error(
        "the helper crates are not used: {0}\nhint: `azureml-kernel install` builds them into a folder of your own, see {var}",
        var = crate::env::CACHE
    )]
    NotOwn(io::Error),
    /// An older kernel built the set, and kept no manifests.
    #[error("{} holds no packages that could be written out\nhint: run `azureml-kernel install` again", .0.display())]
    NoSources(PathBuf),
    /// A helper crate is not there.
    #[error("{} holds no Cargo package\nhint: name the folder of a crate's Cargo.toml", .0.display())]
    NoPackage(PathBuf),
    /// There is no compiler.
    #[error(transparent)]
    Toolchain(#[from] ToolchainError),
    /// Cargo could not be run.
    #[error("{} could not be started: {source}\nhint: check that `cargo --version` works in a terminal", .program.display())]
    NoCargo {
        /// Cargo.
        program: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Cargo failed.
    #[error(
        "the helper crates do not build:\n{output}\nhint: `cargo build` in the crate's own folder shows the whole error"
    )]
    Build {
        /// The end of what cargo said.
        output: String,
    },
    /// A file could not be written or read.
    #[error("cannot {action} {}: {source}\nhint: {}", .path.display(), hint(source))]
    Io {
        /// `create`, `read`, ….
        action: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is no folder for the cache.
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

/// Adds to an I/O error what was being done, and to which file.
pub fn io<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Error + 'a {
    move |source| Error::Io {
        action,
        path: path.to_owned(),
        source,
    }
}
