//! Waits for a run, prints its statuses in order, and streams its log.

use super::details::{RunDetails, rounded, summary};
use super::log::{Tail, is_log, last_lines, rank};
use super::metrics::Metrics;
use super::watch::{Watched, pause};
use crate::asynchronous::Run;
use crate::client::retry::Retry;
use crate::duration;
use crate::error::{Error, Result, split_hint};
use azureml_wire::job::JobStatus;
use azureml_wire::run_history::{self, StatusChange};
use chrono::Utc;
use notebook::{Display, Live};
use std::collections::BTreeMap;
use std::io::Write;
use std::time::{Duration, Instant};

/// Options for the wait.
#[derive(Debug, Clone, Copy)]
pub struct WaitOptions {
    /// Whether to print the statuses and the log.
    pub show_output: bool,
    /// Whether a run that fails or is canceled is an error.
    pub raise_on_error: bool,
}

impl Default for WaitOptions {
    fn default() -> Self {
        Self {
            show_output: true,
            raise_on_error: true,
        }
    }
}

/// The lines of the log that an error contains.
const LAST_LINES: usize = 12;
/// The bytes at the end of the log in which these lines are searched.
const LAST_BYTES: u64 = 16 << 10;

/// The most ranges of a log that are read in one poll: 16 GiB.
const PARTS: usize = 4096;

/// The polling interval of logs. It is short, because output should appear immediately and the blob
/// store allows more requests than the service.
const LOGS: Duration = Duration::from_millis(300);

/// The polling interval of the run: short after a change, longer without changes.
struct Pace {
    least: Duration,
    most: Duration,
    now: Duration,
}

impl Pace {
    fn new(is_local: bool) -> Self {
        // The local workspace is polled often at no cost. Azure is polled as often as Studio polls
        // it.
        let (least, most) = if is_local { (100, 500) } else { (1000, 5000) };
        Self {
            least: Duration::from_millis(least),
            most: Duration::from_millis(most),
            now: Duration::from_millis(least),
        }
    }

    fn next(&mut self, moved: bool) -> Duration {
        self.now = if moved {
            self.least
        } else {
            (self.now * 3 / 2).min(self.most)
        };
        self.now
    }
}

/// Waits until the run has ended and returns its details.
///
/// Dropping the future is safe at any point: the run goes on.
pub async fn wait(run: &Run, options: WaitOptions) -> Result<RunDetails> {
    let mut shown = Shown::new(options.show_output);
    let mut view = View::new(run, options.show_output);
    let mut trials = if options.show_output {
        Watched::new(run)
    } else {
        None
    };
    shown.heading(run);
    let mut pace = Pace::new(run.workspace().is_local());
    let mut moved = false;
    let wire = loop {
        let details = run.wire_details().await?;
        let ended = details.status.ends_streaming();
        moved |= match &mut trials {
            Some(trials) => shown.update_sweep(run, &details, trials, ended).await,
            None => shown.update(run, &details).await,
        };
        if let Some(view) = &mut view {
            view.update(run, trials.as_mut(), ended).await;
        }
        if ended {
            break details;
        }
        let next = Instant::now() + pace.next(moved);
        moved = false;
        loop {
            let left = next.saturating_duration_since(Instant::now());
            tokio::time::sleep(left.min(LOGS)).await;
            if left <= LOGS {
                break;
            }
            moved |= shown.follow(run, &details).await;
        }
    };
    let details = RunDetails::from(&wire);
    shown.summary(run, trials.as_ref().filter(|_| view.is_none()));
    if options.raise_on_error {
        raise(run, &details, &wire).await?;
    }
    Ok(details)
}

/// The part of the logs that one poll reads.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Extent {
    /// The next range.
    Part,
    /// Everything written so far: the command has ended, and its last line is printed before the
    /// next status.
    Written,
    /// Everything, with retries: the run has ended, and no later poll reads content that this one
    /// misses.
    Final,
}

impl Extent {
    fn at(status: JobStatus) -> Self {
        match status {
            JobStatus::Finalizing => Self::Written,
            status if status.ends_streaming() => Self::Final,
            _ => Self::Part,
        }
    }
}

