//! Helper crates: built once, used by every cell of every kernel without waiting.
//!
//! The crates and all they depend on become one dynamic library, so their statics exist once in the process that runs cells. Beside
//! it lie, for each crate of the checkout that is in it:
//! - a *facade*, a package of the same name with the crate's real sources but no foreign dependencies. The cells' crate depends on it, and
//!   rust-analyzer reads it for the types of variables;
//! - a *shim*, a compiled crate of the same name that re-exports the crate from the dynamic library. The compiler is given it instead
//!   of the facade, by [`child_hook`](crate::child_hook) in its role as the compiler's wrapper.
//!
//! ```text
//! <cache>/helpers/<key>/lib/libazureml_kernel_helpers.so     the dynamic library
//!                       metadata/*.rmeta                      what is in it, for the compiler
//!                       shims/lib<crate>.{rlib,rmeta}
//!                       facades/<crate>/{Cargo.toml,src/…}
//!                       manifest.json
//!                 current/<toolchain>                        the key of the library to use
//!                 build/                                     cargo's folder, used by one build at a time
//! ```

mod build;
mod facade;
mod metadata;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::cache::Key;
use crate::toolchain::Toolchain;

pub use build::{BuildError, Progress, build};

/// The crate whose dynamic library holds all helper crates.
pub(crate) const UMBRELLA: &str = "azureml_kernel_helpers";

/// A finished library of helper crates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Library {
    folder: PathBuf,
}

/// What a finished library holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The compiler that built it, as `rustc --version` prints it.
    pub rustc: String,
    /// The crates that a cell can use.
    pub crates: Vec<HelperCrate>,
}

/// A crate that a cell can use without `:dep`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HelperCrate {
    /// The package's name.
    pub package: String,
    /// The name by which code knows it.
    pub library: String,
}

/// Why there are no helper crates.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// Nothing was built.
    #[error(
        "helper crates are not built yet\nhint: run `azureml-kernel install`, then restart the kernel"
    )]
    NotBuilt,
    /// What was built is for another compiler.
    #[error(
        "helper crates were built by another compiler than `{rustc}`\nhint: run `azureml-kernel install` again, then restart the kernel"
    )]
    OtherCompiler {
        /// The compiler that compiles cells.
        rustc: String,
    },
    /// What was built is not whole.
    #[error(
        "the library of helper crates in {folder} is damaged\nhint: remove that folder, run `azureml-kernel install` again and restart the kernel"
    )]
    Damaged {
        /// Where it is.
        folder: PathBuf,
    },
}

impl Library {
    /// The library that was built last for this toolchain.
    pub fn current(toolchain: &Toolchain, cache: &Path) -> Result<Self, Unavailable> {
        let helpers = cache.join("helpers");
        let Ok(key) = std::fs::read_to_string(pointer(&helpers, toolchain)) else {
            let built_for_another = std::fs::read_dir(helpers.join("current"))
                .is_ok_and(|mut entries| entries.next().is_some());
            return Err(if built_for_another {
                Unavailable::OtherCompiler {
                    rustc: toolchain.short_version().to_owned(),
                }
            } else {
                Unavailable::NotBuilt
            });
        };
        let library = Self::at(helpers.join(key.trim()));
        if library.manifest().is_some() && library.dynamic_library().is_file() {
            Ok(library)
        } else {
            Err(Unavailable::Damaged {
                folder: library.folder,
            })
        }
    }

    /// The library in a folder.
    pub(crate) fn at(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What it holds; `None` when that cannot be read.
    pub fn manifest(&self) -> Option<Manifest> {
        let text = std::fs::read_to_string(self.folder.join("manifest.json")).ok()?;
        serde_json::from_str(&text).ok()
    }

    /// The dynamic library.
    pub fn dynamic_library(&self) -> PathBuf {
        self.library_folder().join(format!("lib{UMBRELLA}.so"))
    }

    pub(crate) fn library_folder(&self) -> PathBuf {
        self.folder.join("lib")
    }

    pub(crate) fn metadata_folder(&self) -> PathBuf {
        self.folder.join("metadata")
    }

    pub(crate) fn facades(&self) -> PathBuf {
        self.folder.join("facades")
    }

    pub(crate) fn shim(&self, library: &str, extension: &str) -> PathBuf {
        self.folder
            .join("shims")
            .join(format!("lib{library}.{extension}"))
    }
}

/// The file that names the library to use with a toolchain.
fn pointer(helpers: &Path, toolchain: &Toolchain) -> PathBuf {
    let id = Key::new()
        .add(&toolchain.version)
        .add(toolchain.libdir.as_os_str().as_encoded_bytes())
        .finish();
    helpers.join("current").join(id)
}
