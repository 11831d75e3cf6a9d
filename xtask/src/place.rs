//! Where things are: the repository, the build folder, the user's cache.

use std::env;
use std::path::{Path, PathBuf};

/// The root of the repository.
pub fn root() -> PathBuf {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask).to_owned()
}

/// Cargo's build folder: `$CARGO_TARGET_DIR`, else `target` in the repository.
pub fn target() -> PathBuf {
    set("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |target| root().join(target))
}

/// A program that this workspace builds.
pub fn program(name: &str) -> PathBuf {
    target()
        .join("release")
        .join(format!("{name}{}", env::consts::EXE_SUFFIX))
}

/// The folder of a lab.
pub fn lab() -> PathBuf {
    root().join("notebooks/02-train-model")
}

/// The user's cache of this project; in the build folder where the user has no home.
pub fn cache() -> PathBuf {
    set("XDG_CACHE_HOME")
        .filter(|cache| cache.is_absolute())
        .or_else(|| set("HOME").map(|home| home.join(".cache")))
        .map_or_else(|| target().join("cache"), |cache| cache.join("azureml"))
}

/// `path` as a reader of the terminal wants it: relative to the repository where it lies there.
pub fn shown(path: &Path) -> String {
    path.strip_prefix(root())
        .unwrap_or(path)
        .display()
        .to_string()
}

fn set(variable: &str) -> Option<PathBuf> {
    env::var_os(variable)
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
}
