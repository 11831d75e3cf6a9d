//! Paths of the repository, the build folder and the user's cache.

use crate::error::{Error, Result};
use azureml_wire::local;
use std::env;
use std::path::{Path, PathBuf};

/// Returns the root of the repository.
pub fn root() -> PathBuf {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask).to_owned()
}

/// Returns cargo's build folder: `$CARGO_TARGET_DIR`, else `target` in the repository.
pub fn target() -> PathBuf {
    set("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |target| root().join(target))
}

/// Returns the path of a program that this workspace builds.
pub fn program(name: &str) -> PathBuf {
    target().join("release").join(name)
}

/// Returns the folder of the steps' logs; xtask's own tests use a separate folder.
pub fn logs() -> PathBuf {
    target().join(if cfg!(test) { "test/logs" } else { "logs" })
}

/// Returns the folder of the lab.
pub fn lab() -> PathBuf {
    root().join("notebooks/02-train-model")
}

/// Returns the project's folder in the user's cache, where jobs look for libtorch.
pub fn cache() -> Result<PathBuf> {
    local::cache()
        .filter(|cache| cache.is_absolute())
        .ok_or_else(|| Error::Missing {
            what: "there is no folder for the cache: neither XDG_CACHE_HOME nor HOME is an absolute path".to_owned(),
            hint: "set XDG_CACHE_HOME to a folder that can be written to".to_owned(),
        })
}

/// Formats a path for the terminal: relative to the repository if it is inside.
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
