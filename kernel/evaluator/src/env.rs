//! The environment variables that this crate reads or sets, in one place.

use std::process::Command;

/// Where the standard library's sources are, for rust-analyzer.
pub(crate) const RUST_SRC_PATH: &str = "RUST_SRC_PATH";

/// What evaluates cells: `rustc` (default) or `evcxr`.
pub(crate) const ENGINE: &str = "AZUREML_KERNEL_ENGINE";

/// Which part this binary plays when it is started by the evaluator: [`ROLE_CELL`].
pub(crate) const ROLE: &str = "AZUREML_KERNEL_ROLE";

/// The role of the process that runs cells.
pub(crate) const ROLE_CELL: &str = "cell";

/// The socket by which the cell process reaches the kernel.
pub(crate) const LINK: &str = "AZUREML_KERNEL_LINK";

/// Says of a program which kernel has started it, and for what; see [`programs`](crate::programs).
pub(crate) const STARTED_BY: &str = "AZUREML_KERNEL_STARTED_BY";

/// The library that the cell process loads to share the standard library with the cells.
pub(crate) const CELL_RUNTIME: &str = "AZUREML_KERNEL_CELL_RUNTIME";

/// The file descriptor for display messages, for the crate `notebook`.
pub(crate) const DISPLAY_FD: &str = "NOTEBOOK_DISPLAY_FD";

/// The file descriptor of a file whose first byte is 1 when the cell is to stop, for the crate `notebook`.
pub(crate) const STOP_FD: &str = "NOTEBOOK_STOP_FD";

/// The process to which [`DISPLAY_FD`] and [`STOP_FD`] apply; what a cell starts inherits the variables but not the descriptors.
pub(crate) const DISPLAY_PID: &str = "NOTEBOOK_DISPLAY_PID";

/// The file descriptor on which the cell process hears what front ends say to comms, for the crate `notebook`.
pub(crate) const COMM_FD: &str = "NOTEBOOK_COMM_FD";

/// `evcxr`: the folder of its crate and build.
pub(crate) const EVCXR_TMPDIR: &str = "EVCXR_TMPDIR";

/// `evcxr`: the folder of the user's `init.evcxr` and `prelude.rs`.
pub(crate) const EVCXR_CONFIG_DIR: &str = "EVCXR_CONFIG_DIR";

/// `evcxr`: set in the process that runs cells.
pub(crate) const EVCXR_IS_RUNTIME: &str = "EVCXR_IS_RUNTIME";

/// `evcxr`: set when its own wrapper around the compiler is wanted (`:cache`, dynamic linking).
pub(crate) const EVCXR_WRAPS_RUSTC: &str = "EVCXR_RUSTC_WRAPPER";

/// Cargo's own folder.
pub(crate) const CARGO_HOME: &str = "CARGO_HOME";

/// Jupyter: the notebook that the kernel was started for, a path.
pub(crate) const SESSION_NAME: &str = "JPY_SESSION_NAME";

/// Variables that would change how cells are compiled, behind the evaluator's back. Builds do not see them, cells do.
pub(crate) const BUILD_SETTINGS: &[&str] = &[
    "CARGO",
    "CARGO_BUILD_INCREMENTAL",
    "CARGO_BUILD_RUSTC",
    "CARGO_BUILD_RUSTC_WORKSPACE_WRAPPER",
    "CARGO_BUILD_RUSTC_WRAPPER",
    "CARGO_BUILD_RUSTFLAGS",
    "CARGO_BUILD_TARGET",
    "CARGO_BUILD_TARGET_DIR",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_INCREMENTAL",
    "CARGO_MANIFEST_DIR",
    "CARGO_TARGET_DIR",
    "RUSTC",
    "RUSTC_BOOTSTRAP",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTC_WRAPPER",
    "RUSTDOCFLAGS",
    "RUSTFLAGS",
];

/// Hides from a build what would change it behind the evaluator's back.
pub(crate) fn without_build_settings(build: &mut Command) {
    for variable in BUILD_SETTINGS {
        build.env_remove(variable);
    }
}
