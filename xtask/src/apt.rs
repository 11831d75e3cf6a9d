//! System packages, if apt exists and the user may run it.

use crate::error::Result;
use crate::process::{self, command};
use crate::report::Step;
use crate::{lock, place};
use std::path::{Path, PathBuf};

/// Installs packages with the `apt-get` in one of `folders`; returns the reason if it fails.
pub fn install(
    folders: &[PathBuf],
    is_root: bool,
    packages: &[&str],
    step: &Step,
) -> Result<(), String> {
    let apt = folders.iter().map(|folder| folder.join("apt-get"));
    match apt.into_iter().find(|apt| apt.is_file()) {
        None => Err("apt-get is not here".to_owned()),
        Some(_) if !is_root => Err("only root may install it".to_owned()),
        Some(apt) => run(&apt, packages, step).map_err(|error| error.brief()),
    }
}

fn run(apt: &Path, packages: &[&str], step: &Step) -> Result<()> {
    let _lock = lock::take(&place::target().join("apt.lock"), step)?;
    step.print(&format!("installing {} by apt-get", packages.join(" and ")));
    let mut install = vec!["install", "-y", "--no-install-recommends"];
    install.extend(packages);
    for (log, arguments) in [("apt-update", vec!["update"]), ("apt", install)] {
        let mut apt = command(apt);
        apt.args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
        process::run(step, log, apt)?;
    }
    Ok(())
}
