//! Sends metrics, parameters and tags in the background, in order, in batches; keeps them while the service is away.

use super::tracking::{Failed, Tracking};
use crate::error::{Error, Result};
use crate::runtime;
use azureml_wire::mlflow::{LogBatch, Metric, Param, RunTag};
use std::collections::VecDeque;
use std::sync::mpsc as blocking;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Most records in one request; MLflow takes 1000 metrics but only 100 parameters and 100 tags.
const BATCH: usize = 100;
/// Most records of a kind that are kept while the service is away: some ten megabytes. The oldest go first.
const KEPT: usize = 100_000;
/// Between two tries, from the first to the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(15));
/// How long `flush` waits for a service that is away, and how long nobody is told that it is.
const PATIENCE: Duration = Duration::from_mins(2);
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
    Flush(Flush),
}

/// To be answered when all earlier records are through, or have not come through in time.
struct Flush {
    deadline: Instant,
    answer: blocking::Sender<Result<(), Unsent>>,
}

/// Why a flush did not succeed.
enum Unsent {
    /// The service did not want something; it was said on stderr then.
    Refused(Error),
    /// The service is away.
    Away(Error),
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
        self.flush_within(PATIENCE)
            .map_err(|(Unsent::Refused(error) | Unsent::Away(error))| error)
    }

    fn flush_within(&self, limit: Duration) -> Result<(), Unsent> {
        let (answer, answered) = blocking::channel();
        let deadline = Instant::now() + limit;
        if self
            .queue
            .send(Message::Flush(Flush { deadline, answer }))
            .is_err()
        {
            return Ok(());
        }
        // The task answers by itself; it ends only with the runtime.
        answered.recv().unwrap_or(Ok(()))
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if let Err(Unsent::Away(error)) = self.flush_within(LAST_WAIT) {
            eprintln!("warning: {error}");
        }
    }
}

