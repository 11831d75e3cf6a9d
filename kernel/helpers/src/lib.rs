//! Helper crates: the crates that cells use without `:dep`, built once, ahead, into one dynamic library.
//!
//! A *set* is a folder in the cache, named by the hash of everything that went into it:
//!
//! - `deps/`: the dynamic library `libhelpers.so` with all helper crates and what they depend on, and the metadata that
//!   the compiler reads when a cell uses them;
//! - `facades/`: a package per helper crate with its real sources and no dependencies from a registry. A cell's crate depends on
//!   these, so rust-analyzer knows every type, and cargo has nothing to download or to build. Beside its manifest lies the real one,
//!   with which the sources can be written out as a package that builds;
//! - `thin/`: what the compiler is really given for a facade: one line that passes on the finished library.
//!
//! Cargo calls the compiler through [`rustc_wrapper_hook`], which exchanges the facade for its thin stand-in.
//! All cells load the same library, so its statics (a runtime, a connection pool) exist once.

mod build;
mod error;
mod facade;
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

/// Environment variables of this crate; declared here and nowhere else.
pub mod env {
    /// The folder of the set that a kernel uses; the kernelspec carries it.
    pub const HELPERS: &str = "AZUREML_KERNEL_HELPERS";
    /// Where finished libraries are kept between kernels, see [`cache_root`](crate::cache_root).
    pub const CACHE: &str = "AZUREML_KERNEL_CACHE";
    /// Set for cargo's children alone: this process stands in for the compiler.
    pub(crate) const WRAPPER: &str = "AZUREML_KERNEL_RUSTC_WRAPPER";
}

/// The name of the crate that holds all helper crates.
const UMBRELLA: &str = "helpers";
