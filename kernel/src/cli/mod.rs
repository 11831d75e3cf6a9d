//! The commands of the binary.
//!
//! Results go to standard output, progress and errors to standard error.

mod doctor;
mod engine;
mod helpers;
mod install;
mod serve;
mod trial;
mod uninstall;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::kernelspec::locations::Location;

pub use engine::Engine;

/// A Jupyter kernel for Rust.
#[derive(Debug, Parser)]
#[command(name = "azureml-kernel", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve one notebook; started by Jupyter
    Serve {
        /// Jupyter's connection file
        #[arg(long, value_name = "FILE")]
        connection_file: PathBuf,
    },
    /// Install the kernelspec, and prebuild the crates that cells can use without `:dep`
    Install {
        #[command(flatten)]
        place: Place,
        /// An additional crate to prebuild for use without `:dep`; can be repeated
        #[arg(long = "crate", value_name = "DIR")]
        crates: Vec<PathBuf>,
        /// Prebuild no crates; the first cell takes longer instead
        #[arg(long, conflicts_with = "crates")]
        no_crates: bool,
        /// Only add `azureml-kernel-evcxr`, which completes code, to the installed kernel
        #[arg(long, conflicts_with_all = ["crates", "no_crates"])]
        only_evcxr: bool,
    },
    /// Remove the files that `install` has written
    Uninstall {
        #[command(flatten)]
        place: Place,
    },
    /// Check the prerequisites of the kernel, with hints for missing ones
    Doctor,
}

/// The location of the kernelspec.
#[derive(Debug, Args)]
#[group(multiple = false)]
struct Place {
    /// For the user, in every Python environment (the default)
    #[arg(long)]
    user: bool,
    /// In the active Python environment
    #[arg(long)]
    sys_prefix: bool,
    /// Below a folder, in share/jupyter/kernels
    #[arg(long, value_name = "DIR")]
    prefix: Option<PathBuf>,
}

impl Place {
    fn location(self) -> Location {
        match self.prefix {
            Some(prefix) => Location::Prefix(prefix),
            None if self.sys_prefix => Location::SysPrefix,
            None => Location::User,
        }
    }
}

/// The error of a command: the message and, on the next line, the hint.
type Failure = Box<dyn std::error::Error>;

/// Runs the command given by the process's arguments, with the engine of this binary.
pub fn run(engine: Engine) -> ExitCode {
    let done = match Cli::parse().command {
        Command::Serve { connection_file } => serve::run(engine, &connection_file),
        Command::Install {
            place,
            crates,
            no_crates,
            only_evcxr: false,
        } => install::run(engine, &place.location(), &crates, no_crates),
        Command::Install { place, .. } => install::add_evcxr(&place.location()),
        Command::Uninstall { place } => uninstall::run(&place.location()),
        Command::Doctor => Ok(doctor::run(engine)),
    };
    done.unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::FAILURE
    })
}
