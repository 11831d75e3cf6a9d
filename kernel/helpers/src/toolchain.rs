//! The compiler of cells and of their helper crates.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The `rustc` that compiles cells, found in the same way as in `evcxr`: the one that `rustup`
/// selects, otherwise the one on `PATH`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Toolchain {
    /// Path of the compiler itself, not of rustup's proxy, which takes 0.1 s at each start.
    pub rustc: PathBuf,
    /// Path of `cargo` in the same toolchain.
    pub cargo: PathBuf,
    /// Output of `rustc -vV`; compilers with equal output can read each other's libraries.
    pub version: String,
    /// The target triple of this machine.
    pub host: String,
    /// The toolchain's folder.
    pub sysroot: PathBuf,
    /// The folder of the shared standard library.
    pub libdir: PathBuf,
}

/// An error while searching for the compiler.
#[derive(Debug, thiserror::Error)]
pub enum ToolchainError {
    /// No compiler was found.
    #[error(
        "cannot find `{0}`\nhint: install Rust from https://rustup.rs and start Jupyter from a terminal where `{0} --version` works"
    )]
    NotFound(&'static str),
    /// The program failed or printed unexpected output.
    #[error("`{program}` failed: {reason}\nhint: check that `rustc -vV` works in a terminal")]
    Failed {
        /// The program.
        program: PathBuf,
        /// The reason.
        reason: String,
    },
}

impl Toolchain {
    /// Finds the compiler.
    pub fn find() -> Result<Self, ToolchainError> {
        let rustc = tool("rustc")?;
        let cargo = tool("cargo")?;
        let version = output(&rustc, &["-vV"])?;
        let printed = output(&rustc, &["--print", "sysroot", "--print", "target-libdir"])?;
        let failed = |reason: &str| ToolchainError::Failed {
            program: rustc.clone(),
            reason: reason.to_owned(),
        };
        let host = version
            .lines()
            .find_map(|line| line.strip_prefix("host: "))
            .ok_or_else(|| failed("it does not say for which machine it compiles"))?
            .to_owned();
        let mut folders = printed.lines().map(PathBuf::from);
        let (Some(sysroot), Some(libdir)) = (folders.next(), folders.next()) else {
            return Err(failed("it does not say where its libraries are"));
        };
        Ok(Self {
            rustc,
            cargo,
            version,
            host,
            sysroot,
            libdir,
        })
    }

    /// Returns the version in one line, as printed by `rustc --version`.
    pub fn short_version(&self) -> &str {
        self.version.lines().next().unwrap_or_default()
    }

    /// Returns the version and the target triple in one line; compilers that differ here cannot
    /// read each other's libraries.
    pub fn label(&self) -> String {
        format!("{} {}", self.short_version(), self.host)
    }
}

/// Returns the path of a tool of the active toolchain.
fn tool(name: &'static str) -> Result<PathBuf, ToolchainError> {
    let by_rustup = output(Path::new("rustup"), &["which", name]).ok();
    by_rustup
        .map(|path| PathBuf::from(path.trim()))
        .or_else(|| on_path(name))
        .ok_or(ToolchainError::NotFound(name))
}

fn on_path(name: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?)
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
}

fn output(program: &Path, arguments: &[&str]) -> Result<String, ToolchainError> {
    let failed = |reason: String| ToolchainError::Failed {
        program: program.to_owned(),
        reason,
    };
    let output = Command::new(program)
        .args(arguments)
        .output()
        .map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(failed(
            said.lines().next().unwrap_or("it says nothing").to_owned(),
        ));
    }
    String::from_utf8(output.stdout).map_err(|error| failed(error.to_string()))
}
