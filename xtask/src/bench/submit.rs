//! `cargo xtask bench submit`: the SDK against the official client, both with the same local
//! workspace.
//!
//! `xtask/python/bench_submit.py` measures each client from outside, with a new local workspace and
//! new files each time. No file is deleted before the end: for some minutes after deletions, ext4
//! avoids the inode numbers of deleted files, and after some thousands of deletions this search
//! dominates the measured time.

use super::runs::Runs;
use super::table::{Competitor, Definition, Goal, Samples};
use crate::build;
use crate::error::Result;
use crate::lab;
use crate::python;
use crate::report::Report;
use crate::{place, process, remove};
use clap::Args;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// The peer.
const PEER: &str = "azure-ai-ml 1.35.2";

/// The rows, in the order of the table.
const ROWS: [Definition; 6] = [
    Definition::new("submit", "s", Goal::OfPeer(0.2)),
    Definition::new("submit_2k_files", "s", Goal::None),
    Definition::new("submit_10k_tree", "s", Goal::OfPeer(0.1)),
    Definition::new("submit_unchanged", "s", Goal::OfPeer(0.1)),
    Definition::new("log_latency", "s", Goal::OfPeer(0.2)),
    Definition::new("memory", "MB", Goal::OfPeer(0.3)),
];

/// Options of the benchmark.
#[derive(Args)]
pub struct Options {
    /// Number of repetitions of each client
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Maximum total time to wait for other processes to be idle, in seconds
    #[arg(long, default_value_t = 120)]
    patience: u64,
}

/// Runs the command.
pub fn run(options: &Options) -> Result<ExitCode> {
    let mut runs = Runs::new(options.patience);
    let report = Report::new();
    let tools = lab::find_tools(&report)?;
    lab::provide_python(&report, python::AZURE_AI_ML, &tools)?;
    let step = report.step("build", "the local workspace, and a program that submits");
    build::submitter(&step)?;
    step.done("");

    let mut samples = Samples::default();
    for round in 0..options.rounds {
        let mut competitors = Competitor::BOTH;
        competitors.rotate_left(round as usize % 2);
        for competitor in competitors {
            let name = competitor.name();
            let step = report.step(&format!("{}/{} {name}", round + 1, options.rounds), "");
            let log = format!("bench-submit-{name}");
            let folder = folder().join(format!("{}-{round}-{name}", std::process::id()));
            for (row, value) in runs.measure(&step, &log, command(competitor, &folder))? {
                samples.add(competitor, &row, value);
            }
            step.done("");
        }
    }
    let facts = [("rounds", json!(options.rounds))];
    let rows = samples.rows(&ROWS);
    let ended = runs.end(report, "submit", PEER, facts, &rows)?;
    remove::folder(&folder(), &place::target())?;
    Ok(ended)
}

/// Returns the folder of the runs' files.
fn folder() -> PathBuf {
    place::target().join("bench/submit")
}

/// Returns the command of a measured run.
fn command(competitor: Competitor, folder: &Path) -> Command {
    let scripts = place::root().join("xtask/python");
    let python = python::AZURE_AI_ML.program("python");
    let mut command = process::command(&python);
    command
        .arg(scripts.join("bench_submit.py"))
        .arg(folder)
        .arg(place::program("azureml-local"))
        .arg(place::lab().join("script"))
        .arg(competitor.name())
        .env("PYTHONUNBUFFERED", "1");
    match competitor {
        Competitor::Ours => command.arg(place::program("examples/submit")),
        Competitor::Peer => command
            .arg(&python)
            .arg(scripts.join("bench_submit_peer.py")),
    };
    command
}