/// The printed output so far.
struct Shown {
    enabled: bool,
    history: Vec<StatusChange>,
    printed: usize,
    tails: BTreeMap<String, Tail>,
    /// The log of the last printed lines.
    current: Option<String>,
    /// The rank of the process of the last line, with several processes.
    speaker: Option<u32>,
    /// Whether the last line is complete.
    at_start: bool,
}

impl Shown {
    fn new(enabled: bool) -> Self {
        Self {
            enabled,
            history: Vec::new(),
            printed: 0,
            tails: BTreeMap::new(),
            current: None,
            speaker: None,
            at_start: true,
        }
    }

    fn heading(&mut self, run: &Run) {
        self.print(&format!(
            "RunId: {}\nWeb View: {}\n\n",
            run.id(),
            run.portal_url().unwrap_or_default()
        ));
    }

    /// Prints new output; returns whether there was any.
    async fn update(&mut self, run: &Run, details: &run_history::RunDetails) -> bool {
        self.remember(details);
        // The log is printed between the statuses before and after the command.
        let before = self.statuses(|status| !is_after_running(status));
        let log = self.logs(run, details, Extent::at(details.status)).await;
        let after = self.statuses(|_| true);
        before || log || after
    }

    /// Like [`update`](Self::update), for a sweep: prints the changes of its trials in place of a
    /// log.
    async fn update_sweep(
        &mut self,
        run: &Run,
        details: &run_history::RunDetails,
        trials: &mut Watched,
        ended: bool,
    ) -> bool {
        self.remember(details);
        let before = self.statuses(|status| !is_after_running(status));
        let mut moved = false;
        for line in trials.update(run, ended).await {
            self.print(&line);
            moved = true;
        }
        let after = self.statuses(|_| true);
        before || moved || after
    }

    /// Prints new log output of a run that has not ended; returns whether there was any.
    async fn follow(&mut self, run: &Run, details: &run_history::RunDetails) -> bool {
        self.logs(run, details, Extent::Part).await
    }

    /// Updates the status history. If the service does not report one, it is recorded from the
    /// polls.
    fn remember(&mut self, details: &run_history::RunDetails) {
        let told = RunDetails::from(details).status_history;
        if told.len() > self.history.len() {
            self.history = told;
        } else if self
            .history
            .last()
            .is_none_or(|last| last.status != details.status)
            && told.is_empty()
        {
            self.history.push(StatusChange {
                status: details.status,
                time: Utc::now(),
            });
        }
    }

    /// Prints the next statuses while they are `wanted`.
    fn statuses(&mut self, wanted: impl Fn(JobStatus) -> bool) -> bool {
        let mut any = false;
        while let Some(change) = self
            .history
            .get(self.printed)
            .filter(|change| wanted(change.status))
            .cloned()
        {
            let since = self.history.first().map_or(change.time, |first| first.time);
            let elapsed = (change.time - since).to_std().unwrap_or_default();
            self.end_line();
            self.current = None;
            self.print(&status_line(change.status, elapsed));
            self.printed += 1;
            any = true;
        }
        any
    }

    async fn logs(&mut self, run: &Run, details: &run_history::RunDetails, extent: Extent) -> bool {
        if !self.enabled || !has_begun(details.status) {
            return false;
        }
        let logs = || details.log_files.iter().filter(|(name, _)| is_log(name));
        let are_many = logs().count() > 1;
        let mut any = false;
        let mut left: Vec<(&String, &String)> = logs().collect();
        // After the end, the log must be complete: a failed read is repeated a few times.
        let mut tries = if extent == Extent::Final { 5 } else { 1 };
        // A log that grows after the end is not followed without limit.
        let mut parts = 0;
        while !left.is_empty() && parts < PARTS {
            parts += 1;
            let mut tails: Vec<Tail> = left
                .iter()
                .map(|(name, _)| self.tails.remove(*name).unwrap_or_default())
                .collect();
            let reads = left.iter().zip(&mut tails).map(|((_, url), tail)| {
                // A single try: a failed read is repeated in the next poll.
                tail.read(
                    run.workspace().client(),
                    Retry::once("reading the log"),
                    url,
                )
            });
            let reads = futures::future::join_all(reads).await;
            let mut again = Vec::new();
            let mut all_read = true;
            for (((name, url), mut tail), read) in left.into_iter().zip(tails).zip(reads) {
                if let Ok(bytes) = &read {
                    let text = if bytes.is_empty() {
                        tail.idle()
                    } else {
                        tail.push(bytes)
                    };
                    any |= self.log(name, are_many, &text);
                }
                // The next part of a growing log is read in the next poll.
                if read
                    .as_ref()
                    .map_or(true, |bytes| extent != Extent::Part && !bytes.is_empty())
                {
                    again.push((name, url));
                }
                all_read &= read.is_ok();
                self.tails.insert(name.clone(), tail);
            }
            left = again;
            if !all_read {
                tries -= 1;
                if tries == 0 {
                    break;
                }
                tokio::time::sleep(LOGS).await;
            }
        }
        if extent == Extent::Final {
            for (name, _) in logs() {
                let rest = self.tails.get_mut(name).map(Tail::finish);
                any |= self.log(name, are_many, &rest.unwrap_or_default());
            }
        }
        any
    }

