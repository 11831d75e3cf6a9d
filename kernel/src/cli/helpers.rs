//! The crates that cells use without `:dep`: which ones, building them ahead, and removing what was built.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use azureml_kernel_helpers::{self as helpers, Helpers};
use jupyter_protocol::JupyterKernelspec;

use super::Failure;
use crate::kernelspec::{folder, locations};

/// The crates of this repository that every cell may use.
const OWN_CRATES: [&str; 2] = ["crates/azureml", "crates/notebook"];

/// The widest line of progress on a terminal.
const WIDTH: usize = 78;

/// Builds this repository's crates and `further` ones; returns the variables by which kernels find them.
pub fn build(running: &Path, further: &[PathBuf]) -> Result<BTreeMap<String, String>, Failure> {
    let own = own_crates(running);
    if own.is_empty() {
        eprintln!(
            "warning: {} was not found, so cells cannot use it\nhint: name the folder of the crate with `--crate`, or install from a checkout of the repository",
            OWN_CRATES[0]
        );
    }
    let crates: Vec<PathBuf> = own.into_iter().chain(further.iter().cloned()).collect();
    if crates.is_empty() {
        return Ok(BTreeMap::new());
    }
    eprintln!("Building the crates that cells use without `:dep` (once; takes minutes)");
    let terminal = std::io::stderr().is_terminal();
    let built = helpers::build(&crates, &|line| show(terminal, line));
    if terminal {
        eprint!("\r\u{1b}[2K");
    }
    let built = built?;
    let names: Vec<&str> = built
        .facades()
        .iter()
        .map(|facade| facade.name.as_str())
        .collect();
    eprintln!("Built {} in {}", names.join(", "), built.folder().display());
    Ok(BTreeMap::from([(
        helpers::env::HELPERS.to_owned(),
        built.folder().to_string_lossy().into_owned(),
    )]))
}

/// Shows what cargo is doing: on a terminal in one line, otherwise line by line.
fn show(terminal: bool, line: &str) {
    if terminal {
        let line: String = line.trim().chars().take(WIDTH).collect();
        eprint!("\r\u{1b}[2K{line}");
        // Progress that cannot be shown is no reason to stop.
        let _ = std::io::stderr().flush();
    } else {
        eprintln!("{line}");
    }
}

/// The repository's crates: of the checkout that the binary lies in, or else of the one that it was built from.
fn own_crates(running: &Path) -> Vec<PathBuf> {
    let built_from = Path::new(env!("CARGO_MANIFEST_DIR"));
    running
        .ancestors()
        .chain(built_from.ancestors())
        .map(|root| OWN_CRATES.map(|name| root.join(name)))
        .find(|crates| crates.iter().all(|path| path.join("Cargo.toml").is_file()))
        .map(Vec::from)
        .unwrap_or_default()
}

/// The folder of the crates that a kernelspec's kernels use.
pub fn set_of(spec: &JupyterKernelspec) -> Option<PathBuf> {
    let folder = spec.env.as_ref()?.get(helpers::env::HELPERS)?;
    Some(PathBuf::from(folder))
}

/// Checks that kernels can use the crates in a folder; returns their names.
pub fn check(set: &Path) -> Result<Vec<String>, Failure> {
    let names = |found: Helpers| {
        found
            .facades()
            .iter()
            .map(|facade| facade.name.clone())
            .collect()
    };
    Ok(names(Helpers::open(set)?))
}

/// Removes the crates in a folder, unless another kernelspec uses them; returns whether they are gone.
pub fn remove_unused(set: &Path) -> std::io::Result<bool> {
    let used = locations::all_kernels_folders()
        .iter()
        .filter_map(|kernels| folder::read(&folder::path(kernels)))
        .any(|spec| set_of(&spec).as_deref() == Some(set));
    // A folder that is no set was not made by `install`.
    if used || !set.join("set.json").is_file() {
        return Ok(false);
    }
    std::fs::remove_dir_all(set)?;
    Ok(true)
}
