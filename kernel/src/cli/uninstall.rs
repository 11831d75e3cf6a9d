//! `azureml-kernel uninstall`: removes the kernelspec.

use std::process::ExitCode;

use super::Failure;
use crate::kernelspec::folder;
use crate::kernelspec::locations::{Location, kernels_folder};

/// Removes what `install` has written.
pub fn run(location: &Location) -> Result<ExitCode, Failure> {
    let kernels = kernels_folder(location)?;
    let place = folder::path(&kernels);
    if folder::remove(&kernels)? {
        eprintln!("Removed {}", place.display());
        if place.exists() {
            eprintln!("It holds files that were not installed, so the folder itself stays.");
        }
    } else {
        eprintln!("Nothing is installed in {}", place.display());
    }
    Ok(ExitCode::SUCCESS)
}
