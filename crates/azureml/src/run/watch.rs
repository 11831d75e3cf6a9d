//! Prints the changes of a sweep's trials during a wait.

use super::trials::Trials;
use crate::asynchronous::Run;
use crate::show;
use azureml_wire::job::JobStatus;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The polling interval of metrics.
pub(super) fn pause(run: &Run) -> Duration {
    Duration::from_secs(if run.workspace().is_local() { 1 } else { 10 })
}

/// The state of the trials of a sweep, and the part of it that was printed.
pub struct Watched {
    pub latest: Trials,
    /// The last printed status of each trial.
    said: BTreeMap<String, JobStatus>,
    /// Whether the latest state has not been displayed yet.
    pub changed: bool,
    /// The time of the last request for the metrics of running trials.
    asked: Instant,
    pause: Duration,
}

impl Watched {
    pub fn new(run: &Run) -> Option<Self> {
        Some(Self {
            latest: run.no_trials().ok()?,
            said: BTreeMap::new(),
            changed: false,
            asked: Instant::now(),
            pause: pause(run),
        })
    }

    /// Polls the trials; returns a line for each that has started or ended since the last poll.
    pub async fn update(&mut self, run: &Run, ended: bool) -> Vec<String> {
        let all = ended || self.asked.elapsed() > self.pause;
        // The trials are optional output: the wait goes on without them.
        let Ok(trials) = run.trials_since(&self.latest, all).await else {
            return Vec::new();
        };
        if all {
            self.asked = Instant::now();
        }
        self.changed |= trials != self.latest;
        self.latest = trials;
        let metric = self.latest.primary_metric();
        let mut lines = Vec::new();
        for trial in &self.latest {
            let status = trial.status;
            let is_news = status == JobStatus::Running || status.is_terminal();
            if !is_news || self.said.get(&trial.id) == Some(&status) {
                continue;
            }
            let number = trial.id.strip_prefix(run.id()).unwrap_or(&trial.id);
            let mut line = format!(
                "Trial {:<3} {status:<11} {}",
                number.trim_start_matches('_'),
                trial.label()
            );
            if let Some(best) = trial.best.filter(|_| status.is_terminal()) {
                line += &["  ", metric, " ", &show::number(best)].concat();
            }
            lines.push(line + "\n");
            self.said.insert(trial.id.clone(), status);
        }
        lines
    }
}
