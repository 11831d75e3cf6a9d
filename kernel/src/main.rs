//! The binary: a Jupyter kernel for Rust and the commands that install it.

use std::process::ExitCode;

use azureml_kernel::cli::{self, Engine};

fn main() -> ExitCode {
    // The same binary also serves as the cell process and as the rustc wrapper. In these roles,
    // this call does not return.
    azureml_kernel_evaluator::child_hook();
    cli::run(Engine {
        name: "rustc",
        start: azureml_kernel_evaluator::start,
    })
}
