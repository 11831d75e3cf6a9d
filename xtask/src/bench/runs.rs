//! A benchmark that is a list of measured runs: each on a machine that does nothing else, and at the end their table.

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

/// The runs so far.
pub struct Runs {
    started: Instant,
    /// How long may still be waited for other processes.
    patience: Duration,
    /// How many processors others kept busy at most.
    busiest: f64,
}

impl Runs {
    /// None yet; up to `patience` seconds, in all, may be waited for other processes to be idle.
    pub fn new(patience: u64) -> Self {
        Self {
            started: Instant::now(),
            patience: Duration::from_secs(patience),
            busiest: 0.0,
        }
    }

    /// Runs a program that measures, when others are idle; gives its samples. `log` names the file of what it says.
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

    /// Writes the rows to `target/bench/{name}.json`, and prints them, with a word on how far to trust them.
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

/// Runs a program that says what it does and measures.
pub fn follow(step: &Step, log: &str, program: Command) -> Result<Events> {
    let mut events = Events::default();
    process::follow(step.running(), log, program, |line| {
        events.read(step, line);
    })?;
    Ok(events)
}
