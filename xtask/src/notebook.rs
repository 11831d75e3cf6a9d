//! Runs a notebook through Jupyter's own client and parses its output.
//!
//! `xtask/python/execute.py` is the client; it reports events as one JSON object per line.

use crate::error::{Error, Result};
use crate::place;
use crate::process::{self, plain};
use crate::python::Environment;
use crate::report::{Report, Step};
use azureml_wire::job::JobStatus;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The step before the first cell.
pub const START: &str = "start of the kernel";

/// The result of an executed notebook.
#[derive(Default)]
pub struct Executed {
    /// Path of the notebook with its outputs.
    pub path: PathBuf,
    /// Start time of the kernel.
    pub start: Duration,
    /// The code cells.
    pub cells: Vec<Cell>,
    /// The runs that the notebook followed, in order.
    pub runs: Vec<Run>,
}

/// An executed code cell.
pub struct Cell {
    /// The heading above it.
    pub section: String,
    /// The first line of its code.
    pub code: String,
    /// The duration of its execution.
    pub took: Duration,
}

/// The output of the notebook about a run.
#[derive(Debug, Default, PartialEq)]
pub struct Run {
    /// The run id.
    pub id: String,
    /// The statuses in order.
    pub statuses: Vec<String>,
    /// The duration of each status, as text.
    pub phases: String,
    /// Accuracy in percent after each epoch.
    pub accuracies: Vec<f64>,
}

/// Executes a notebook in its folder; the notebook file is not changed.
pub fn execute(
    report: &Report,
    environment: Environment,
    notebook: &Path,
    rust_src: Option<&Path>,
) -> Result<Executed> {
    let name = notebook.file_name().unwrap_or_default();
    let mut executed = Executed {
        path: place::root().join("target/lab").join(name),
        ..Executed::default()
    };
    let mut python = process::command(environment.program("python"));
    python
        .arg(place::root().join("xtask/python/execute.py"))
        .arg(notebook)
        .arg(&executed.path)
        .arg(place::root())
        .env("PYTHONUNBUFFERED", "1")
        .envs(rust_src.map(|library| ("RUST_SRC_PATH", library)));
    let mut follower = Follower {
        report,
        step: Some(report.step(START, "")),
        executed: &mut executed,
        rest: String::new(),
        failed: false,
    };
    let ended = process::follow(report.running(), "notebook", python, |line| {
        follower.event(line);
    });
    let failed = follower.failed;
    match ended {
        Ok(()) => Ok(executed),
        Err(Error::Failed { .. }) if failed => Err(Error::Notebook {
            notebook: name.to_string_lossy().into_owned(),
            executed: executed.path,
        }),
        Err(error) => Err(error),
    }
}

struct Follower<'a> {
    report: &'a Report,
    step: Option<Step>,
    executed: &'a mut Executed,
    /// The beginning of an incomplete line.
    rest: String,
    failed: bool,
}

impl Follower<'_> {
    fn event(&mut self, line: &str) {
        let Ok(event) = serde_json::from_str::<Value>(line) else {
            // Warnings of Python, which are logged and shown on failure.
            return;
        };
        let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
        let took = Duration::from_secs_f64(event["seconds"].as_f64().unwrap_or_default().max(0.0));
        match event["event"].as_str() {
            Some("ready") => {
                self.executed.start = took;
                self.end();
            }
            Some("cell") => {
                let title = format!("cell {}/{}", event["number"], event["of"]);
                self.executed.cells.push(Cell {
                    section: text("section"),
                    code: text("code"),
                    took: Duration::ZERO,
                });
                self.step = Some(self.report.step_now(&title, &text("code")));
            }
            Some("text") => self.text(&text("text")),
            Some("status") => {
                if let Some(step) = &self.step {
                    step.status(text("text").lines().last().unwrap_or_default());
                }
            }
            Some("done") => {
                if let Some(cell) = self.executed.cells.last_mut() {
                    cell.took = took;
                }
                self.end();
            }
            Some("error") => {
                self.failed = true;
                self.text(&text("text"));
                self.step = None;
            }
            _ => {}
        }
    }

    fn text(&mut self, text: &str) {
        self.rest.push_str(text);
        while let Some(end) = self.rest.find('\n') {
            let line: String = self.rest.drain(..=end).collect();
            // Text before a carriage return was overwritten and is not shown.
            let shown = line.trim_end().rsplit('\r').next().unwrap_or_default();
            let shown = plain(shown);
            read(&shown, &mut self.executed.runs);
            if let Some(step) = &self.step {
                step.print(&format!("    {shown}"));
            }
        }
    }

    fn end(&mut self) {
        if !self.rest.is_empty() {
            self.text("\n");
        }
        if let Some(step) = self.step.take() {
            step.done("");
        }
    }
}

/// Parses a line that the notebook printed about a run.
fn read(line: &str, runs: &mut Vec<Run>) {
    let line = line.trim();
    if let Some(id) = line.strip_prefix("RunId: ") {
        // The summary at the end repeats it.
        if runs.last().is_none_or(|run| run.id != id) {
            runs.push(Run {
                id: id.to_owned(),
                ..Run::default()
            });
        }
    }
    let Some(run) = runs.last_mut() else { return };
    if let Some(accuracy) = accuracy(line) {
        run.accuracies.push(accuracy);
    } else if let Some(status) = status(line) {
        run.statuses.push(status.to_owned());
    } else if line.ends_with(" in all") && !run.statuses.is_empty() {
        line.clone_into(&mut run.phases);
    }
}

/// Parses the status, e.g. of `Running     after 2 s`.
fn status(line: &str) -> Option<&str> {
    let (word, rest) = line.split_once(' ')?;
    // All other words deserialize as `Unknown`.
    let is_status = serde_json::from_value::<JobStatus>(word.into())
        .is_ok_and(|status| status != JobStatus::Unknown);
    (is_status && rest.trim_start().starts_with("after ")).then_some(word)
}

/// Parses the accuracy in percent, e.g. of
/// `Test set: Average loss: 0.0455, Accuracy: 9853/10000 (99%)`.
fn accuracy(line: &str) -> Option<f64> {
    let (correct, rest) = line
        .strip_prefix("Test set:")?
        .split_once("Accuracy: ")?
        .1
        .split_once('/')?;
    let total = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    Some(100.0 * correct.parse::<f64>().ok()? / total.parse::<f64>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_run_printed_is_understood() {
        let mut runs = Vec::new();
        let printed = "
            RunId: train-model_1
            Web View: http://127.0.0.1:1/runs/train-model_1

            Queued      after 0 s
            Running     after 1 s

            Streaming user_logs/std_log.txt
            ===============================

            Saved after 3 tries
            Train Epoch: 1 [0/60000 (0%)]\tLoss: 2.3
            Test set: Average loss: 0.0455, Accuracy: 9846/10000 (98%)
            Completed   after 50 s

            Execution Summary
            =================
            RunId: train-model_1
            Queued 1 s, Running 49 s, 50 s in all
            RunId: read-digits_2
            Queued      after 0 s";
        for line in printed.lines() {
            read(line, &mut runs);
        }
        let expected = Run {
            id: "train-model_1".to_owned(),
            statuses: ["Queued", "Running", "Completed"]
                .map(str::to_owned)
                .to_vec(),
            phases: "Queued 1 s, Running 49 s, 50 s in all".to_owned(),
            accuracies: vec![98.46],
        };
        assert_eq!(runs.len(), 2);
        assert_eq!(runs[0], expected);
    }
}
