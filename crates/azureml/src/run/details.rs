//! The status of a run with its history.

use crate::duration;
use crate::show::{Card, Cell};
use azureml_wire::Bag;
use azureml_wire::job::JobStatus;
use azureml_wire::run_history::{self, STATUS_HISTORY, StatusChange};
use chrono::{DateTime, Utc};
use std::time::Duration;

/// The status of a run with its history.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RunDetails {
    /// The id of the run.
    pub id: String,
    /// The status.
    pub status: JobStatus,
    /// The compute target.
    pub target: Option<String>,
    /// The start time of the command.
    pub start_time: Option<DateTime<Utc>>,
    /// The end time.
    pub end_time: Option<DateTime<Utc>>,
    /// The error, if the run failed.
    pub error: Option<String>,
    /// The warnings of the service.
    pub warnings: Vec<String>,
    /// The names of the logs.
    pub log_files: Vec<String>,
    /// The properties.
    pub properties: Bag,
    /// The statuses in order, if the service reports them.
    pub status_history: Vec<StatusChange>,
}

impl From<&run_history::RunDetails> for RunDetails {
    fn from(details: &run_history::RunDetails) -> Self {
        let mut properties = details.properties.clone();
        let history = properties.remove(STATUS_HISTORY);
        Self {
            id: details.run_id.clone(),
            status: details.status,
            target: details.target.clone(),
            start_time: details.start_time_utc,
            end_time: details.end_time_utc,
            error: details
                .error
                .as_ref()
                .map(|error| error.error.message.clone()),
            warnings: details
                .warnings
                .iter()
                .map(|warning| warning.message.clone())
                .collect(),
            log_files: details.log_files.keys().cloned().collect(),
            properties,
            status_history: history
                .and_then(|history| serde_json::from_str(&history).ok())
                .unwrap_or_default(),
        }
    }
}

impl RunDetails {
    /// The time in each past status, in order. The current status is not included.
    pub fn phases(&self) -> Vec<(JobStatus, Duration)> {
        phases(&self.status_history)
    }
}

/// The time in each status except the last one.
pub fn phases(history: &[StatusChange]) -> Vec<(JobStatus, Duration)> {
    history
        .windows(2)
        .map(|pair| {
            let spent = (pair[1].time - pair[0].time).to_std().unwrap_or_default();
            (pair[0].status, spent)
        })
        .collect()
}

/// A summary such as `Queued 1 s, Running 7 s, 8 s in all`.
pub fn summary(history: &[StatusChange]) -> Option<String> {
    let phases = phases(history);
    if phases.is_empty() {
        return None;
    }
    let total: Duration = phases.iter().map(|(_, spent)| *spent).sum();
    let parts: Vec<String> = phases
        .iter()
        .map(|(status, spent)| format!("{status} {}", duration::short(rounded(*spent))))
        .collect();
    Some(format!(
        "{}, {} in all",
        parts.join(", "),
        duration::short(rounded(total))
    ))
}

/// Rounds to whole seconds.
pub fn rounded(duration: Duration) -> Duration {
    Duration::from_secs((duration.as_millis() as u64 + 500) / 1000)
}

impl notebook::Display for RunDetails {
    fn mime_bundle(&self) -> notebook::MimeBundle {
        let time = |time: Option<DateTime<Utc>>| {
            time.map(|time| time.format("%Y-%m-%d %H:%M:%S UTC").to_string())
        };
        let mut card = Card::new("Run", &self.id)
            .row("Status", Cell::Status(self.status))
            .optional("Compute", self.target.as_deref())
            .optional("Started", time(self.start_time))
            .optional("Ended", time(self.end_time))
            .optional("Phases", summary(&self.status_history))
            .optional("Error", self.error.as_deref());
        for warning in &self.warnings {
            card = card.row("Warning", Cell::text(warning));
        }
        card.mime_bundle()
    }
}

notebook::evcxr_display!(RunDetails);
