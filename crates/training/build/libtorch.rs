//! Build script of every training program (`build = "…"` in its `Cargo.toml`) and part of this
//! crate's own build script. It checks that tch supports the libtorch to link against, and sets the
//! run path so that programs find that libtorch on this machine.
//!
//! torch-sys checks the version of a libtorch archive, but not that of a PyTorch installation; a
//! wrong version fails there with hundreds of C++ errors. A program that runs on another machine
//! finds libtorch through `LD_LIBRARY_PATH`, which takes precedence over the run path set here.

use std::{env, fs, path::Path, process::ExitCode};

/// The libtorch version that tch 0.24 supports.
const NEEDED: &str = "2.11.";

/// Runs the build script.
pub fn main() -> ExitCode {
    println!("cargo::rerun-if-env-changed=LIBTORCH");
    let Some(libtorch) = env::var_os("LIBTORCH") else {
        // torch-sys then searches elsewhere and reports an error when it finds no libtorch.
        return ExitCode::SUCCESS;
    };
    let libtorch = Path::new(&libtorch);
    let problem = match version(libtorch) {
        None => format!("there is no libtorch in {}", libtorch.display()),
        Some(found) if !found.starts_with(NEEDED) => format!(
            "{} holds libtorch {found}; tch 0.24 needs {NEEDED}0",
            libtorch.display()
        ),
        Some(_) => {
            let libraries = libtorch.join("lib").display().to_string();
            println!("cargo::rustc-link-arg=-Wl,--enable-new-dtags,-rpath,{libraries}");
            return ExitCode::SUCCESS;
        }
    };
    println!("cargo::error={problem}");
    println!(
        "cargo::error=hint: `cargo xtask lab` fetches the right one; a LIBTORCH of your own must be the `torch` folder of PyTorch {NEEDED}0"
    );
    ExitCode::FAILURE
}

/// Returns the version of the libtorch in `folder`: from `build-version` of an archive, or from
/// `version.py` of a PyTorch installation.
fn version(folder: &Path) -> Option<String> {
    if let Some(text) = read(&folder.join("build-version")) {
        return Some(text.trim().to_owned());
    }
    let text = read(&folder.join("version.py"))?;
    let line = text.lines().find(|line| line.starts_with("__version__"))?;
    line.split(['\'', '"']).nth(1).map(str::to_owned)
}

fn read(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    // Only for existing files: cargo considers a missing file changed at every build.
    println!("cargo::rerun-if-changed={}", path.display());
    Some(text)
}