async fn deliver(tracking: Tracking, mut messages: mpsc::UnboundedReceiver<Message>) {
    let mut backlog = Backlog::default();
    let mut flushes: Vec<Flush> = Vec::new();
    let mut refused: Option<Error> = None;
    let mut away: Option<Away> = None;
    let mut received = Vec::new();
    loop {
        // While one batch is under way the next one gathers.
        while away.as_ref().is_none_or(Away::is_over) && !backlog.is_empty() {
            match backlog.send(&tracking).await {
                Ok(()) => away = None,
                Err(Failed::Refused(error)) => {
                    away = None;
                    if refused.is_none() {
                        eprintln!("warning: {error}");
                    }
                    refused = Some(error);
                }
                Err(Failed::Away(error)) => away = Some(Away::after(away, &error)),
            }
        }
        let now = Instant::now();
        let (over, still): (Vec<_>, Vec<_>) = flushes
            .into_iter()
            .partition(|flush| backlog.is_empty() || flush.deadline <= now);
        flushes = still;
        for flush in over {
            let result = match (&away, refused.take()) {
                (Some(away), _) if !backlog.is_empty() => {
                    Err(Unsent::Away(backlog.unsent(&away.reason)))
                }
                (_, Some(error)) => Err(Unsent::Refused(error)),
                _ => Ok(()),
            };
            // Whoever asked may have gone.
            let _ = flush.answer.send(result);
        }
        let wake = away
            .iter()
            .map(|away| away.next)
            .chain(flushes.iter().map(|flush| flush.deadline))
            .min();
        let wait = async {
            match wake {
                Some(wake) => tokio::time::sleep_until(wake).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            count = messages.recv_many(&mut received, BATCH) => if count == 0 {
                return;
            },
            () = wait => {}
        }
        for message in received.drain(..) {
            match message {
                Message::Record(record) => backlog.push(record),
                Message::Flush(flush) => flushes.push(flush),
            }
        }
    }
}

/// A service that is away.
struct Away {
    since: Instant,
    /// Whether it was said on stderr.
    told: bool,
    pause: Duration,
    /// When it is tried again.
    next: Instant,
    reason: String,
}

impl Away {
    /// After one more try has failed.
    fn after(before: Option<Self>, error: &Error) -> Self {
        let now = Instant::now();
        let mut this = match before {
            Some(before) => Self {
                pause: (before.pause * 2).min(PAUSES.1),
                reason: error.to_string(),
                ..before
            },
            None => Self {
                since: now,
                told: false,
                pause: PAUSES.0,
                next: now,
                reason: error.to_string(),
            },
        };
        if !this.told && this.since.elapsed() > PATIENCE {
            eprintln!("warning: {error}");
            this.told = true;
        }
        this.next = now + this.pause;
        this
    }

    fn is_over(&self) -> bool {
        self.next <= Instant::now()
    }
}

/// What is still to be sent. Each kind goes on its own, so that a refused parameter takes no metric with it.
#[derive(Default)]
struct Backlog {
    metrics: VecDeque<Metric>,
    params: VecDeque<Param>,
    tags: VecDeque<RunTag>,
    lost: usize,
}

impl Backlog {
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn len(&self) -> usize {
        self.metrics.len() + self.params.len() + self.tags.len()
    }

    fn push(&mut self, record: Record) {
        let is_full = match record {
            Record::Metric(metric) => push(&mut self.metrics, metric),
            Record::Param(param) => push(&mut self.params, param),
            Record::Tag(tag) => push(&mut self.tags, tag),
        };
        self.lost += usize::from(is_full);
        if is_full && self.lost == 1 {
            eprintln!(
                "warning: the tracking service is away for long: the oldest of {KEPT} records that wait for it are dropped"
            );
        }
    }

    /// Sends one batch. What could not be sent stays, what was refused does not.
    async fn send(&mut self, tracking: &Tracking) -> Result<(), Failed> {
        let mut batch = LogBatch {
            run_id: tracking.run_id().to_owned(),
            ..LogBatch::default()
        };
        let what = if !self.params.is_empty() {
            batch.params = first(&self.params);
            "logging parameters"
        } else if !self.metrics.is_empty() {
            batch.metrics = first(&self.metrics);
            "logging metrics"
        } else {
            batch.tags = first(&self.tags);
            "setting tags"
        };
        let sent = tracking.log_batch(what, &batch).await;
        if !matches!(sent, Err(Failed::Away(_))) {
            self.params.drain(..batch.params.len());
            self.metrics.drain(..batch.metrics.len());
            self.tags.drain(..batch.tags.len());
        }
        sent
    }

    /// The error of a flush that is given up.
    fn unsent(&self, reason: &str) -> Error {
        Error::Tracking {
            call: match self.len() {
                1 => "sending 1 metric, parameter or tag to the run".to_owned(),
                count => format!("sending {count} metrics, parameters and tags to the run"),
            },
            reason: reason.split("\nhint: ").next().unwrap_or(reason).to_owned(),
            hint: "is the workspace that started this job still running? what waits is sent when it is back, as long as this \
                   program runs",
        }
    }
}

/// Adds to a queue; whether its oldest had to go.
fn push<T>(queue: &mut VecDeque<T>, item: T) -> bool {
    let is_full = queue.len() == KEPT;
    if is_full {
        queue.pop_front();
    }
    queue.push_back(item);
    is_full
}

fn first<T: Clone>(queue: &VecDeque<T>) -> Vec<T> {
    queue.iter().take(BATCH).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;
    use std::io::{Read, Write};
    use std::net::TcpListener;

    /// Answers one connection with each of `answers`; gives the bodies that came.
    fn serve(listener: &TcpListener, answers: &[&str]) -> Vec<Value> {
        answers
            .iter()
            .map(|status| {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = Vec::new();
                let mut piece = [0; 4096];
                let body = loop {
                    let read = stream.read(&mut piece).unwrap();
                    request.extend_from_slice(&piece[..read]);
                    let text = String::from_utf8_lossy(&request).into_owned();
                    if let Some((_, body)) = text.split_once("\r\n\r\n")
                        && let Ok(body) = serde_json::from_str(body)
                    {
                        break body;
                    }
                };
                let answer = format!(
                    "HTTP/1.1 {status}\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{{}}"
                );
                stream.write_all(answer.as_bytes()).unwrap();
                body
            })
            .collect()
    }

    fn metric(step: i64) -> Record {
        Record::Metric(Metric {
            key: "loss".into(),
            value: 0.5,
            timestamp: 1,
            step,
        })
    }

    fn steps(body: &Value) -> Vec<i64> {
        let metrics = body["metrics"].as_array().into_iter().flatten();
        metrics
            .filter_map(|metric| metric["step"].as_i64())
            .collect()
    }

    #[test]
    fn what_waits_for_a_service_that_is_away_is_sent_when_it_is_back() {
        // A port where nobody listens.
        let address = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let tracking = Tracking::new(&format!("http://{address}"), None, "r".into(), None).unwrap();
        let delivery = Delivery::start(tracking).unwrap();
        delivery.send(metric(1));
        let Err(Unsent::Away(error)) = delivery.flush_within(Duration::from_millis(100)) else {
            panic!("nobody took it");
        };
        let text = error.to_string();
        assert!(
            text.starts_with("sending 1 metric, parameter or tag to the run failed: "),
            "{text}"
        );
        assert_eq!(text.matches("\nhint: ").count(), 1, "{text}");
        delivery.send(metric(2));
        let listener = TcpListener::bind(address).unwrap();
        let server = std::thread::spawn(move || serve(&listener, &["503 Busy", "200 OK"]));
        delivery.flush().unwrap();
        let bodies = server.join().unwrap();
        assert_eq!(steps(&bodies[0]), [1, 2]);
        assert_eq!(bodies[0], bodies[1]);
        drop(delivery);
    }

    #[test]
    fn what_is_refused_is_told_once_and_holds_nothing_up() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let tracking = Tracking::new(&format!("http://{address}"), None, "r".into(), None).unwrap();
        let delivery = Delivery::start(tracking).unwrap();
        let server = std::thread::spawn(move || serve(&listener, &["400 Bad", "200 OK"]));
        delivery.send(metric(1));
        let text = delivery.flush().unwrap_err().to_string();
        assert!(text.starts_with("logging metrics failed: 400"), "{text}");
        delivery.send(metric(2));
        delivery.flush().unwrap();
        assert_eq!(steps(&server.join().unwrap()[1]), [2]);
    }

    #[test]
    fn only_so_much_is_kept() {
        let mut queue = VecDeque::new();
        let dropped = (0..KEPT + 3).filter(|item| push(&mut queue, *item)).count();
        assert_eq!((dropped, queue.len(), queue[0]), (3, KEPT, 3));
    }
}
