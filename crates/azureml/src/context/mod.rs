//! The API of training programs: logs metrics, parameters, tags and files to the run of the job.

mod delivery;
mod tracking;

use crate::error::Result;
use delivery::{Delivery, Record};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};
use tracking::Tracking;

/// The run of this process, returned by [`Run::get_context`](crate::Run::get_context).
///
/// Outside a job the context is *offline*: every method can be called and has no effect, so that a
/// training program runs unchanged on a laptop.
///
/// Metrics, parameters and tags are sent in the background, immediately and in order. They never
/// stop or delay the training. While the service is unavailable they are queued (the last 100,000
/// of each kind) and sent when it is back; a warning on stderr reports a long outage.
///
/// Dropping the context, also when a panic unwinds, waits up to a minute for queued records and
/// reports on stderr how many were not sent. [`flush`](Self::flush) waits explicitly.
/// `std::process::exit` skips both.
///
/// ```no_run
/// # fn main() -> azureml::Result<()> {
/// let run = azureml::Run::get_context();
/// run.log_param("lr", 1.0);
/// for epoch in 1..=2 {
///     run.log_step("Accuracy", 98.5, epoch);
/// }
/// run.upload_file("outputs/labels.txt", "labels.txt")?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct RunContext {
    job: Option<Job>,
    /// The number of values of each metric that were logged without a step.
    counts: Mutex<HashMap<String, i64>>,
}

#[derive(Debug)]
struct Job {
    tracking: Tracking,
    delivery: Delivery,
}

impl RunContext {
    /// The context of this process, from the environment variables of a job.
    pub(crate) fn current() -> Self {
        let job = Tracking::from_env().and_then(|tracking| {
            Delivery::start(tracking.clone())
                .map(|delivery| Job { tracking, delivery })
                .inspect_err(|error| eprintln!("warning: metrics are not sent: {error}"))
                .ok()
        });
        Self {
            job,
            counts: Mutex::default(),
        }
    }

    /// The id of the run; `None` outside a job.
    pub fn id(&self) -> Option<&str> {
        self.job.as_ref().map(|job| job.tracking.run_id())
    }

    /// Whether this program runs outside a job.
    pub fn is_offline(&self) -> bool {
        self.job.is_none()
    }

    /// Logs a value of a metric with the next step: 0, 1, 2, ….
    pub fn log(&self, name: &str, value: impl Into<f64>) {
        if self.is_offline() {
            return;
        }
        let step = {
            // Counting cannot panic, so the lock is never poisoned; a poisoned lock would
            // still have correct counts.
            let mut counts = self
                .counts
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            let count = counts.entry(name.to_owned()).or_default();
            *count += 1;
            *count - 1
        };
        self.log_step(name, value, step);
    }

    /// Logs a value of a metric at a step, e.g. an epoch.
    pub fn log_step(&self, name: &str, value: impl Into<f64>, step: impl Into<i64>) {
        let timestamp = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |time| time.as_millis() as i64);
        self.send(|| {
            Record::Metric(azureml_wire::mlflow::Metric {
                key: name.to_owned(),
                value: value.into(),
                timestamp,
                step: step.into(),
            })
        });
    }

    /// Logs a parameter, e.g. the learning rate. A parameter keeps its first value.
    #[allow(
        clippy::needless_pass_by_value,
        reason = "a number is given as it stands, without `&`"
    )]
    pub fn log_param(&self, name: &str, value: impl ToString) {
        self.send(|| {
            Record::Param(azureml_wire::mlflow::Param {
                key: name.to_owned(),
                value: value.to_string(),
            })
        });
    }

    /// Sets a tag of the run.
    #[allow(
        clippy::needless_pass_by_value,
        reason = "a number is given as it stands, without `&`"
    )]
    pub fn set_tag(&self, name: &str, value: impl ToString) {
        self.send(|| {
            Record::Tag(azureml_wire::mlflow::RunTag {
                key: name.to_owned(),
                value: value.to_string(),
            })
        });
    }

    /// Uploads the file at `path` to the run under `name`, e.g. `outputs/labels.txt`, and waits for
    /// the end of the upload.
    ///
    /// The service collects the folder `outputs` of a job at its end. This method is for files that
    /// are needed earlier, or that are in another folder. Offline it only checks that the file can
    /// be read.
    pub fn upload_file(&self, name: &str, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        match &self.job {
            Some(job) => job.tracking.upload(name, path),
            None => tracking::readable(name, path),
        }
    }

    /// Waits until all logged records have been sent.
    ///
    /// # Errors
    /// Fails with the records that the service has refused since the last `flush`, or when the
    /// service is unavailable for two minutes. In the latter case the queued records are sent
    /// later.
    pub fn flush(&self) -> Result<()> {
        self.job.as_ref().map_or(Ok(()), |job| job.delivery.flush())
    }

    fn send(&self, record: impl FnOnce() -> Record) {
        if let Some(job) = &self.job {
            job.delivery.send(record());
        }
    }
}
