//! The crates that cells use without `:dep`: which ones, and building them ahead.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use azureml_kernel_evaluator::evcxr;

use super::Failure;

/// How a kernel starts its evaluator.
pub fn options() -> evcxr::Options {
    evcxr::Options::default()
}

/// Builds the crates; returns the variables by which kernels find them.
pub fn build(_running: &Path, _crates: &[PathBuf]) -> Result<BTreeMap<String, String>, Failure> {
    Ok(BTreeMap::new())
}
