//! Checks whether a folder is a usable libtorch: its version, and the files needed for building and
//! running.

use super::VERSION;
use std::fs;
use std::path::{Path, PathBuf};

/// Returns the version of the libtorch in `folder`: from `version.py` of PyTorch, or from
/// `build-version` of a libtorch archive.
pub fn version(folder: &Path) -> Option<String> {
    if let Ok(text) = fs::read_to_string(folder.join("build-version")) {
        return Some(text.trim().to_owned());
    }
    let text = fs::read_to_string(folder.join("version.py")).ok()?;
    let line = text.lines().find(|line| line.starts_with("__version__"))?;
    line.split(['\'', '"']).nth(1).map(str::to_owned)
}

/// Whether tch supports this version, with or without CUDA.
pub fn fits(version: &str) -> bool {
    version.split('+').next() == Some(VERSION)
}

/// Returns the first missing file that is needed for building or running.
pub fn missing(folder: &Path) -> Option<PathBuf> {
    [
        "include/torch/csrc/api/include/torch/torch.h",
        "lib/libtorch_cpu.so",
    ]
    .into_iter()
    .map(|file| folder.join(file))
    .find(|file| !file.exists())
}

/// Whether the libtorch is complete, has the right version and, if `gpu` is set, supports CUDA.
pub fn usable(folder: &Path, gpu: bool) -> bool {
    version(folder).is_some_and(|found| fits(&found))
        && missing(folder).is_none()
        && (!gpu || folder.join("lib/libtorch_cuda.so").exists())
}
