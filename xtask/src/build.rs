//! Builds with cargo, and installs the kernel.
//!
//! Cargo compiles a dependency once for each set of features, and the features depend on the
//! packages that one command selects. All steps therefore use one of two fixed selections; any
//! other selection would compile the same several hundred crates again.

use crate::error::{Error, Result};
use crate::place;
use crate::process;
use crate::python::Environment;
use crate::report::Step;
use crate::tools::Tools;
use serde_json::Value;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The program that completes code.
const EVCXR: &str = "azureml-kernel-evcxr";

/// A set of packages that one cargo command selects.
#[derive(Clone, Copy)]
pub enum Selection {
    /// All packages that do not need libtorch.
    Main,
    /// The training program and its crate, which need libtorch. The crate adds no features to those
    /// that the SDK selects when it submits the program.
    Training,
}

impl Selection {
    /// Both selections.
    pub const ALL: [Self; 2] = [Self::Main, Self::Training];

    /// The arguments that select the packages in cargo.
    fn packages(self) -> &'static [&'static str] {
        match self {
            Self::Main => &[
                "--workspace",
                "--exclude",
                "train-model",
                "--exclude",
                "training",
            ],
            Self::Training => &["--package", "train-model", "--package", "training"],
        }
    }

    /// Returns `cargo {subcommand} --release` for these packages.
    pub fn cargo(self, subcommand: &str) -> Command {
        let mut cargo = process::cargo();
        cargo
            .args([subcommand, "--release"])
            .args(self.packages())
            // By default, cargo shows its progress only on a terminal.
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

/// Builds the program that completes code, which takes longer than the kernel and is not needed to
/// run cells.
pub fn evcxr(step: &Step) -> Result<()> {
    let mut cargo = Selection::Main.cargo("build");
    cargo.args(["--bin", EVCXR]);
    process::run(step, "build-evcxr", cargo)
}

/// Builds the programs that `cargo xtask bench submit` measures.
pub fn submitter(step: &Step) -> Result<()> {
    let mut cargo = Selection::Main.cargo("build");
    cargo.args(["--bin", "azureml-local", "--example", "submit"]);
    process::run(step, "build-submitter", cargo)
}

/// Builds the training program.
pub fn training(step: &Step) -> Result<()> {
    let cargo = Selection::Training.cargo("build");
    process::run(step, "build-training-program", cargo)
}

/// Builds all programs and tests of a selection.
pub fn all(step: &Step, selection: Selection) -> Result<()> {
    process::run(step, "build", selection.cargo("build"))?;
    let mut tests = selection.cargo("test");
    tests.arg("--no-run");
    process::run(step, "build-tests", tests)
}

/// Installs the kernel into `environment`, unless the installed one is up to date. The first
/// installation builds the helper crates.
pub fn install_kernel(
    step: &Step,
    environment: Environment,
    tools: &Tools,
    rust_src: Option<&Path>,
) -> Result<()> {
    let stamp = environment.folder().join("kernel-made-from.txt");
    let made_from = made_from(tools, rust_src)?;
    if fs::read_to_string(&stamp).is_ok_and(|last| last == made_from) && is_installed(environment) {
        return Ok(());
    }
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
    )?;
    fs::write(&stamp, made_from).map_err(Error::io("write", &stamp))
}

/// Adds the program that completes code to the kernel in `environment`, unless it is there. Running
/// notebooks use it from then on.
pub fn add_evcxr(step: &Step, environment: Environment) -> Result<()> {
    let built = place::program(EVCXR);
    let installed = kernelspec(environment).join("bin").join(EVCXR);
    if is_newer(&installed, &built)? {
        return Ok(());
    }
    let mut install = process::command(place::program("azureml-kernel"));
    install
        .args(["install", "--sys-prefix", "--only-evcxr"])
        .env("VIRTUAL_ENV", environment.folder());
    process::run(step, &format!("add-evcxr-{}", environment.name), install)
}

