//! The binary: a Jupyter kernel for Rust and the commands that install it.

use std::process::ExitCode;

fn main() -> ExitCode {
    // The same binary also serves as the cell process and as the rustc wrapper. In these roles,
    // this call does not return.
    azureml_kernel_evaluator::child_hook();
    azureml_kernel::cli::run()
}
