//! `azureml-kernel uninstall`: removes the kernelspec and the crates that were built for it.

use std::process::ExitCode;

use super::{Failure, helpers};
use crate::kernelspec::folder;
use crate::kernelspec::locations::{Location, kernels_folder};

/// Removes the files that `install` has written.
pub fn run(location: &Location) -> Result<ExitCode, Failure> {
    let kernels = kernels_folder(location)?;
    let place = folder::path(&kernels);
    let set = folder::read(&place).and_then(|spec| helpers::set_of(&spec));
    if folder::remove(&kernels)? {
        eprintln!("Removed {}", place.display());
        if let Some(set) = set {
            match helpers::remove_user(&set, &place) {
                Ok(true) => eprintln!("Removed {}", set.display()),
                Ok(false) => {}
                Err(error) => eprintln!("warning: cannot remove {}: {error}", set.display()),
            }
        }
        helpers::prune();
        if place.exists() {
            eprintln!("It holds files that were not installed, so the folder itself stays.");
        }
    } else {
        eprintln!("Nothing is installed in {}", place.display());
    }
    Ok(ExitCode::SUCCESS)
}
