//! `azureml-kernel install`: installs the kernelspec and builds the crates that cells use.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::{Engine, Failure, engine, helpers, trial};
use crate::kernelspec::DISPLAY_NAME;
use crate::kernelspec::folder::{self, Binary};
use crate::kernelspec::locations::{Location, kernels_folder};
use crate::toolchain;

/// The local workspace's binary, which cells start if it is in the same folder as the kernel.
const LOCAL_WORKSPACE: &str = "azureml-local";

/// Runs the command.
pub fn run(
    engine: Engine,
    location: &Location,
    crates: &[PathBuf],
    no_crates: bool,
) -> Result<ExitCode, Failure> {
    let kernels = kernels_folder(location)?;
    let running = std::env::current_exe()?.canonicalize()?;
    let variables = if no_crates {
        BTreeMap::new()
    } else {
        helpers::build(&running, crates)?
    };
    let binary = binary(&running);
    let started = folder::install(&kernels, &binary, &variables)?;
    eprintln!(
        "Installed \"{DISPLAY_NAME}\" in {}",
        folder::path(&kernels).display()
    );
    eprintln!("It starts {}", started.display());
    let set = variables.get(azureml_kernel_helpers::env::HELPERS);
    let set = set.map(Path::new);
    if let Some(set) = set {
        // Not fatal: without the record, the crates may be removed too early or never.
        if let Err(error) = helpers::add_user(set, &folder::path(&kernels)) {
            eprintln!(
                "warning: cannot note in {} who uses it: {error}",
                set.display()
            );
        }
        helpers::prune();
    }
    if toolchain::find("rustc").is_none() || toolchain::find("cargo").is_none() {
        eprintln!(
            "warning: rustc or cargo is not on PATH\nhint: {}",
            toolchain::RUST_HINT
        );
    } else if toolchain::rust_src().is_none() {
        eprintln!(
            "warning: the sources of the standard library (rust-src) are missing; without them completion and documentation do not know it, and the evaluator `evcxr` not the types of variables\nhint: {}",
            toolchain::rust_src_hint()
        );
    }
    if !no_crates {
        eprintln!("Trying a cell");
        match trial::run(engine, set) {
            Ok(()) => eprintln!("It works."),
            Err(error) => eprintln!("warning: {error}"),
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Adds the binary that uses `evcxr` to an installed kernel, whose running notebooks then complete
/// code with it.
pub fn add_evcxr(location: &Location) -> Result<ExitCode, Failure> {
    let running = std::env::current_exe()?.canonicalize()?;
    let added = folder::add(&kernels_folder(location)?, &engine::beside(&running))?;
    eprintln!("Added {}", added.display());
    Ok(ExitCode::SUCCESS)
}

/// Returns how to install the binary: one in a build folder is copied, because `cargo clean` and
/// the next build remove it.
fn binary(running: &Path) -> Binary {
    if !in_build_folder(running) {
        return Binary::InPlace(running.to_owned());
    }
    let beside = [
        running.with_file_name(LOCAL_WORKSPACE),
        engine::beside(running),
    ];
    let mut binaries = vec![running.to_owned()];
    binaries.extend(
        beside
            .into_iter()
            .filter(|path| toolchain::is_executable(path)),
    );
    Binary::Copied(binaries)
}

/// Whether the binary is in a build folder of cargo, which cargo marks as a cache.
fn in_build_folder(binary: &Path) -> bool {
    binary
        .ancestors()
        .any(|folder| folder.join("CACHEDIR.TAG").is_file())
}
