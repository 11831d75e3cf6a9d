//! Limits on a log that others can fill: on the length of a line, and on the lines of one kind.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tracing::callsite::Identifier;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Context, Layer};

/// Lines of one kind that are logged at once; then one a second.
const BURST: f64 = 100.0;

/// The bytes of one line.
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
    /// Writes a line, which is cut where it is too long.
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

/// Leaves out lines of a kind (a place in the code) that come too often, and counts them.
#[derive(Debug)]
pub(super) struct Limit {
    log: Log,
    kinds: Mutex<HashMap<Identifier, Kind>>,
}

#[derive(Debug)]
struct Kind {
    /// Lines that may be logged at once.
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

    /// Whether a line is logged; if so, with the number of those that were left out before it.
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
            // Somebody has asked for all of it.
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
            // As for other lines, there is no place to say that the log cannot be written.
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
