//! The start of an evaluator: its options, the parts that all evaluators use, and the errors.

use std::path::PathBuf;

use crate::folder::Folder;
use crate::stream::Pump;
use azureml_kernel_helpers::{Error as HelpersError, Helpers};

use crate::child::{CellRuntimeError, cell_runtime};
use crate::toolchain::{Toolchain, ToolchainError};

/// Options for starting an evaluator.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Options {
    /// The cache of compiled libraries; by default [`cache::root`](crate::cache::root).
    pub cache: Option<PathBuf>,
    /// The set of helper crates; by default the one that the environment selects.
    pub helpers: Option<PathBuf>,
    /// The binary that calls [`child_hook`](crate::child_hook); by default the current executable.
    pub program: Option<PathBuf>,
    /// The binary that completes and inspects code; by default [`code_intelligence::PROGRAM`], beside the binary that runs.
    pub code_intelligence: Option<PathBuf>,
}

/// An error that prevents an evaluator from starting.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// No compiler was found.
    #[error(transparent)]
    Toolchain(#[from] ToolchainError),
    /// The cell runtime library could not be built.
    #[error(transparent)]
    CellRuntime(#[from] CellRuntimeError),
    /// No directory for the cache could be determined.
    #[error(
        "there is no place for finished libraries\nhint: set HOME, or AZUREML_KERNEL_CACHE to a folder"
    )]
    NoCache,
    /// The kernel's temporary folder could not be created.
    #[error(
        "cannot set up a folder in {place}: {source}\nhint: make room there, or set TMPDIR to another folder"
    )]
    Folder {
        /// The parent folder.
        place: PathBuf,
        /// The underlying error.
        source: std::io::Error,
    },
    /// The user's configuration makes all kernels use the same folder.
    #[error(
        "the user's configuration would make kernels share a folder, where one runs the other's cells\nhint: remove `tmpdir` from evcxr.toml"
    )]
    SharedFolder,
    /// The engine could not be initialised.
    #[error("cells cannot be compiled: {0}\nhint: run `azureml-kernel doctor`")]
    Engine(String),
}

/// The components that every evaluator uses.
pub struct Parts {
    /// The compiler.
    pub toolchain: Toolchain,
    /// The folder of compiled libraries, shared by all kernels of the user.
    pub cache: PathBuf,
    /// The cell runtime library that all cells link to.
    pub runtime: PathBuf,
    /// The prebuilt set of helper crates, or the reason why it cannot be used.
    pub helpers: Result<Helpers, HelpersError>,
    /// The private folder of this kernel.
    pub folder: Folder,
    /// The reader of the cell process's output.
    pub pump: Pump,
    /// The binary that is started as the cell process.
    pub program: PathBuf,
}

impl Parts {
    /// Finds the compiler and the caches, and creates the private folder.
    pub fn gather(options: Options) -> Result<Self, StartError> {
        let toolchain = Toolchain::find()?;
        let cache = options
            .cache
            .or_else(crate::cache::root)
            .ok_or(StartError::NoCache)?;
        let helpers = match &options.helpers {
            Some(folder) => Helpers::open(folder, &toolchain),
            None => Helpers::current(&toolchain),
        };
        let folder = Folder::new().map_err(in_folder)?;
        Ok(Self {
            runtime: cell_runtime(&toolchain, &cache)?,
            pump: Pump::listen(&folder.socket()).map_err(in_folder)?,
            program: match options.program {
                Some(program) => program,
                None => std::env::current_exe().map_err(in_folder)?,
            },
            toolchain,
            cache,
            helpers,
            folder,
        })
    }
}

/// Converts an error about the kernel's temporary folder.
pub fn in_folder(source: std::io::Error) -> StartError {
    StartError::Folder {
        place: std::env::temp_dir(),
        source,
    }
}
