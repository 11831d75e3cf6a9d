//! What can go wrong in the lab, each with a way out.

use std::{
    io,
    path::{Path, PathBuf},
};

use training::error::Hint;

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
    /// What can go wrong in any training program.
    #[error(transparent)]
    Training(#[from] training::Error),
}

impl Hint for Error {
    fn hint(&self) -> String {
        match self {
            Self::NoData { .. } => {
                "name the folder of the four MNIST files with --data (the lab's own is notebooks/02-train-model/data)".to_owned()
            }
            Self::MissingFile { .. } => {
                "--data must name the folder of MNIST's four IDX files, unpacked or .gz".to_owned()
            }
            Self::BadData { .. } => {
                "get the file again; `sha256sum -c SHA256SUMS` in notebooks/02-train-model/data tells whether the lab's own are whole".to_owned()
            }
            Self::BadDigits { .. } => {
                "give a JSON list of digits, each 28 strings of 28 characters (`#` is ink, `.` or a space is paper) or 784 numbers from 0 to 1".to_owned()
            }
            Self::Training(error) => error.hint(),
        }
    }
}

impl Error {
    /// For `map_err` where a file is read.
    pub fn read(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let with_path = training::Error::read(path);
        move |source| with_path(source).into()
    }

    /// For `map_err` where a file is written.
    pub fn write(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let with_path = training::Error::write(path);
        move |source| with_path(source).into()
    }
}

impl From<tch::TchError> for Error {
    fn from(error: tch::TchError) -> Self {
        training::Error::from(error).into()
    }
}

fn list(paths: &[PathBuf]) -> String {
    let names: Vec<String> = paths
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    names.join(", ")
}
