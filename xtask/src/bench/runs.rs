//! Benchmarks that consist of measured runs: each run waits for an idle machine, and the end prints
//! a table.

use super::client::Events;
use super::idle::{self, Watch};
use super::machine;
use super::table::{self, Row};
use crate::error::Result;
use crate::place;
use crate::process;
use crate::report::{Report, Step, seconds};
use serde_json::Value;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

/// The measured runs.
pub struct Runs {
    started: Instant,
    /// Remaining time to wait for other processes.
    patience: Duration,
    /// Maximum number of processors that other processes kept busy.
    busiest: f64,
}

impl Runs {
    /// Starts without runs; waits at most `patience` seconds in total for other processes to be
    /// idle.
    pub fn new(patience: u64) -> Self {
        Self {
            started: Instant::now(),
            patience: Duration::from_secs(patience),
            busiest: 0.0,
        }
    }

    /// Runs a measuring program when other processes are idle; returns its samples. `log` is the
    /// name of its log file.
    pub fn measure(
        &mut self,
        step: &Step,
        log: &str,
        program: Command,
    ) -> Result<Vec<(String, f64)>> {
        let before = idle::wait(step, &mut self.patience)?;
        let watch = Watch::start()?;
        let events = follow(step, log, program)?;
        let during = watch.others(events.own)?;
        self.busiest = self.busiest.max(before).max(during);
        Ok(events.samples)
    }

    /// Writes the rows to `target/bench/{name}.json` and prints them, with a note on their
    /// reliability.
    pub fn end<const N: usize>(
        self,
        report: Report,
        name: &str,
        peer: &str,
        facts: [(&str, Value); N],
        rows: &[Row],
    ) -> Result<ExitCode> {
        let path = place::target().join(format!("bench/{name}.json"));
        let mut machine = machine::facts(self.busiest, facts);
        machine.insert("peer".to_owned(), peer.into());
        table::write(&path, &machine, rows)?;
        drop(report);
        println!("\n{}", table::text(rows, peer));
        let busiest = self.busiest;
        if busiest >= idle::ALLOWED {
            println!(
                "the machine was not idle: others kept {busiest:.1} processors busy, so these numbers are worth little"
            );
        }
        println!(
            "the rows are in {}; everything took {}",
            place::shown(&path),
            seconds(self.started.elapsed())
        );
        Ok(ExitCode::SUCCESS)
    }
}

/// Runs a measuring program that reports its progress.
pub fn follow(step: &Step, log: &str, program: Command) -> Result<Events> {
    let mut events = Events::default();
    process::follow(step.running(), log, program, |line| {
        events.read(step, line);
    })?;
    Ok(events)
}
