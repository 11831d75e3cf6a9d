//! Sends metrics, parameters and tags in the background, in order, in batches.

use super::tracking::Tracking;
use crate::error::{Error, Result};
use crate::runtime;
use azureml_wire::mlflow::{LogBatch, Metric, Param, RunTag};
use std::sync::mpsc as blocking;
use std::time::Duration;
use tokio::sync::mpsc;

/// Most records in one request; MLflow takes 1000 metrics but only 100 parameters and 100 tags.
const BATCH: usize = 100;
/// How long a program that ends waits for what is still under way.
const LAST_WAIT: Duration = Duration::from_mins(1);

/// One thing to tell the run.
#[derive(Debug)]
pub(super) enum Record {
    Metric(Metric),
    Param(Param),
    Tag(RunTag),
}

enum Message {
    Record(Record),
    /// Answered when all earlier records are through.
    Flush(blocking::Sender<Result<()>>),
}

/// The queue to the background task.
#[derive(Debug)]
pub(super) struct Delivery {
    queue: mpsc::UnboundedSender<Message>,
}

impl Delivery {
    pub(super) fn start(tracking: Tracking) -> Result<Self> {
        let (queue, messages) = mpsc::unbounded_channel();
        runtime::shared()?.spawn(deliver(tracking, messages));
        Ok(Self { queue })
    }

    pub(super) fn send(&self, record: Record) {
        // The task ends only with this queue.
        let _ = self.queue.send(Message::Record(record));
    }

    pub(super) fn flush(&self) -> Result<()> {
        self.flush_within(None)
    }

    fn flush_within(&self, limit: Option<Duration>) -> Result<()> {
        let (sender, answer) = blocking::channel();
        if self.queue.send(Message::Flush(sender)).is_err() {
            return Ok(());
        }
        match limit {
            Some(limit) => answer.recv_timeout(limit).unwrap_or(Ok(())),
            None => answer.recv().unwrap_or(Ok(())),
        }
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        // The task has said on stderr what could not be sent.
        let _ = self.flush_within(Some(LAST_WAIT));
    }
}

async fn deliver(tracking: Tracking, mut messages: mpsc::UnboundedReceiver<Message>) {
    let mut received = Vec::new();
    let mut failure: Option<Error> = None;
    // While one batch is under way the next one gathers.
    while messages.recv_many(&mut received, BATCH).await > 0 {
        let mut batch = Batch::default();
        for message in received.drain(..) {
            match message {
                Message::Record(record) => batch.push(record),
                Message::Flush(answer) => {
                    batch.send(&tracking, &mut failure).await;
                    let _ = answer.send(failure.take().map_or(Ok(()), Err));
                }
            }
        }
        batch.send(&tracking, &mut failure).await;
    }
}

#[derive(Default)]
struct Batch {
    metrics: Vec<Metric>,
    params: Vec<Param>,
    tags: Vec<RunTag>,
}

impl Batch {
    fn push(&mut self, record: Record) {
        match record {
            Record::Metric(metric) => self.metrics.push(metric),
            Record::Param(param) => self.params.push(param),
            Record::Tag(tag) => self.tags.push(tag),
        }
    }

    /// Sends each kind on its own, so that a refused parameter takes no metric with it.
    async fn send(&mut self, tracking: &Tracking, failure: &mut Option<Error>) {
        let run_id = tracking.run_id().to_owned();
        let metrics = LogBatch {
            run_id: run_id.clone(),
            metrics: std::mem::take(&mut self.metrics),
            ..LogBatch::default()
        };
        let params = LogBatch {
            run_id: run_id.clone(),
            params: std::mem::take(&mut self.params),
            ..LogBatch::default()
        };
        let tags = LogBatch {
            run_id,
            tags: std::mem::take(&mut self.tags),
            ..LogBatch::default()
        };
        for (what, batch) in [
            ("logging metrics", metrics),
            ("logging parameters", params),
            ("setting tags", tags),
        ] {
            if batch.metrics.is_empty() && batch.params.is_empty() && batch.tags.is_empty() {
                continue;
            }
            // After a failure the service gets less patience, so that a program without it ends in good time.
            if let Err(error) = tracking.log_batch(what, &batch, failure.is_some()).await {
                if failure.is_none() {
                    eprintln!("warning: {error}");
                }
                *failure = Some(error);
            }
        }
    }
}
