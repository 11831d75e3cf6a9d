//! `cargo xtask bench studio`: the local workspace's pages against MLflow's server and its UI.
//!
//! Both get the same runs, metrics and points. They are then started in turn, and
//! `xtask/python/bench_studio.py` requests their pages like a browser.

use super::runs::{Runs, follow};
use super::table::{Competitor, Definition, Goal, Samples};
use crate::error::Result;
use crate::lab;
use crate::python;
use crate::report::Report;
use crate::{place, process, remove};
use clap::Args;
use serde_json::json;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

/// The peer.
const PEER: &str = "MLflow 3.17's server";

/// Number of values of each of the 100 metrics of the large run.
const POINTS: u32 = 100_000;

/// The rows, in the order of the table. By default, a row measures the time until the page is
/// complete.
const ROWS: [Definition; 10] = [
    Definition::new("jobs_10k", "s", Goal::OfPeer(0.3)),
    Definition::new("jobs_10k_first_byte", "s", Goal::OfPeer(0.3)),
    Definition::new("jobs_10k_sent", "kB", Goal::OfPeer(0.3)),
    Definition::new("job_10m_points", "s", Goal::OfPeer(0.3)),
    Definition::new("job_10m_points_first_byte", "s", Goal::OfPeer(0.3)),
    Definition::new("job_10m_points_sent", "kB", Goal::OfPeer(0.3)),
    Definition::new("watchers_50", "s", Goal::OfPeer(0.3)),
    Definition::new("watchers_50_sent", "kB", Goal::OfPeer(0.3)),
    Definition::new("watchers_50_busy", "s", Goal::OfPeer(0.3)),
    Definition::new("memory", "MB", Goal::OfPeer(0.3)),
];

/// Options of the benchmark.
#[derive(Args)]
pub struct Options {
    /// Number of starts and measurements of each of the two
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Number of values of each of the 100 metrics of the large run
    #[arg(long, default_value_t = POINTS, value_parser = clap::value_parser!(u32).range(1000..=i64::from(POINTS)))]
    points: u32,
    /// Maximum total time to wait for other processes to be idle, in seconds
    #[arg(long, default_value_t = 120)]
    patience: u64,
}

/// Runs the command.
pub fn run(options: &Options) -> Result<ExitCode> {
    let mut runs = Runs::new(options.patience);
    let report = Report::new();
    let tools = lab::find_tools(&report)?;
    lab::provide_environment(&report, python::MLFLOW_SERVER, &tools)?;
    lab::build_kernel(&report)?;

    for competitor in Competitor::BOTH {
        let name = competitor.name();
        let step = report.step(&format!("data of {name}"), "the same for both");
        let points = options.points.to_string();
        let log = format!("bench-studio-fill-{name}");
        follow(&step, &log, client("fill", competitor, Some(&points)))?;
        step.done("");
    }

    let mut samples = Samples::default();
    let plan = plan(options.rounds);
    for (number, competitor) in plan.iter().enumerate() {
        let name = competitor.name();
        let step = report.step(
            &format!("{}/{} pages of {name}", number + 1, plan.len()),
            "",
        );
        let log = format!("bench-studio-measure-{name}");
        let client = client("measure", *competitor, None);
        for (sample, value) in runs.measure(&step, &log, client)? {
            samples.add(*competitor, &sample, value);
        }
        step.done("");
    }
    // Removes some gigabytes.
    let folder = folder();
    remove::folder(&folder, &place::target())?;

    let facts = [
        ("rounds", json!(options.rounds)),
        ("points", json!(options.points)),
    ];
    runs.end(report, "studio", PEER, facts, &samples.rows(&ROWS))
}

/// Returns the order of the competitors, which alternates, because the second one finds more files
/// in the page cache.
fn plan(rounds: u32) -> Vec<Competitor> {
    let in_round = |round: u32| {
        let mut pair = Competitor::BOTH;
        if round % 2 == 1 {
            pair.reverse();
        }
        pair
    };
    (0..rounds).flat_map(in_round).collect()
}

/// Returns the folder with the data of both competitors.
fn folder() -> PathBuf {
    place::target().join("bench/studio")
}

/// Returns the command of the client for one competitor.
fn client(what: &str, competitor: Competitor, points: Option<&str>) -> Command {
    let mut client = process::command(python::MLFLOW_SERVER.program("python"));
    client
        .arg(place::root().join("xtask/python/bench_studio.py"))
        .args([what, competitor.name()])
        .arg(folder())
        .args(points)
        .env("PYTHONUNBUFFERED", "1");
    if competitor == Competitor::Ours {
        client.arg(place::program("azureml-local"));
    }
    client
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_take_turns() {
        let plan: Vec<&str> = plan(3).into_iter().map(Competitor::name).collect();
        assert_eq!(plan, ["ours", "peer", "peer", "ours", "ours", "peer"]);
    }
}
