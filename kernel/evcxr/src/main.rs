//! The binary: the kernel with `evcxr` as its engine, and the code intelligence process of the kernel.

use std::process::ExitCode;

use azureml_kernel::cli::{self, Engine};

fn main() -> ExitCode {
    azureml_kernel_evcxr::child_hook();
    cli::run(Engine {
        name: "evcxr",
        start: azureml_kernel_evcxr::start,
    })
}
