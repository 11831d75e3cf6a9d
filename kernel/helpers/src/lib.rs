//! Helper crates: the crates that cells use without `:dep`, prebuilt once into one dynamic library.
//!
//! A *set* (prebuilt set) is a folder in the cache, named by the hash of all its inputs:
//!
//! - `deps/`: the dynamic library `libhelpers.so`, which contains all helper crates and their
//!   dependencies, and the metadata that the compiler reads when a cell uses them;
//! - `facades/`: one stub crate per helper crate, with its real sources but without dependencies
//!   from a registry. A cell's crate depends on the stub crates, so rust-analyzer resolves every
//!   type, and cargo has nothing to download or to build. Each stub also contains the real
//!   manifest, with which the sources can be exported as a package that builds;
//! - `thin/`: the shim that the compiler compiles in place of a stub crate: one line that
//!   re-exports the crate from the prebuilt library.
//!
//! Cargo calls the compiler through [`rustc_wrapper_hook`], which replaces the stub crate by its
//! shim. All cells load the same library, so its statics (a runtime, a connection pool) exist once.

mod build;
mod error;
mod facade;
mod layout;
pub mod own;
mod prune;
mod set;
pub mod toolchain;
mod wrapper;

pub use build::{build, build_in};
pub use error::Error;
pub use prune::{prune, remove};
pub use set::{Facade, Helpers, cache_root};
pub use wrapper::rustc_wrapper_hook;

/// Environment variables of this crate. All are declared here.
pub mod env {
    /// The folder of the set that a kernel uses; set by the kernelspec.
    pub const HELPERS: &str = "AZUREML_KERNEL_HELPERS";
    /// The folder of prebuilt libraries, see [`cache_root`](crate::cache_root).
    pub const CACHE: &str = "AZUREML_KERNEL_CACHE";
    /// Set for cargo's child processes only: this process replaces the compiler.
    pub(crate) const WRAPPER: &str = "AZUREML_KERNEL_RUSTC_WRAPPER";
}

/// The name of the bundle crate, which contains all helper crates.
const UMBRELLA: &str = "helpers";
