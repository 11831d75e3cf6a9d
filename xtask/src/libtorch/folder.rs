//! What makes a folder a libtorch: its version, and the files that building and running need.

use super::VERSION;
use std::fs;
use std::path::{Path, PathBuf};

/// The version of the libtorch in `folder`: a PyTorch has it in `version.py`, a libtorch archive in `build-version`.
pub fn version(folder: &Path) -> Option<String> {
    if let Ok(text) = fs::read_to_string(folder.join("build-version")) {
        return Some(text.trim().to_owned());
    }
    let text = fs::read_to_string(folder.join("version.py")).ok()?;
    let line = text.lines().find(|line| line.starts_with("__version__"))?;
    line.split(['\'', '"']).nth(1).map(str::to_owned)
}

/// Whether tch takes this version, with or without CUDA.
pub fn fits(version: &str) -> bool {
    version.split('+').next() == Some(VERSION)
}

/// The first thing that building or running would miss.
pub fn missing(folder: &Path) -> Option<PathBuf> {
    [
        "include/torch/csrc/api/include/torch/torch.h",
        "lib/libtorch_cpu.so",
    ]
    .into_iter()
    .map(|file| folder.join(file))
    .find(|file| !file.exists())
}

/// Whether it is whole and right, and can use a GPU where there is one.
pub fn usable(folder: &Path, gpu: bool) -> bool {
    version(folder).is_some_and(|found| fits(&found))
        && missing(folder).is_none()
        && (!gpu || folder.join("lib/libtorch_cuda.so").exists())
}
