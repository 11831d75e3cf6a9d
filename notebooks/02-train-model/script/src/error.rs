//! The errors of the lab's programs, each with a hint.

use std::{
    io,
    path::{Path, PathBuf},
};

use training::error::Hint;

/// An error that ends a program.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No folder with MNIST was given, and no default folder exists.
    #[error("found no MNIST data in {}", list(searched))]
    NoData {
        /// The searched folders.
        searched: Vec<PathBuf>,
    },
    /// The folder lacks one of MNIST's four files.
    #[error("the folder {} has neither {name} nor {name}.gz", folder.display())]
    MissingFile {
        /// The folder.
        folder: PathBuf,
        /// The missing file.
        name: String,
    },
    /// A file of MNIST is invalid.
    #[error("{} is not usable: {problem}", path.display())]
    BadData {
        /// The file.
        path: PathBuf,
        /// The actual and the expected content.
        problem: String,
    },
    /// A drawing cannot be read.
    #[error("{} holds no digits that can be read: {problem}", path.display())]
    BadDigits {
        /// The file.
        path: PathBuf,
        /// The actual and the expected content.
        problem: String,
    },
    /// An error of any training program.
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
    /// Returns a function for `map_err` after reading a file.
    pub fn read(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let with_path = training::Error::read(path);
        move |source| with_path(source).into()
    }

    /// Returns a function for `map_err` after writing a file.
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
