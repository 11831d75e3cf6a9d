//! The environment variables that the kernel reads, and the folders that follow from them.

use std::path::PathBuf;

/// What is logged, in the syntax of `tracing_subscriber::EnvFilter`; `info` of the kernel's own parts when unset.
pub const LOG: &str = "AZUREML_KERNEL_LOG";

/// Set by Jupyter: the process without which the kernel ends.
pub const PARENT_PID: &str = "JPY_PARENT_PID";

/// Where state (logs, history) is kept; `~/.local/state` when unset.
pub const XDG_STATE_HOME: &str = "XDG_STATE_HOME";

/// Where the user's data is kept; `~/.local/share` when unset.
pub const XDG_DATA_HOME: &str = "XDG_DATA_HOME";

/// Where Jupyter keeps the user's kernels, when it is not the default.
pub const JUPYTER_DATA_DIR: &str = "JUPYTER_DATA_DIR";

/// Further folders in which Jupyter looks for kernels.
pub const JUPYTER_PATH: &str = "JUPYTER_PATH";

/// The virtual environment that is active.
pub const VIRTUAL_ENV: &str = "VIRTUAL_ENV";

/// The conda environment that is active.
pub const CONDA_PREFIX: &str = "CONDA_PREFIX";

/// The sources of the standard library, when they are not a part of the toolchain.
pub const RUST_SRC_PATH: &str = "RUST_SRC_PATH";

/// The toolchain that rustup's proxies run, when it is not the default one.
pub const RUSTUP_TOOLCHAIN: &str = "RUSTUP_TOOLCHAIN";

/// Where rustup keeps toolchains; `~/.rustup` when unset.
pub const RUSTUP_HOME: &str = "RUSTUP_HOME";

/// Where cargo and rustup live; `~/.cargo` when unset.
pub const CARGO_HOME: &str = "CARGO_HOME";

/// Turns colours off when set, see <https://no-color.org>.
pub const NO_COLOR: &str = "NO_COLOR";

/// Where libraries that are built ahead are kept; `azureml-kernel` in the user's cache when unset.
pub const CACHE: &str = azureml_kernel_helpers::env::CACHE;

/// The folder in a variable; `None` when it is unset, empty or relative.
pub fn folder(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable)
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
}

/// The user's home folder.
pub fn home() -> Option<PathBuf> {
    std::env::home_dir().filter(|path| path.is_absolute())
}

/// Where the kernel keeps its logs and its history; one temporary folder for each user when there is no
/// home. Whoever uses it checks that it is the user's own.
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
