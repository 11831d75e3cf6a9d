//! Builds the C++ part of this crate, which records training steps on a GPU
//! (`src/graph/graph.cpp`).
//!
//! It is compiled to a separate shared library that is embedded in the program. It can only be
//! linked where CUDA is installed, and programs must also run without CUDA.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

mod libtorch;

const SOURCE: &str = "src/graph/graph.cpp";

fn main() -> ExitCode {
    let checked = libtorch::main();
    if checked != ExitCode::SUCCESS {
        return checked;
    }
    println!("cargo::rerun-if-changed=build");
    println!("cargo::rerun-if-changed={SOURCE}");
    println!("cargo::rerun-if-env-changed=CUDA_HOME");
    // Cargo sets it for every build script.
    let library = PathBuf::from(env::var_os("OUT_DIR").expect("OUT_DIR is set")).join("graph.so");
    let built = match env::var_os("LIBTORCH") {
        None => Err("LIBTORCH is not set".to_owned()),
        Some(libtorch) => build(Path::new(&libtorch), &library),
    };
    let written = built.or_else(|problem| {
        println!("cargo::warning=on a GPU, steps will be launched one by one: {problem}");
        // The program reports the same reason when the embedded library is empty.
        fs::write(&library, [])
            .map_err(|error| format!("cannot write {}: {error}", library.display()))
    });
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            println!("cargo::error={problem}");
            ExitCode::FAILURE
        }
    }
}

/// Compiles the library.
fn build(libtorch: &Path, library: &Path) -> Result<(), String> {
    let cuda = cuda_headers(libtorch).ok_or("CUDA's headers are not found (set CUDA_HOME)")?;
    let mut compiler = cc::Build::new()
        .cpp(true)
        .std("c++17")
        .opt_level(2)
        .warnings(false)
        .include(libtorch.join("include"))
        .include(cuda)
        .try_get_compiler()
        .map_err(|error| error.to_string())?
        .to_command();
    let output = compiler
        .args(["-shared", "-fPIC", "-fvisibility=hidden", "-Wl,--strip-all"])
        .arg(SOURCE)
        .arg("-o")
        .arg(library)
        .output()
        .map_err(|error| format!("{}: {error}", compiler.get_program().display()))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let first = said.lines().find(|line| line.contains("error"));
    Err(format!(
        "{SOURCE}: {}",
        first.unwrap_or("the compiler failed")
    ))
}

/// Returns the folder of CUDA's headers: from the packages installed with PyTorch, or from the CUDA
/// toolkit.
fn cuda_headers(libtorch: &Path) -> Option<PathBuf> {
    // `LIBTORCH` can be a symbolic link.
    let installed = libtorch.canonicalize().ok()?;
    let beside = installed.parent()?.join("nvidia/cu13/include");
    let home = env::var_os("CUDA_HOME").unwrap_or_else(|| "/usr/local/cuda".into());
    [beside, Path::new(&home).join("include")]
        .into_iter()
        .find(|folder| folder.join("cuda_runtime_api.h").is_file())
}
