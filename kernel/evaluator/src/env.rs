//! The environment variables that this crate reads or sets.

use std::process::Command;

/// Location of the standard library's sources, for rust-analyzer.
pub const RUST_SRC_PATH: &str = "RUST_SRC_PATH";

/// The engine that compiles and runs cells: `rustc` (the default), or another one.
pub const ENGINE: &str = "AZUREML_KERNEL_ENGINE";

/// The role of this binary when the evaluator starts it, such as [`ROLE_CELL`].
pub const ROLE: &str = "AZUREML_KERNEL_ROLE";

/// The role of the cell process.
pub const ROLE_CELL: &str = "cell";

/// The kernel's socket, to which the cell process connects.
pub const LINK: &str = "AZUREML_KERNEL_LINK";

/// The tag of the kernel that started a program; see [`tag`](crate::tag).
pub(crate) const STARTED_BY: &str = "AZUREML_KERNEL_STARTED_BY";

/// The library that the cell process loads to share the standard library with the cells.
pub const CELL_RUNTIME: &str = "AZUREML_KERNEL_CELL_RUNTIME";

/// The file descriptor for display messages, for the crate `notebook`.
pub(crate) const DISPLAY_FD: &str = "NOTEBOOK_DISPLAY_FD";

/// The file descriptor of a file whose first byte is 1 while the cell is to stop, for the crate
/// `notebook`.
pub(crate) const STOP_FD: &str = "NOTEBOOK_STOP_FD";

/// The process to which [`DISPLAY_FD`] and [`STOP_FD`] apply: programs that a cell starts inherit
/// the variables but not the descriptors.
pub(crate) const DISPLAY_PID: &str = "NOTEBOOK_DISPLAY_PID";

/// The file descriptor from which the crate `notebook` reads comm messages of front ends.
pub(crate) const COMM_FD: &str = "NOTEBOOK_COMM_FD";

/// Cargo's home directory.
pub(crate) const CARGO_HOME: &str = "CARGO_HOME";

/// Jupyter: path of the notebook that the kernel was started for.
pub(crate) const SESSION_NAME: &str = "JPY_SESSION_NAME";

/// Variables that would change how cells are compiled. They are removed for builds but visible to
/// cells.
pub const BUILD_SETTINGS: &[&str] = &[
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

/// Removes the variables that would change a build.
pub(crate) fn without_build_settings(build: &mut Command) {
    for variable in BUILD_SETTINGS {
        build.env_remove(variable);
    }
}
