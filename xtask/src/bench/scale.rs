//! `cargo xtask bench scale`: scaling of the training program from one process to several.
//!
//! On the CPU, each process uses one thread, so that as many processes as processors use all of
//! them. On GPUs, each process has a separate one.

use super::runs::Runs;
use super::table::{Competitor, Definition, Goal, Samples};
use super::train::{self, Programs};
use crate::error::Result;
use crate::python;
use crate::report::Report;
use clap::Args;
use serde_json::json;
use std::path::Path;
use std::process::{Command, ExitCode};

/// The rows with their batch sizes; all processes share a batch.
const ROWS: [(&str, u32); 2] = [("images_per_s_64", 64), ("images_per_s_256", 256)];

/// Options of the benchmark.
#[derive(Args)]
pub struct Options {
    /// Number of processes that share each batch
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(2..))]
    processes: u32,
    /// Number of trainings of each
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Number of MNIST's training images, which are used in two epochs
    #[arg(long, default_value_t = 12_000, value_parser = clap::value_parser!(u32).range(1000..=60_000))]
    images: u32,
    /// Train on GPUs; each process needs a separate one
    #[arg(long)]
    gpu: bool,
    #[command(flatten)]
    programs: Programs,
    /// Maximum total time to wait for other processes to be idle, in seconds
    #[arg(long, default_value_t = 120)]
    patience: u64,
}

/// Runs the command.
pub fn run(options: &Options) -> Result<ExitCode> {
    let mut runs = Runs::new(options.patience);
    let report = Report::new();
    let (python, program) = options.programs.find(&report, python::MPI)?;
    train::cut_data(&report, &python, options.images)?;

    let mut samples = Samples::default();
    let runs_of_all = options.rounds as usize * ROWS.len() * 2;
    let mut number = 0;
    for _ in 0..options.rounds {
        for (row, batch) in ROWS {
            for (who, processes) in [(Competitor::Peer, 1), (Competitor::Ours, options.processes)] {
                number += 1;
                let what = format!("{number}/{runs_of_all} {processes} × {batch}");
                let step = report.step(&what, "");
                let command = command(options, &python, &program, processes, batch);
                for (sample, value) in runs.measure(&step, "bench-scale", command)? {
                    if sample == "images_per_s" {
                        samples.add(who, row, value);
                    }
                }
                step.done("");
            }
        }
    }
    let rows = samples.rows(&ROWS.map(|(row, _)| Definition::new(row, "/s", Goal::None)));
    let name = if options.gpu { "scale_gpu" } else { "scale" };
    let facts = [
        ("gpu", json!(options.gpu.then(train::gpu))),
        ("processes", json!(options.processes)),
        ("rounds", json!(options.rounds)),
        ("images", json!(options.images)),
    ];
    runs.end(report, name, "one process", facts, &rows)
}

/// Returns the command of a measured run.
fn command(
    options: &Options,
    python: &Path,
    program: &Path,
    processes: u32,
    batch: u32,
) -> Command {
    let mut command = train::measuring(python);
    command
        .arg(python.with_file_name("mpirun"))
        .args(["--oversubscribe", "--bind-to", "none"])
        .args(["-n", &processes.to_string()])
        .arg(program)
        .args(["--epochs", "2", "--batch-size", &batch.to_string()])
        .args(["--save-model=false", "--data"])
        .arg(train::data());
    if !options.gpu {
        command.arg("--no-cuda").env("OMP_NUM_THREADS", "1");
    }
    command
        .current_dir(train::folder())
        // In containers, the user is often root.
        .env("OMPI_ALLOW_RUN_AS_ROOT", "1")
        .env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
    command
}