/// Whether `copy` was written after `original`; `false` if there is no copy.
fn is_newer(copy: &Path, original: &Path) -> Result<bool> {
    let modified = |file: &Path| fs::metadata(file).and_then(|metadata| metadata.modified());
    let original = modified(original).map_err(Error::io("read", original))?;
    Ok(modified(copy).is_ok_and(|copy| copy >= original))
}

fn kernelspec(environment: Environment) -> PathBuf {
    environment
        .folder()
        .join("share/jupyter/kernels/rust-azureml")
}

/// Whether the kernel is installed, together with the helper crates that its kernelspec names.
fn is_installed(environment: Environment) -> bool {
    let spec = kernelspec(environment).join("kernel.json");
    let helpers = || {
        let spec: Value = serde_json::from_slice(&fs::read(&spec).ok()?).ok()?;
        let folder = spec["env"]["AZUREML_KERNEL_HELPERS"].as_str()?;
        Some(Path::new(folder).join("set.json").is_file())
    };
    helpers().unwrap_or_default()
}

/// Lists the inputs of the installed kernel: the compiler, the environment variables that the
/// kernelspec keeps, the kernel's programs, and the sources of its helper crates.
fn made_from(tools: &Tools, rust_src: Option<&Path>) -> Result<String> {
    let mut lines = vec![
        tools.rustc_version.clone(),
        format!("rust-src {rust_src:?}"),
    ];
    for variable in ["RUSTUP_TOOLCHAIN", "CARGO_HOME"] {
        lines.push(format!("{variable} {:?}", env::var_os(variable)));
    }
    let mut files = vec![
        place::program("azureml-kernel"),
        place::program("azureml-local"),
    ];
    for part in [
        "Cargo.toml",
        "Cargo.lock",
        "crates/azureml",
        "crates/azureml-wire",
        "crates/notebook",
    ] {
        list(&place::root().join(part), &mut files)?;
    }
    files.sort();
    for file in files {
        let metadata = fs::metadata(&file).map_err(Error::io("read", &file))?;
        let modified = metadata.modified().map_err(Error::io("read", &file))?;
        lines.push(format!(
            "{} {} {modified:?}",
            file.display(),
            metadata.len()
        ));
    }
    Ok(lines.join("\n"))
}

/// Adds `path`, or all files below it if it is a folder.
fn list(path: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    if !path.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    for entry in fs::read_dir(path).map_err(Error::io("read", path))? {
        list(&entry.map_err(Error::io("read", path))?.path(), files)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};

    /// Returns the features of each package, over dependencies of these kinds.
    fn features(selection: Selection, kinds: &str) -> BTreeMap<String, BTreeSet<String>> {
        let mut cargo = process::cargo();
        cargo
            .arg("tree")
            .args(selection.packages())
            .args(["--edges", kinds, "--prefix", "none"])
            .args(["--format", "{p} [{f}]"])
            .current_dir(place::root());
        let output = cargo.output().expect("cargo starts");
        assert!(output.status.success(), "{output:?}");
        let mut packages: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        let printed = String::from_utf8_lossy(&output.stdout);
        // An empty line separates the trees of the selected packages.
        for line in printed.lines().filter(|line| !line.is_empty()) {
            let (package, features) = line.split_once(" [").expect("a package and its features");
            let features = features.split_once(']').expect("the end of the features").0;
            packages
                .entry(package.to_owned())
                .or_default()
                .insert(features.to_owned());
        }
        packages
    }

    #[test]
    fn tests_add_no_features_to_what_programs_are_built_with() {
        for selection in Selection::ALL {
            let with_tests = features(selection, "normal,build,dev");
            for (package, features) in features(selection, "normal,build") {
                let tested = &with_tests[&package];
                assert!(
                    features.is_subset(tested),
                    "{package} is built twice: with {features:?} for programs and {tested:?} for tests"
                );
            }
        }
    }
}
