//! Rate limits for a log that peers can fill: on the length of a line and on the number of lines
//! from one place in the code.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tracing::callsite::Identifier;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Context, Layer};

/// Number of lines from one place that are logged in a burst; after that, one per second.
const BURST: f64 = 100.0;

/// Maximum length of one line, in bytes.
const LONGEST: usize = 8 << 10;

/// The log file; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Log(Arc<Mutex<File>>);

impl Log {
    pub(super) fn new(file: File) -> Self {
        Self(Arc::new(Mutex::new(file)))
    }
}

impl Write for Log {
    /// Writes a line, truncated if it is too long.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if line.len() <= LONGEST {
            file.write_all(line)?;
        } else {
            file.write_all(&line[..LONGEST])?;
            file.write_all(" …\n".as_bytes())?;
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// Suppresses and counts lines that one place in the code logs too often.
#[derive(Debug)]
pub(super) struct Limit {
    log: Log,
    kinds: Mutex<HashMap<Identifier, Kind>>,
}

#[derive(Debug)]
struct Kind {
    /// Number of lines that may be logged now.
    allowed: f64,
    since: Instant,
    left_out: u64,
}

impl Kind {
    fn new(now: Instant) -> Self {
        Self {
            allowed: BURST,
            since: now,
            left_out: 0,
        }
    }

    /// Decides whether a line is logged; returns the number of lines suppressed before it if so.
    fn take(&mut self, now: Instant) -> Option<u64> {
        let passed = now.duration_since(self.since).as_secs_f64();
        self.since = now;
        self.allowed = (self.allowed + passed).min(BURST);
        if self.allowed < 1.0 {
            self.left_out += 1;
            return None;
        }
        self.allowed -= 1.0;
        Some(std::mem::take(&mut self.left_out))
    }
}

impl Limit {
    pub(super) fn new(log: Log) -> Self {
        Self {
            log,
            kinds: Mutex::default(),
        }
    }
}

impl<S: Subscriber> Layer<S> for Limit {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        let metadata = event.metadata();
        if *metadata.level() > Level::INFO {
            // Debug and trace lines are only enabled on purpose, so they are not limited.
            return true;
        }
        let now = Instant::now();
        let taken = self
            .kinds
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(metadata.callsite())
            .or_insert_with(|| Kind::new(now))
            .take(now);
        if let Some(left_out) = taken.filter(|left_out| *left_out > 0) {
            let line = format!("{left_out} lines like the next one were left out\n");
            // A failure to write the log cannot be reported anywhere.
            let _ = self.log.clone().write_all(line.as_bytes());
        }
        taken.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tracing_subscriber::layer::SubscriberExt;

    #[test]
    fn a_flood_of_lines_is_summed_up() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let log = Log::new(file.reopen().expect("the file is ours"));
        let lines = tracing_subscriber::fmt::layer().with_writer(log.clone());
        let logging = tracing_subscriber::registry()
            .with(Limit::new(log))
            .with(lines);
        tracing::subscriber::with_default(logging, || {
            for number in 0..10_000 {
                tracing::warn!(number, "flooded");
            }
            tracing::warn!(text = "x".repeat(1 << 20), "something else");
        });
        let text = std::fs::read_to_string(file.path()).expect("the file is ours");
        let lines = text.lines().filter(|line| line.contains("flooded")).count();
        assert!((100..200).contains(&lines), "{lines}");
        assert!(text.contains("something else"));
        assert!(text.len() < 100_000, "{}", text.len());
    }

    #[test]
    fn lines_come_back_and_say_what_was_left_out() {
        let start = Instant::now();
        let mut kind = Kind::new(start);
        for _ in 0..100 {
            assert_eq!(kind.take(start), Some(0));
        }
        assert_eq!(kind.take(start), None);
        assert_eq!(kind.take(start), None);
        assert_eq!(kind.take(start + Duration::from_secs(2)), Some(2));
    }
}