    /// Prints new output of a log; returns whether there was any. With several logs, each line has
    /// the rank of its process.
    fn log(&mut self, name: &str, is_one_of_many: bool, text: &str) -> bool {
        if text.is_empty() {
            return false;
        }
        let rank = rank(name).filter(|_| is_one_of_many);
        let title = match rank {
            Some(_) => {
                let parts = name.split(|c: char| c.is_ascii_digit());
                let parts: Vec<&str> = parts.filter(|part| !part.is_empty()).collect();
                parts.join("*")
            }
            None => name.to_owned(),
        };
        if self.current.as_deref() != Some(&title) {
            self.end_line();
            self.print(&format!(
                "\nStreaming {title}\n{}\n\n",
                "=".repeat(title.len() + 10)
            ));
            self.current = Some(title);
        }
        let Some(rank) = rank else {
            self.print(text);
            return true;
        };
        if self.speaker != Some(rank) {
            self.end_line();
            self.speaker = Some(rank);
        }
        for line in text.split_inclusive(['\n', '\r']) {
            // A newline after a carriage return is the end of a Windows line, not a line.
            if self.at_start && line != "\n" {
                self.print(&format!("[rank {rank}] "));
            }
            self.print(line);
        }
        true
    }

    fn summary(&mut self, run: &Run, trials: Option<&Watched>) {
        self.end_line();
        if let Some(trials) = trials {
            let bundle = trials.latest.mime_bundle();
            self.print(&format!("\n{}\n", bundle.plain_text().unwrap_or_default()));
        }
        let mut text = format!(
            "\nExecution Summary\n=================\nRunId: {}\nWeb View: {}\n",
            run.id(),
            run.portal_url().unwrap_or_default()
        );
        if let Some(summary) = summary(&self.history) {
            text.push_str(&summary);
            text.push('\n');
        }
        self.print(&text);
    }

    fn end_line(&mut self) {
        if !self.at_start {
            self.print("\n");
        }
    }

    fn print(&mut self, text: &str) {
        if !self.enabled {
            return;
        }
        self.at_start = text.ends_with(['\n', '\r']);
        print!("{text}");
        // If stdout is closed, the output has no reader.
        let _ = std::io::stdout().flush();
    }
}

/// In a notebook: the card of the run above its log, with live metrics.
struct View {
    live: Live,
    status: JobStatus,
    metrics: Metrics,
    /// The time of the last request for metrics.
    asked: Instant,
    pause: Duration,
}

impl View {
    fn new(run: &Run, show_output: bool) -> Option<Self> {
        if !show_output || !notebook::in_notebook() {
            return None;
        }
        Some(Self {
            live: notebook::display_live(run),
            status: run.last_status(),
            metrics: Metrics::default(),
            asked: Instant::now(),
            pause: pause(run),
        })
    }

