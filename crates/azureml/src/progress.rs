//! Progress of long calls: one updated line in a notebook and in a terminal, few lines in a log.

use notebook::{Live, MimeBundle};
use std::io::{IsTerminal, Write};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The minimum interval between two updates.
const RATE: Duration = Duration::from_millis(100);

/// Prints one message.
pub fn say(text: &str) {
    if notebook::in_notebook() {
        println!("{text}");
    } else {
        eprintln!("{text}");
    }
}

/// A progress line.
#[derive(Debug)]
pub struct Progress {
    place: Place,
    last: Mutex<Instant>,
    finished: bool,
}

#[derive(Debug)]
enum Place {
    Notebook(Live),
    Terminal,
    Log,
}

impl Drop for Progress {
    /// Ends the line of an operation that failed, so that the error starts on a new line.
    fn drop(&mut self) {
        if !self.finished && matches!(self.place, Place::Terminal) {
            eprintln!();
        }
    }
}

impl Progress {
    /// Starts the line with a text.
    pub fn start(text: &str) -> Self {
        let place = if notebook::in_notebook() {
            Place::Notebook(notebook::display_live(&line(text)))
        } else if std::io::stderr().is_terminal() {
            Place::Terminal
        } else {
            Place::Log
        };
        let progress = Self {
            place,
            last: Mutex::new(Instant::now()),
            finished: false,
        };
        match progress.place {
            Place::Terminal => overwrite(text, ""),
            Place::Log => eprintln!("{text}"),
            Place::Notebook(_) => {}
        }
        progress
    }

    /// Updates the line, at most every 100 ms; does nothing in a log.
    pub fn update(&self, text: &str) {
        // No code panics while it holds the lock.
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.elapsed() < RATE {
            return;
        }
        *last = Instant::now();
        match &self.place {
            Place::Notebook(live) => live.update(&line(text)),
            Place::Terminal => overwrite(text, ""),
            Place::Log => {}
        }
    }

    /// Replaces the line by its final text.
    pub fn finish(mut self, text: &str) {
        self.finished = true;
        match &self.place {
            Place::Notebook(live) => live.update(&line(text)),
            Place::Terminal => overwrite(text, "\n"),
            Place::Log => eprintln!("{text}"),
        }
    }
}

fn line(text: &str) -> MimeBundle {
    MimeBundle::new().text(text)
}

fn overwrite(text: &str, end: &str) {
    // A line longer than the terminal could not be overwritten completely.
    let text: String = text.chars().take(100).collect();
    let mut stderr = std::io::stderr().lock();
    // If stderr is closed, the progress has no reader.
    let _ = write!(stderr, "\r\x1b[K{text}{end}").and_then(|()| stderr.flush());
}
