//! The files in the folder of a set.

use crate::UMBRELLA;
use std::path::{Path, PathBuf};

/// The file in a set's folder that describes its content; written last.
pub(crate) const MANIFEST: &str = "set.json";

/// Returns the folder of a set's library and metadata.
pub(crate) fn deps_folder(set: &Path) -> PathBuf {
    set.join("deps")
}

/// Returns the library of a set.
pub(crate) fn library(set: &Path) -> PathBuf {
    deps_folder(set).join(format!("lib{UMBRELLA}.so"))
}

/// Returns the Cargo.lock of a set.
pub(crate) fn lock(set: &Path) -> PathBuf {
    set.join("Cargo.lock")
}

/// Returns the folder of a set's stub crates, one subfolder each.
pub(crate) fn facades_folder(set: &Path) -> PathBuf {
    set.join("facades")
}

/// Returns the shim that the compiler compiles in place of a stub crate.
pub(crate) fn thin(set: &Path, crate_name: &str) -> PathBuf {
    set.join("thin").join(format!("{crate_name}.rs"))
}
