//! Errors of the commands, each with a hint.

use crate::cause::{self, Cause};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// A result of a step.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of a command.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A prerequisite is missing that this program does not install.
    #[error("{what}")]
    Missing {
        /// The missing item and its purpose.
        what: String,
        /// The hint for getting it.
        hint: String,
    },
    /// A program could not be started.
    #[error("cannot start {}: {source}", program.display())]
    Start {
        /// The program: a name on `PATH`, or a file that an earlier step has built.
        program: PathBuf,
        /// The error of the operating system.
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
        /// The exit status.
        status: String,
        /// The last lines of its output.
        tail: Vec<String>,
        /// The log file with the whole output.
        log: PathBuf,
    },
    /// The notebook failed; the cell's error was already printed.
    #[error("{notebook} stopped in a cell")]
    Notebook {
        /// The notebook.
        notebook: String,
        /// Path of the notebook with the executed cells.
        executed: PathBuf,
    },
    /// The step was stopped or not started because another step failed, whose error is reported
    /// instead.
    #[error("stopped because another step failed")]
    Stopped,
    /// A file operation failed.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// The operation.
        action: &'static str,
        /// Path of the file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// A file has invalid content.
    #[error("{} is not what it should be: {reason}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
}

impl Error {
    /// Returns a function for `map_err` that adds the operation and the path to an I/O error.
    pub fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io {
            action,
            path: path.to_owned(),
            source,
        }
    }

    /// Returns the external cause that a failed program's output contains.
    pub fn cause(&self) -> Option<Cause> {
        match self {
            Self::Failed { tail, .. } => cause::find(tail),
            Self::Io { source, .. } => match source.kind() {
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Some(Cause::NoRoom),
                _ => None,
            },
            _ => None,
        }
    }

    /// Returns the error in one line; for a failed program, the last relevant line of its output.
    pub fn brief(&self) -> String {
        let Self::Failed {
            program,
            status,
            tail,
            ..
        } = self
        else {
            return self.to_string();
        };
        match self.cause() {
            Some(Cause::NoNetwork) => return format!("{program} did not reach the network"),
            Some(Cause::NoRoom) => return format!("{program} found no room on the disk"),
            None => {}
        }
        let is_error =
            |line: &&String| line.to_lowercase().contains("error") || line.starts_with("E: ");
        let telling = tail.iter().rev().find(is_error).or(tail.last());
        match telling {
            Some(line) => format!("{program} failed: {}", line.trim()),
            None => format!("{program} failed ({status}) and said nothing"),
        }
    }

    /// Returns the hint.
    pub fn hint(&self) -> String {
        match self {
            Self::Missing { hint, .. } => hint.clone(),
            Self::Start { program, .. } if program.is_absolute() => format!(
                "see whether {} is there and can be run (not from a disk that is mounted `noexec`)",
                program.display()
            ),
            Self::Start { program, .. } => {
                format!("install {0} and put it on the PATH", program.display())
            }
            Self::Failed { log, .. } => {
                let all = format!("all of it is in {}", log.display());
                match self.cause() {
                    Some(Cause::NoNetwork) => format!(
                        "check the network and the proxy settings, and run this command again; {all}"
                    ),
                    Some(Cause::NoRoom) => {
                        format!("make room on the disk and run this command again; {all}")
                    }
                    None => all,
                }
            }
            Self::Notebook { executed, .. } => format!(
                "the notebook as far as it came is {}; after the cause is gone, run this command again",
                executed.display()
            ),
            Self::Stopped => "run this command again".to_owned(),
            Self::Io { path, .. } if self.cause() == Some(Cause::NoRoom) => {
                format!("make room on the disk of {}", path.display())
            }
            Self::Io { path, .. } => format!("check the permissions of {}", path.display()),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(line: &str) -> Error {
        Error::Failed {
            program: "cargo".to_owned(),
            status: "exit status: 101".to_owned(),
            tail: vec![line.to_owned(), "afterwards".to_owned()],
            log: PathBuf::from("target/logs/build.log"),
        }
    }

    #[test]
    fn a_hint_says_what_to_do_before_it_names_the_log() {
        for (line, hint, brief) in [
            (
                "error: Could not resolve host: example.org",
                "check the network and the proxy settings, and run this command again; all of it is in target/logs/build.log",
                "cargo did not reach the network",
            ),
            (
                "error: No space left on device (os error 28)",
                "make room on the disk and run this command again; all of it is in target/logs/build.log",
                "cargo found no room on the disk",
            ),
            (
                "error[E0308]: mismatched types",
                "all of it is in target/logs/build.log",
                "cargo failed: error[E0308]: mismatched types",
            ),
        ] {
            assert_eq!(failed(line).hint(), hint);
            assert_eq!(failed(line).brief(), brief);
        }
        let full = io::Error::from(ErrorKind::StorageFull);
        let hint = Error::io("write", Path::new("x"))(full).hint();
        assert_eq!(hint, "make room on the disk of x");
    }

    #[test]
    fn only_a_name_is_to_be_put_on_the_path() {
        let hint = |program: &str| {
            let source = io::Error::from(ErrorKind::NotFound);
            let program = PathBuf::from(program);
            Error::Start { program, source }.hint()
        };
        assert_eq!(hint("cargo"), "install cargo and put it on the PATH");
        assert!(hint("/x/target/release/azureml-kernel").starts_with("see whether /x/"));
    }
}
