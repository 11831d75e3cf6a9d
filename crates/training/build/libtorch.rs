//! Checks that the libtorch to link to is the one that tch can use, and lets the built programs find it here: the build
//! script of every training program (`build = "…"` in its `Cargo.toml`), and a part of this crate's own.
//!
//! torch-sys checks a libtorch archive's version, but not that of a PyTorch; with a wrong one it fails with hundreds of
//! C++ errors. A program that was sent elsewhere finds libtorch by `LD_LIBRARY_PATH`, which goes before what is set here.

use std::{env, fs, path::Path, process::ExitCode};

/// What tch 0.24 compiles against.
const NEEDED: &str = "2.11.";

/// The whole script.
pub fn main() -> ExitCode {
    println!("cargo::rerun-if-env-changed=LIBTORCH");
    let Some(libtorch) = env::var_os("LIBTORCH") else {
        // torch-sys then looks elsewhere, and says so when it finds nothing.
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

/// The version of the libtorch in `folder`: an archive says it in `build-version`, a PyTorch in `version.py`.
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
    // Only for files that are there: cargo would take a missing one for changed each time.
    println!("cargo::rerun-if-changed={}", path.display());
    Some(text)
}
