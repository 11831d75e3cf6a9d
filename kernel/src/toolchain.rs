//! Detection of this machine's Rust toolchain, with hints for missing parts.

use std::ffi::OsString;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use azureml_kernel_evaluator::rust_src::{self, RustSrc};
use azureml_kernel_evaluator::toolchain::Toolchain;

use crate::env;

/// The hint for installing Rust.
pub const RUST_HINT: &str =
    "install Rust from https://rustup.rs and restart Jupyter, so that it sees the new PATH";

/// Returns the hint for installing the sources of the standard library.
pub fn rust_src_hint() -> &'static str {
    rust_src::HINT.trim_start_matches("hint: ")
}

/// The hint for installing a linker.
pub const LINKER_HINT: &str = "install a C compiler: `apt install build-essential`, `dnf install gcc`, or `xcode-select --install` on macOS";

/// Returns the first executable file with this name on PATH.
pub fn find(program: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?)
        .map(|folder| folder.join(program))
        .find(|path| is_executable(path))
}

/// Whether a file exists and is executable.
pub fn is_executable(path: &Path) -> bool {
    std::fs::metadata(path)
        .is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

/// Returns the output of `program --version` as one line; `None` when it cannot be run.
pub fn version_line(program: &str) -> Option<String> {
    let output = Command::new(program)
        .arg("--version")
        .stdin(Stdio::null())
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().next().map(|line| line.trim().to_owned())
}

/// Returns the version of the Rust toolchain that compiles cells, such as `1.95.0`.
pub fn rust_version() -> Option<String> {
    let toolchain = Toolchain::find().ok()?;
    let version = toolchain.short_version().split(' ').nth(1)?;
    Some(version.to_owned())
}

/// Returns the folder of the standard library's sources. Completion, documentation and the types of
/// variables (in `evcxr`) need them.
pub fn rust_src() -> Option<PathBuf> {
    let toolchain = Toolchain::find().ok()?;
    RustSrc::find(&toolchain).path().map(Path::to_owned)
}

/// Links an empty library, as each cell does. The error is the compiler's output.
pub fn try_linking() -> Result<(), String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let mut compiler = Command::new("rustc")
        .args([
            "--crate-name",
            "probe",
            "--crate-type",
            "cdylib",
            "-Cprefer-dynamic",
            "-",
        ])
        .arg("--out-dir")
        .arg(folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| error.to_string())?;
    if let Some(mut stdin) = compiler.stdin.take() {
        stdin
            .write_all(b"#[unsafe(no_mangle)] pub extern \"C\" fn probe() {}")
            .map_err(|error| error.to_string())?;
    }
    let output = compiler
        .wait_with_output()
        .map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let line = text.lines().find(|line| line.starts_with("error"));
    Err(line.unwrap_or("rustc failed").to_owned())
}

/// Returns PATH with the folder of cargo and rustc appended; `None` when both are already on PATH
/// or cannot be found.
///
/// Jupyter is often started without the shell's profile, which adds that folder to PATH.
pub fn completed_path() -> Option<OsString> {
    if find("cargo").is_some() && find("rustc").is_some() {
        return None;
    }
    let folder = env::folder(env::CARGO_HOME)
        .or_else(|| env::home().map(|home| home.join(".cargo")))?
        .join("bin");
    if !is_executable(&folder.join("cargo")) {
        return None;
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([folder]);
    std::env::join_paths(folders).ok()
}
