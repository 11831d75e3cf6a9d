//! The engine that compiles and runs cells, one per binary.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use azureml_kernel_evaluator::code_intelligence::PROGRAM;
use azureml_kernel_evaluator::{Evaluator, Options, StartError};

use crate::env;

/// The engine of a binary.
#[derive(Debug, Clone, Copy)]
pub struct Engine {
    /// The value of [`env::ENGINE`] that selects it.
    pub name: &'static str,
    /// Starts it.
    pub start: fn(Options) -> Result<Box<dyn Evaluator>, StartError>,
}

impl Engine {
    /// Replaces this process with the binary of the engine that the user has selected, if that is
    /// not this one. Returns the error if that binary cannot be started.
    pub(super) fn exec_selected(self, running: &Path) -> Option<String> {
        let selected = std::env::var(env::ENGINE).ok()?;
        if selected != "evcxr" || self.name == selected {
            return None;
        }
        let program = beside(running);
        let error = Command::new(&program)
            .args(std::env::args_os().skip(1))
            .exec();
        Some(format!(
            "the engine `evcxr` cannot be started: {}: {error}\nhint: build it with `cargo build --release --package {PROGRAM}`, or unset {}",
            program.display(),
            env::ENGINE,
        ))
    }
}

/// Returns the path of the binary that uses `evcxr`, for the kernel's binary.
pub(super) fn beside(kernel: &Path) -> PathBuf {
    kernel.with_file_name(PROGRAM)
}
