//! The crates that cells use without `:dep`: which ones, and building them ahead.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use azureml_kernel_helpers::{Helpers, env};

use super::Failure;

/// The SDK of the checkout that this binary was built from.
const SDK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/azureml");

/// Builds the SDK and `further` crates; returns the variables by which kernels find them.
pub fn build(further: &[PathBuf]) -> Result<BTreeMap<String, String>, Failure> {
    let sdk = Path::new(SDK);
    let mut crates = Vec::new();
    if sdk.is_dir() {
        crates.push(sdk.to_owned());
    } else {
        eprintln!(
            "warning: the SDK is not at {SDK} any more\nhint: name the folder of the azureml crate by --crate, or install from its checkout"
        );
    }
    crates.extend_from_slice(further);
    if crates.is_empty() {
        return Ok(BTreeMap::new());
    }
    let helpers = azureml_kernel_helpers::build(&crates, &|line| eprintln!("{line}"))?;
    Ok(variables(&helpers))
}

fn variables(helpers: &Helpers) -> BTreeMap<String, String> {
    let folder = helpers.folder().to_string_lossy().into_owned();
    BTreeMap::from([(env::HELPERS.to_owned(), folder)])
}
