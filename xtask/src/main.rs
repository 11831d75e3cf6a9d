//! The project's automation, run as `cargo xtask …`: the lab and the tests, from a fresh checkout.
//!
//! Each command is a list of steps; a step that is already done takes milliseconds. The output of a
//! step goes to a file in `target/logs`, and the terminal shows one line per step with its
//! duration.

#[cfg(not(target_os = "linux"))]
compile_error!(
    "the labs run on Linux only\nhint: use WSL on Windows, or a container, or a compute instance of Azure ML"
);

mod apt;
mod bench;
mod build;
mod cause;
mod chromium;
mod error;
mod lab;
mod libtorch;
mod lock;
mod node;
mod notebook;
mod place;
mod process;
mod python;
mod remove;
mod report;
mod running;
mod rust_src;
mod test;
mod tools;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// The project's automation.
#[derive(Parser)]
#[command(
    bin_name = "cargo xtask",
    arg_required_else_help = true,
    disable_help_subcommand = true
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install the prerequisites of the lab and run its notebook
    Lab(lab::Options),
    /// Build everything and run all tests, Rust and end to end
    Test(test::Options),
    /// Compare this project with its usual alternatives
    Bench(bench::Options),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Lab(options) => lab::run(&options),
        Command::Test(options) => test::run(&options),
        Command::Bench(options) => bench::run(&options),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("\nerror: {error}");
            eprintln!("hint: {}", error.hint());
            ExitCode::FAILURE
        }
    }
}
