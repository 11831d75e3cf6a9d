//! The environment variables that the kernel reads, and the folders that follow from them.

use std::path::PathBuf;

/// The log filter, in the syntax of `tracing_subscriber::EnvFilter`; when unset, `info` for the
/// kernel's own crates.
pub const LOG: &str = "AZUREML_KERNEL_LOG";

/// The engine that compiles and runs cells: `rustc` (the default) or `evcxr`.
pub const ENGINE: &str = azureml_kernel_evaluator::engine::env::ENGINE;

/// Set by Jupyter: the process whose end also ends the kernel.
pub const PARENT_PID: &str = "JPY_PARENT_PID";

/// The folder for state (logs, history); `~/.local/state` when unset.
pub const XDG_STATE_HOME: &str = "XDG_STATE_HOME";

/// The folder for the user's data; `~/.local/share` when unset.
pub const XDG_DATA_HOME: &str = "XDG_DATA_HOME";

/// The folder of Jupyter's user data, if it is not the default.
pub const JUPYTER_DATA_DIR: &str = "JUPYTER_DATA_DIR";

/// Additional folders that Jupyter searches for kernels.
pub const JUPYTER_PATH: &str = "JUPYTER_PATH";

/// The active virtual environment.
pub const VIRTUAL_ENV: &str = "VIRTUAL_ENV";

/// The active conda environment.
pub const CONDA_PREFIX: &str = "CONDA_PREFIX";

/// The sources of the standard library, if they are not part of the toolchain.
pub const RUST_SRC_PATH: &str = "RUST_SRC_PATH";

/// The toolchain that rustup's proxies run, if it is not the default one.
pub const RUSTUP_TOOLCHAIN: &str = "RUSTUP_TOOLCHAIN";

/// The folder of rustup's toolchains; `~/.rustup` when unset.
pub const RUSTUP_HOME: &str = "RUSTUP_HOME";

/// The folder of cargo and rustup; `~/.cargo` when unset.
pub const CARGO_HOME: &str = "CARGO_HOME";

/// Disables colours when set, see <https://no-color.org>.
pub const NO_COLOR: &str = "NO_COLOR";

/// The folder of prebuilt libraries; `azureml-kernel` in the user's cache when unset.
pub const CACHE: &str = azureml_kernel_helpers::env::CACHE;

/// Returns the folder in a variable; `None` when it is unset, empty or relative.
pub fn folder(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable)
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
}

/// The user's home folder.
pub fn home() -> Option<PathBuf> {
    std::env::home_dir().filter(|path| path.is_absolute())
}

/// Returns the folder of the kernel's logs and history. Without a home folder it is a temporary
/// folder for each user; the caller must check that it belongs to the user.
pub fn state_folder() -> PathBuf {
    folder(XDG_STATE_HOME)
        .or_else(|| home().map(|home| home.join(".local/state")))
        .map_or_else(
            || {
                let user = rustix::process::geteuid().as_raw();
                std::env::temp_dir().join(format!("azureml-kernel-state-{user}"))
            },
            |state| state.join("azureml-kernel"),
        )
}
