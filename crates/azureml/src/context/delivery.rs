//! Sends metrics, parameters and tags in the background, in order and in batches, and queues them
//! while the service is unavailable.
//!
//! A refused batch is sent again record by record, so that only the refused records are lost.

use super::tracking::{Failed, Tracking};
use crate::error::{Error, Result};
use crate::runtime;
use azureml_wire::mlflow::{LogBatch, Metric, Param, RunTag};
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::mpsc as blocking;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// The most records in one request. MLflow accepts 1000 metrics, but only 100 parameters and 100
/// tags.
const BATCH: usize = 100;
/// The most queued records of a kind while the service is unavailable, about 10 MB. The oldest are
/// dropped first.
const KEPT: usize = 100_000;
/// The most refusals that are printed, and the most that one error lists.
const TOLD: usize = 10;
/// The reason of a flush that timed out while the service was available.
const SLOW: &str = "the service takes them too slowly";
/// The pauses of the exponential backoff: the first and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(15));
/// How long `flush` waits for an unavailable service, and the time until the first warning about
/// it.
const PATIENCE: Duration = Duration::from_mins(2);
/// How long a program waits at its end for queued records.
const LAST_WAIT: Duration = Duration::from_mins(1);

/// One record to send.
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

/// Receives a reply when all earlier records have been sent, or at the deadline.
struct Flush {
    deadline: Instant,
    answer: blocking::Sender<Result<(), Unsent>>,
}

