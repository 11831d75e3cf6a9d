//! The binary: a Jupyter kernel for Rust, and the commands that install it.

use std::process::ExitCode;

fn main() -> ExitCode {
    // The same binary is the process that runs cells and the wrapper around rustc; as one of these it does not return.
    azureml_kernel_evaluator::child_hook();
    azureml_kernel::cli::run()
}
