//! Why a chore could not be done, and the way out.

use crate::cause::{self, Cause};
use std::io::{self, ErrorKind};
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
    #[error("cannot start {}: {source}", program.display())]
    Start {
        /// The program: a name on the `PATH`, or a file that an earlier step has made.
        program: PathBuf,
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
    /// It was ended, or not begun, because another step has failed, which tells more.
    #[error("stopped because another step failed")]
    Stopped,
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

    /// What the lines of a program that failed say of the cause.
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

    /// What happened, in a line: of a program that failed, its last word on it.
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

    /// The way out.
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