/// The failure of a flush.
enum Unsent {
    /// The service refused a record; the refusal was printed to stderr.
    Refused(Error),
    /// The service is unavailable.
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
        // The task ends only when this queue is dropped.
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
        // The task always replies; it ends early only with the runtime.
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
    let mut refused = Refused::default();
    let mut away: Option<Away> = None;
    let mut received = Vec::new();
    loop {
        // Records that arrive during a request form the next batch.
        if backlog.is_due(away.as_ref()) {
            match backlog.send(&tracking).await {
                Ok(()) => away = None,
                Err(Unsent::Refused(error)) => {
                    away = None;
                    refused.push(error);
                }
                Err(Unsent::Away(error)) => away = Some(Away::after(away, &error)),
            }
        }
        let now = Instant::now();
        let (over, still): (Vec<_>, Vec<_>) = flushes
            .into_iter()
            .partition(|flush| backlog.is_empty() || flush.deadline <= now);
        flushes = still;
        for flush in over {
            let result = match (&away, refused.take()) {
                (away, _) if !backlog.is_empty() => {
                    let reason = away.as_ref().map_or(SLOW, |away| &away.reason);
                    Err(Unsent::Away(backlog.unsent(reason)))
                }
                (_, Some(error)) => Err(Unsent::Refused(error)),
                _ => Ok(()),
            };
            // The caller of the flush may be gone.
            let _ = flush.answer.send(result);
        }
        let due = backlog.is_due(away.as_ref()).then(Instant::now);
        let wake = away
            .iter()
            .map(|away| away.next)
            .chain(due)
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

/// The refusals since the last flush.
#[derive(Default)]
struct Refused {
    errors: Vec<Error>,
    more: usize,
    /// The number of refusals in total, printed or not.
    told: usize,
}

impl Refused {
    fn push(&mut self, error: Error) {
        if self.told < TOLD {
            eprintln!("warning: {error}");
        } else if self.told == TOLD {
            eprintln!("warning: more was refused; `flush` names it");
        }
        self.told += 1;
        if self.errors.len() < TOLD {
            self.errors.push(error);
        } else {
            self.more += 1;
        }
    }

    /// All refusals as one error, with the reason of the first.
    fn take(&mut self) -> Option<Error> {
        let more = std::mem::take(&mut self.more);
        let mut errors = std::mem::take(&mut self.errors).into_iter();
        let mut first = errors.next()?;
        if let Error::Tracking { call, .. } = &mut first {
            for error in errors {
                if let Error::Tracking { call: other, .. } = error {
                    call.push_str(", ");
                    call.push_str(&other);
                }
            }
            if more > 0 {
                // Writing to a String cannot fail.
                let _ = write!(call, " and {more} more");
            }
        }
        Some(first)
    }
}

/// An unavailable service.
struct Away {
    since: Instant,
    /// Whether a warning was printed to stderr.
    told: bool,
    pause: Duration,
    /// The time of the next try.
    next: Instant,
    reason: String,
}

impl Away {
    /// The state after one more failed try.
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

/// The queued records. Each kind is sent separately, so that a refused parameter does not affect
/// metrics.
#[derive(Default)]
struct Backlog {
    metrics: Queue<Metric>,
    params: Queue<Param>,
    tags: Queue<RunTag>,
    lost: usize,
}

/// Records of one kind, the oldest first.
#[derive(Debug)]
struct Queue<T> {
    records: VecDeque<T>,
    /// How many of the oldest were refused together and are now sent one by one.
    suspects: usize,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self {
            records: VecDeque::new(),
            suspects: 0,
        }
    }
}

impl<T: Clone> Queue<T> {
    /// Adds a record; returns whether the oldest one was dropped for it.
    fn push(&mut self, record: T) -> bool {
        let is_full = self.records.len() == KEPT;
        if is_full {
            self.forget(1);
        }
        self.records.push_back(record);
        is_full
    }

    /// The next records to send.
    fn batch(&self) -> Vec<T> {
        let most = if self.suspects > 0 { 1 } else { BATCH };
        self.records.iter().take(most).cloned().collect()
    }

    /// Removes the oldest records, after they were sent or refused.
    fn forget(&mut self, count: usize) {
        self.records.drain(..count);
        self.suspects = self.suspects.saturating_sub(count);
    }

    fn is_empty(&self) -> bool {
        self.records.is_empty()
    }
}

/// Describes a batch in errors: a single record by its name.
fn named<T>(verb: &str, noun: &str, records: &[T], name: impl Fn(&T) -> String) -> String {
    if let [one] = records {
        return format!("{verb} {noun} {}", name(one));
    }
    let names: Vec<String> = records.iter().take(TOLD).map(name).collect();
    let more = if records.len() > TOLD { ", …" } else { "" };
    let (count, names) = (records.len(), names.join(", "));
    format!("{verb} {count} {noun}s ({names}{more})")
}

impl Backlog {
    /// Whether there is something to be sent now.
    fn is_due(&self, away: Option<&Away>) -> bool {
        !self.is_empty() && away.is_none_or(Away::is_over)
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn len(&self) -> usize {
        self.metrics.records.len() + self.params.records.len() + self.tags.records.len()
    }

    fn push(&mut self, record: Record) {
        let is_full = match record {
            Record::Metric(metric) => self.metrics.push(metric),
            Record::Param(param) => self.params.push(param),
            Record::Tag(tag) => self.tags.push(tag),
        };
        self.lost += usize::from(is_full);
        if is_full && self.lost == 1 {
            eprintln!(
                "warning: the tracking service is away for long: the oldest of {KEPT} records that wait for it are dropped"
            );
        }
    }

    /// Sends one batch. Records stay queued after a failed request and are removed after a refusal.
    /// When several records are refused together, each is sent alone next.
    async fn send(&mut self, tracking: &Tracking) -> Result<(), Unsent> {
        let mut batch = LogBatch {
            run_id: tracking.run_id().to_owned(),
            ..LogBatch::default()
        };
        let what = if !self.params.is_empty() {
            batch.params = self.params.batch();
            named("logging", "parameter", &batch.params, |param| {
                format!("`{}`", param.key)
            })
        } else if !self.metrics.is_empty() {
            batch.metrics = self.metrics.batch();
            named("logging", "metric", &batch.metrics, |metric| {
                format!("`{}` at step {}", metric.key, metric.step)
            })
        } else {
            batch.tags = self.tags.batch();
            named("setting", "tag", &batch.tags, |tag| {
                format!("`{}`", tag.key)
            })
        };
        let counts = [batch.params.len(), batch.metrics.len(), batch.tags.len()];
        let are_many = counts.iter().sum::<usize>() > 1;
        let result = match tracking.log_batch(&what, &batch).await {
            Ok(()) => Ok(()),
            Err(Failed::Away(error)) => return Err(Unsent::Away(error)),
            Err(Failed::Content(_)) if are_many => {
                [
                    self.params.suspects,
                    self.metrics.suspects,
                    self.tags.suspects,
                ] = counts;
                return Ok(());
            }
            Err(Failed::Content(error) | Failed::Refused(error)) => Err(Unsent::Refused(error)),
        };
        self.params.forget(counts[0]);
        self.metrics.forget(counts[1]);
        self.tags.forget(counts[2]);
        result
    }

    /// The error of a flush that timed out.
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    /// Serves one connection for each of `answers` and returns the received bodies.
    fn serve(listener: &TcpListener, answers: &[&str]) -> Vec<Value> {
        answers
            .iter()
            .map(|status| {
                let (mut stream, _) = listener.accept().unwrap();
                let body = request(&mut stream);
                answer(&mut stream, status);
                body
            })
            .collect()
    }

    /// Reads a request and returns its JSON body.
    fn request(stream: &mut TcpStream) -> Value {
        let mut request = Vec::new();
        let mut piece = [0; 4096];
        loop {
            let read = stream.read(&mut piece).unwrap();
            request.extend_from_slice(&piece[..read]);
            let text = String::from_utf8_lossy(&request).into_owned();
            if let Some((_, body)) = text.split_once("\r\n\r\n")
                && let Ok(body) = serde_json::from_str(body)
            {
                return body;
            }
        }
    }

    fn answer(stream: &mut TcpStream, status: &str) {
        let answer =
            format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{{}}");
        stream.write_all(answer.as_bytes()).unwrap();
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
        // A port without a listener.
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
        assert!(
            text.starts_with("logging metric `loss` at step 1 failed: 400"),
            "{text}"
        );
        delivery.send(metric(2));
        delivery.flush().unwrap();
        assert_eq!(steps(&server.join().unwrap()[1]), [2]);
    }

    #[test]
    fn only_so_much_is_kept() {
        let mut queue = Queue::default();
        let dropped = (0..KEPT + 3).filter(|item| queue.push(*item)).count();
        let records = &queue.records;
        assert_eq!((dropped, records.len(), records[0]), (3, KEPT, 3));
    }

    /// A service that refuses, with 400, every batch with a record called `bad…`. It returns the
    /// accepted records by step or name.
    fn picky(listener: TcpListener, until: &'static str) -> std::thread::JoinHandle<Vec<String>> {
        std::thread::spawn(move || {
            let mut taken = Vec::new();
            while taken.last().is_none_or(|last| last != until) {
                let (mut stream, _) = listener.accept().unwrap();
                let body = request(&mut stream);
                let all = ["params", "metrics", "tags"].map(|kind| body[kind].as_array().cloned());
                let names: Vec<String> = all
                    .into_iter()
                    .flatten()
                    .flatten()
                    .map(|record| match record["step"].as_i64() {
                        Some(step) => format!("{} {step}", record["key"].as_str().unwrap()),
                        None => record["key"].as_str().unwrap().to_owned(),
                    })
                    .collect();
                let is_bad = names.iter().any(|name| name.starts_with("bad"));
                answer(&mut stream, if is_bad { "400 Bad" } else { "200 OK" });
                if !is_bad {
                    taken.extend(names);
                }
            }
            taken
        })
    }

    #[test]
    fn one_refused_record_takes_no_other_with_it() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let tracking = Tracking::new(&format!("http://{address}"), None, "r".into(), None).unwrap();
        // All records are queued before the first request, as at the start of a training.
        let mut backlog = Backlog::default();
        for number in 0..150 {
            let guilty = number == 3 || number == 120;
            let key = |kind: &str| {
                if guilty {
                    format!("bad-{kind}-{number}")
                } else {
                    format!("{kind}-{number}")
                }
            };
            let value = String::new();
            backlog.push(Record::Param(Param {
                key: key("param"),
                value: value.clone(),
            }));
            backlog.push(Record::Tag(RunTag {
                key: key("tag"),
                value,
            }));
            backlog.push(Record::Metric(Metric {
                key: if guilty { "bad".into() } else { "loss".into() },
                value: 0.5,
                timestamp: 1,
                step: number,
            }));
        }
        let server = picky(listener, "tag-149");
        let mut lost = Refused::default();
        let runtime = runtime::shared().unwrap();
        while !backlog.is_empty() {
            match runtime.block_on(backlog.send(&tracking)) {
                Ok(()) => {}
                Err(Unsent::Refused(error)) => lost.push(error),
                Err(Unsent::Away(error)) => panic!("{error}"),
            }
        }
        let good = || (0..150).filter(|number| ![3, 120].contains(number));
        let expected: Vec<String> = good()
            .map(|number| format!("param-{number}"))
            .chain(good().map(|step| format!("loss {step}")))
            .chain(good().map(|number| format!("tag-{number}")))
            .collect();
        assert_eq!(server.join().unwrap(), expected);
        let text = lost.take().unwrap().to_string();
        assert!(
            text.starts_with(
                "logging parameter `bad-param-3`, logging parameter `bad-param-120`, \
                 logging metric `bad` at step 3, logging metric `bad` at step 120, \
                 setting tag `bad-tag-3`, setting tag `bad-tag-120` failed: 400"
            ),
            "{text}"
        );
    }

    #[test]
    fn a_run_that_is_not_to_be_written_to_is_not_asked_record_by_record() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let tracking = Tracking::new(&format!("http://{address}"), None, "r".into(), None).unwrap();
        let mut backlog = Backlog::default();
        (0..3).for_each(|step| backlog.push(metric(step)));
        let server = std::thread::spawn(move || serve(&listener, &["403 Forbidden"]));
        let sent = runtime::shared().unwrap().block_on(backlog.send(&tracking));
        let Err(Unsent::Refused(error)) = sent else {
            panic!("it is refused");
        };
        assert!(
            error
                .to_string()
                .starts_with("logging 3 metrics (`loss` at step 0, `loss` at"),
            "{error}"
        );
        assert!(backlog.is_empty());
        server.join().unwrap();
    }
}
