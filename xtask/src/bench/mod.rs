//! `cargo xtask bench …`: compares this project's components with their usual alternatives, both
//! measured in one run.
//!
//! Every benchmark prints a table and writes the same rows to `target/bench`.

mod client;
mod idle;
mod kernel;
mod machine;
mod runs;
mod scale;
mod studio;
mod submit;
mod table;
mod train;

use crate::error::Result;
use clap::{Args, Subcommand};
use std::process::ExitCode;

/// The benchmark to run.
#[derive(Args)]
pub struct Options {
    #[command(subcommand)]
    benchmark: Benchmark,
}

#[derive(Subcommand)]
enum Benchmark {
    /// Compare the kernel with `evcxr_jupyter`, through Jupyter's own client
    Kernel(kernel::Options),
    /// Compare the SDK with `azure-ai-ml`, the official client, with the same local workspace
    Submit(submit::Options),
    /// Compare the training program with PyTorch: the workshop's train.py, and a tuned loop
    Train(train::Options),
    /// Compare several processes of the training program with one
    Scale(scale::Options),
    /// Compare the local workspace's pages with MLflow's server and its UI
    Studio(studio::Options),
}

/// Runs the command.
pub fn run(options: &Options) -> Result<ExitCode> {
    match &options.benchmark {
        Benchmark::Kernel(options) => kernel::run(options),
        Benchmark::Submit(options) => submit::run(options),
        Benchmark::Train(options) => train::run(options),
        Benchmark::Scale(options) => scale::run(options),
        Benchmark::Studio(options) => studio::run(options),
    }
}
