//! Why a chore could not be done, and the way out.

use crate::libtorch;
use std::io;
use std::path::{Path, PathBuf};

/// A result of a step.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a chore could not be done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The machine lacks something that we do not install by ourselves.
    #[error("{what}")]
    Missing {
        /// What is missing, and for what.
        what: String,
        /// How to get it.
        hint: String,
    },
    /// A program could not be started.
    #[error("cannot start {program}: {source}")]
    Start {
        /// The program.
        program: String,
        /// The system's reason.
        source: io::Error,
    },
    /// A program ended with an error.
    #[error(
        "{program} failed ({status}); the end of what it said:\n{}",
        indent(tail)
    )]
    Failed {
        /// The program.
        program: String,
        /// How it ended.
        status: String,
        /// Its last lines.
        tail: Vec<String>,
        /// The file with all of them.
        log: PathBuf,
    },
    /// The notebook did not run to its end; the cell's error has been shown.
    #[error("{notebook} stopped in a cell")]
    Notebook {
        /// The notebook.
        notebook: String,
        /// Where the executed part is.
        executed: PathBuf,
    },
    /// libtorch could not be had.
    #[error(transparent)]
    Libtorch(#[from] libtorch::Error),
    /// A file operation failed.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A file does not hold what it should.
    #[error("{} is not what it should be: {reason}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

impl Error {
    /// Adds what was tried, and on which file, to the system's reason.
    pub fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io {
            action,
            path: path.to_owned(),
            source,
        }
    }

    /// The way out.
    pub fn hint(&self) -> String {
        match self {
            Self::Missing { hint, .. } => hint.clone(),
            Self::Start { program, .. } => format!("install {program} and put it on the PATH"),
            Self::Failed { log, .. } => format!("all of it is in {}", log.display()),
            Self::Notebook { executed, .. } => format!(
                "the notebook as far as it came is {}; after the cause is gone, run this command again",
                executed.display()
            ),
            Self::Libtorch(error) => error.hint(),
            Self::Io { path, .. } => format!(
                "check the permissions and the free space of {}",
                path.display()
            ),
            Self::Content { path, .. } => {
                format!("delete {} and run this command again", path.display())
            }
        }
    }
}

fn indent(lines: &[String]) -> String {
    let lines: Vec<String> = lines.iter().map(|line| format!("  | {line}")).collect();
    lines.join("\n")
}