    async fn update(&mut self, run: &Run, trials: Option<&mut Watched>, ended: bool) {
        let mut changed = self.status != run.last_status();
        self.status = run.last_status();
        if let Some(trials) = trials {
            if changed || trials.changed {
                self.live.update(&run.card_with(&trials.latest));
                trials.changed = false;
            }
            return;
        }
        if ended || self.asked.elapsed() > self.pause {
            // The charts are optional: the wait goes on without them.
            if let Ok(metrics) = run.metrics().await
                && metrics != self.metrics
            {
                self.metrics = metrics;
                changed = true;
            }
            self.asked = Instant::now();
        }
        if changed && self.metrics.is_empty() {
            self.live.update(run);
        } else if changed {
            self.live.update(&run.card_with(&self.metrics));
        }
    }
}

/// Whether the command may have started. An earlier log is printed after the status reports the
/// start.
fn has_begun(status: JobStatus) -> bool {
    !matches!(
        status,
        JobStatus::NotStarted
            | JobStatus::Starting
            | JobStatus::Provisioning
            | JobStatus::Preparing
            | JobStatus::Queued
    )
}

fn is_after_running(status: JobStatus) -> bool {
    matches!(status, JobStatus::Finalizing | JobStatus::CancelRequested) || status.ends_streaming()
}

/// A status with its time; even the longest status is followed by a space.
fn status_line(status: JobStatus, elapsed: Duration) -> String {
    format!("{status:<11} {}\n", after(elapsed))
}

fn after(elapsed: Duration) -> String {
    format!("after {}", duration::short(rounded(elapsed)))
}

/// The error of a run that failed for this reason with this log.
fn failed(run_id: &str, reason: &str, log: &str) -> Error {
    let (what, hint, rest) = split_hint(reason);
    let log = if log.is_empty() {
        last_lines(rest, LAST_LINES)
    } else {
        last_lines(log, LAST_LINES)
    };
    // A hint that refers only to the log is replaced by the hint that the program printed.
    let hint = hint
        .filter(|hint| !hint.starts_with("see user_logs/"))
        .or_else(|| {
            log.iter()
                .rev()
                .find_map(|line| line.trim_start().strip_prefix("hint: "))
        })
        .unwrap_or("`run.logs()` gives the whole log; mend what it says and submit again")
        .to_owned();
    Error::RunFailed {
        run_id: run_id.to_owned(),
        reason: what.to_owned(),
        log,
        hint,
    }
}

/// The error of a run that failed or was canceled.
async fn raise(run: &Run, details: &RunDetails, wire: &run_history::RunDetails) -> Result<()> {
    match details.status {
        JobStatus::Canceled => Err(Error::RunCanceled {
            run_id: run.id().to_owned(),
        }),
        JobStatus::Failed | JobStatus::NotResponding => {
            let ended = format!("it ended as {}", details.status);
            let reason = details.error.as_deref().unwrap_or(&ended);
            // Without the log, the reason is still useful.
            let log = run.log_ends(wire, LAST_BYTES).await;
            Err(failed(run.id(), reason, &log))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_a_space_before_its_time() {
        let line = |status| status_line(status, Duration::ZERO);
        assert_eq!(line(JobStatus::Queued), "Queued      after 0 s\n");
        assert_eq!(line(JobStatus::Provisioning), "Provisioning after 0 s\n");
        assert_eq!(
            line(JobStatus::CancelRequested),
            "CancelRequested after 0 s\n"
        );
    }

    #[test]
    fn a_failure_has_one_way_out_the_best_there_is() {
        let log = "epoch 1\nerror: no digits\nhint: look in the data folder\n";
        for (reason, log, hint) in [
            (
                "exit code 3\nhint: free some space\nits last lines:\nx",
                log,
                "free some space",
            ),
            (
                "exit code 3\nhint: see user_logs/std_log.txt",
                log,
                "look in the data folder",
            ),
            (
                "exit code 3",
                "epoch 1\n",
                "`run.logs()` gives the whole log; mend what it says and submit again",
            ),
        ] {
            let text = failed("r", reason, log).to_string();
            assert!(text.starts_with("run r failed: exit code 3\n"), "{text}");
            assert_eq!(text.rsplit_once("\nhint: ").unwrap().1, hint);
        }
        let text = failed(
            "r",
            "it is gone\nhint: submit it again\nits last lines:\nx",
            "",
        )
        .to_string();
        assert!(text.contains("\n  x\n"), "{text}");
    }
}
