//! What a long call says while it works: one line that changes in a notebook and in a terminal, few lines in a log.

use notebook::{Live, MimeBundle};
use std::io::{IsTerminal, Write};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A line that changes no more often than this.
const RATE: Duration = Duration::from_millis(100);

/// Says one thing that happened.
pub fn say(text: &str) {
    if notebook::in_notebook() {
        println!("{text}");
    } else {
        eprintln!("{text}");
    }
}

/// A line that says how far something is.
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
    /// What failed on the way leaves the terminal's next line to the error.
    fn drop(&mut self) {
        if !self.finished && matches!(self.place, Place::Terminal) {
            eprintln!();
        }
    }
}

impl Progress {
    /// Says what begins.
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

    /// Says how far it is; a log is spared of it.
    pub fn update(&self, text: &str) {
        // Nothing panics while it is held.
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

    /// Says how it ended.
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
    // A line longer than the terminal would not be overwritten whole.
    let text: String = text.chars().take(100).collect();
    let mut stderr = std::io::stderr().lock();
    // Where stderr is gone there is nobody to tell.
    let _ = write!(stderr, "\r\x1b[K{text}{end}").and_then(|()| stderr.flush());
}
