//! The kernel and the local workspace: built, and the kernel installed for a Python environment.

use crate::error::Result;
use crate::place;
use crate::process;
use crate::python::Environment;
use crate::report::Step;
use std::path::Path;

/// Builds the programs that a notebook needs.
pub fn build(step: &Step) -> Result<()> {
    let mut cargo = process::cargo();
    cargo.args([
        "build",
        "--release",
        "-p",
        "azureml-kernel",
        "-p",
        "azureml-local",
    ]);
    show_progress(&mut cargo);
    process::run(step, "build-kernel", cargo)
}

/// Installs the kernel into `environment`; its helper crates are built the first time.
pub fn install(step: &Step, environment: Environment, rust_src: Option<&Path>) -> Result<()> {
    let mut install = process::command(place::program("azureml-kernel"));
    install
        .args(["install", "--sys-prefix"])
        .current_dir(place::root())
        .env("VIRTUAL_ENV", environment.folder());
    if let Some(library) = rust_src {
        install.env("RUST_SRC_PATH", library);
    }
    process::run(
        step,
        &format!("install-kernel-{}", environment.name),
        install,
    )
}

/// Lets cargo say how far it is although it does not write to a terminal.
pub fn show_progress(cargo: &mut std::process::Command) {
    cargo
        .env("CARGO_TERM_PROGRESS_WHEN", "always")
        .env("CARGO_TERM_PROGRESS_WIDTH", "80")
        .env("CARGO_TERM_COLOR", "never");
}
