//! The SDK's side of `cargo xtask bench submit`. `xtask/python/bench_submit_peer.py` does the same
//! with the official client.
//!
//! `submit ROW=FOLDER…` submits each folder as the code of a job, in this order. For each, it
//! prints the time until the job was accepted. The next submission begins when the job has ended.
//! The row `log` streams the log of its job to standard output instead.

use azureml::prelude::*;
use serde_json::json;
use std::time::Instant;

fn main() -> azureml::Result<()> {
    let ws = Workspace::from_config()?;
    let experiment = Experiment::new(&ws, "bench");
    for argument in std::env::args().skip(1) {
        let (row, folder) = argument.split_once('=').unwrap_or(("log", &argument));
        let command = if row == "log" {
            "python3 clock.py"
        } else {
            "true"
        };
        let config = ScriptRunConfig::new(folder)
            .command(command)
            .environment("rust-tch-gpu:1")
            .compute_target("cpu-cluster");
        let begun = Instant::now();
        let run = experiment.submit(&config)?;
        if row == "log" {
            run.wait_for_completion(true)?;
        } else {
            let seconds = begun.elapsed().as_secs_f64();
            println!("{}", json!({"sample": row, "value": seconds}));
            run.wait_for_completion(false)?;
        }
    }
    Ok(())
}
