//! What can go wrong, each with a way out.

use std::{
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    process::ExitCode,
};

/// An error that ends a program.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No folder with MNIST was named, and none is where it usually is.
    #[error("found no MNIST data in {}", list(searched))]
    NoData {
        /// The folders looked at.
        searched: Vec<PathBuf>,
    },
    /// The folder lacks one of MNIST's four files.
    #[error("the folder {} has neither {name} nor {name}.gz", folder.display())]
    MissingFile {
        /// The folder.
        folder: PathBuf,
        /// The file that was expected.
        name: String,
    },
    /// A file of MNIST is not what it should be.
    #[error("{} is not usable: {problem}", path.display())]
    BadData {
        /// The file.
        path: PathBuf,
        /// What was found, and what was expected.
        problem: String,
    },
    /// A drawing cannot be read.
    #[error("{} holds no digits that can be read: {problem}", path.display())]
    BadDigits {
        /// The file.
        path: PathBuf,
        /// What was found, and what was expected.
        problem: String,
    },
    /// There is no model where one was named.
    #[error("there is no model in {}", path.display())]
    NoModel {
        /// The folder or file.
        path: PathBuf,
    },
    /// The model cannot be opened or used.
    #[error("cannot use the model {}: {problem}", path.display())]
    BadModel {
        /// The file.
        path: PathBuf,
        /// libtorch's reason.
        problem: String,
    },
    /// Training went astray.
    #[error("the loss became {loss} in epoch {epoch}: training diverged")]
    Diverged {
        /// The epoch.
        epoch: i64,
        /// The loss: infinite, or not a number.
        loss: f64,
    },
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// No room is left for an output.
    #[error("cannot write {}: no room is left on the disk ({source})", path.display())]
    NoRoom {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// An output cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// libtorch failed.
    #[error("libtorch failed: {problem}")]
    Torch {
        /// Its reason.
        problem: String,
    },
}

impl Error {
    /// The way out, for the `hint:` line.
    pub fn hint(&self) -> String {
        match self {
            Self::NoData { .. } => {
                "name the folder of the four MNIST files with --data (the lab's own is notebooks/02-train-model/data)".to_owned()
            }
            Self::MissingFile { .. } => {
                "--data must name the folder of MNIST's four IDX files, unpacked or .gz".to_owned()
            }
            Self::BadData { .. } => {
                "get the file again; SHA256SUMS beside the lab's data tells a good one (`sha256sum -c SHA256SUMS`)".to_owned()
            }
            Self::BadDigits { .. } => {
                "give a JSON list of digits, each 28 strings of 28 characters (`#` is ink, `.` or a space is paper) or 784 numbers from 0 to 1".to_owned()
            }
            Self::NoModel { .. } => {
                "train one first, or name the folder that holds model.pt with --model".to_owned()
            }
            Self::BadModel { .. } => {
                "it must be a TorchScript file as the training program writes it (outputs/model/model.pt)".to_owned()
            }
            Self::Diverged { .. } => "try a smaller --lr".to_owned(),
            Self::Read { path, .. } => format!("check that {} can be read", path.display()),
            Self::NoRoom { .. } => {
                "make room (the model takes 10 MB), or name a folder on another disk with --output".to_owned()
            }
            Self::Write { .. } => {
                "check that the folder can be written to, or name another one with --output".to_owned()
            }
            Self::Torch { problem } if problem.contains("out of memory") => {
                "try a smaller --batch-size and --test-batch-size, or --no-cuda".to_owned()
            }
            Self::Torch { .. } => "--no-cuda tells whether the GPU is the reason".to_owned(),
        }
    }

    /// For `map_err` where a file is read.
    pub fn read(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Read {
            path: path.to_path_buf(),
            source,
        }
    }

    /// For `map_err` where a file is written.
    pub fn write(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| {
            let path = path.to_path_buf();
            match source.kind() {
                // The last is a limit on the size of files (`ulimit -f`), as some clusters set it.
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
                    Self::NoRoom { path, source }
                }
                _ => Self::Write { path, source },
            }
        }
    }
}

impl From<tch::TchError> for Error {
    fn from(error: tch::TchError) -> Self {
        Self::Torch {
            problem: reason(&error),
        }
    }
}

/// libtorch's reason: its first sentence, without advice and C++ frames.
pub fn reason(error: &tch::TchError) -> String {
    let text = error.to_string();
    let text = text.trim_start_matches("Internal torch error: ");
    let line = text.lines().find(|line| !line.trim().is_empty());
    let sentence = line.and_then(|line| line.split(". ").next());
    sentence.unwrap_or("it gave no reason").trim().to_owned()
}

/// How a program ends: an error goes to standard error with its way out.
pub fn exit(result: Result<(), Error>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}\nhint: {}", error.hint());
            ExitCode::FAILURE
        }
    }
}

fn list(paths: &[PathBuf]) -> String {
    let names: Vec<String> = paths
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    names.join(", ")
}
