//! What cargo builds, and the kernel's installation.
//!
//! A dependency is compiled once for each set of features that it is wanted with, and that set depends on which
//! packages one command selects. So there are two selections, used by every step: with others, the same several
//! hundred crates would be compiled again.

use crate::error::Result;
use crate::place;
use crate::process;
use crate::python::Environment;
use crate::report::Step;
use std::path::Path;
use std::process::Command;

/// Packages that are selected together.
#[derive(Clone, Copy)]
pub enum Selection {
    /// Everything but the training program.
    Main,
    /// The training program, as the SDK selects it when it is submitted. It needs libtorch.
    Training,
}

impl Selection {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Main, Self::Training];

    /// `cargo {subcommand} --release` for these packages.
    pub fn cargo(self, subcommand: &str) -> Command {
        let mut cargo = process::cargo();
        cargo
            .args([subcommand, "--release"])
            .args(match self {
                Self::Main => &["--workspace", "--exclude", "train-model"][..],
                Self::Training => &["--package", "train-model"],
            })
            // Cargo says how far it is although it does not write to a terminal.
            .env("CARGO_TERM_PROGRESS_WHEN", "always")
            .env("CARGO_TERM_PROGRESS_WIDTH", "80")
            .env("CARGO_TERM_COLOR", "never");
        cargo
    }
}

/// Builds the programs that a notebook needs.
pub fn kernel(step: &Step) -> Result<()> {
    let mut cargo = Selection::Main.cargo("build");
    cargo.args(["--bin", "azureml-kernel", "--bin", "azureml-local"]);
    process::run(step, "build-kernel", cargo)
}

/// Builds the training program.
pub fn training(step: &Step) -> Result<()> {
    let cargo = Selection::Training.cargo("build");
    process::run(step, "build-training-program", cargo)
}

/// Builds every program and every test of a selection.
pub fn all(step: &Step, selection: Selection) -> Result<()> {
    process::run(step, "build", selection.cargo("build"))?;
    let mut tests = selection.cargo("test");
    tests.arg("--no-run");
    process::run(step, "build-tests", tests)
}

/// Installs the kernel into `environment`; its helper crates are built the first time.
pub fn install_kernel(
    step: &Step,
    environment: Environment,
    rust_src: Option<&Path>,
) -> Result<()> {
    let mut install = process::command(place::program("azureml-kernel"));
    install
        .args(["install", "--sys-prefix"])
        .current_dir(place::root())
        .env("VIRTUAL_ENV", environment.folder())
        .envs(rust_src.map(|library| ("RUST_SRC_PATH", library)));
    process::run(
        step,
        &format!("install-kernel-{}", environment.name),
        install,
    )
}
