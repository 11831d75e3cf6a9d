//! Terminal output: one line for each finished step, and the progress of the running steps.
//!
//! On a terminal, the running steps share one line that is rewritten. If the output is not a
//! terminal (CI, a file), a long step logs its progress at intervals instead. All of this output
//! goes to standard error.

use crate::running::Running;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Interval at which the live line of a terminal is rewritten.
const TICK: Duration = Duration::from_millis(200);
/// Interval at which a long step logs its progress if the output is not a terminal.
const HEARTBEAT: Duration = Duration::from_secs(20);
/// Duration after which a running step is announced.
const WORTH_A_WORD: Duration = Duration::from_secs(1);
/// Maximum width of a line on a terminal.
const WIDTH: usize = 100;

/// The steps of a command, and the thread that updates the terminal.
pub struct Report {
    running: Running,
    state: Arc<Mutex<State>>,
    stop: Option<mpsc::Sender<()>>,
    ticker: Option<JoinHandle<()>>,
}

struct State {
    terminal: bool,
    colours: bool,
    steps: Vec<Current>,
    finished: Vec<(String, Duration)>,
    drawn: bool,
    next: usize,
}

struct Current {
    id: usize,
    title: String,
    why: String,
    status: String,
    since: Instant,
    announced: bool,
    spoke: Instant,
}

/// A running step. If it is dropped without [`Step::done`], it has failed.
pub struct Step {
    running: Running,
    state: Arc<Mutex<State>>,
    id: usize,
}

impl Report {
    /// Starts the report.
    pub fn new() -> Self {
        let terminal = io::stderr().is_terminal();
        let state = Arc::new(Mutex::new(State {
            terminal,
            colours: terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
            steps: Vec::new(),
            finished: Vec::new(),
            drawn: false,
            next: 0,
        }));
        let (stop, stopped) = mpsc::channel();
        let ticking = Arc::clone(&state);
        let ticker = thread::spawn(move || {
            while stopped.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                lock(&ticking).tick();
            }
        });
        Self {
            running: Running::default(),
            state,
            stop: Some(stop),
            ticker: Some(ticker),
        }
    }

    /// Starts a step with its title and purpose.
    pub fn step(&self, title: &str, why: &str) -> Step {
        let mut state = lock(&self.state);
        let id = state.next;
        state.next += 1;
        let now = Instant::now();
        state.steps.push(Current {
            id,
            title: title.to_owned(),
            why: why.to_owned(),
            status: String::new(),
            since: now,
            announced: false,
            spoke: now,
        });
        Step {
            running: self.running.clone(),
            state: Arc::clone(&self.state),
            id,
        }
    }

    /// Starts a step that is announced at once, because its output follows immediately.
    pub fn step_now(&self, title: &str, why: &str) -> Step {
        let step = self.step(title, why);
        lock(&self.state).announce(step.id);
        step
    }

    /// Prints a line between the steps.
    pub fn say(&self, line: &str) {
        lock(&self.state).print(line);
    }

    /// Returns the statuses of the running steps.
    #[cfg(test)]
    pub fn statuses(&self) -> Vec<String> {
        let state = lock(&self.state);
        state.steps.iter().map(|step| step.status.clone()).collect()
    }

    /// The running programs of the steps.
    pub fn running(&self) -> &Running {
        &self.running
    }

    /// Returns the finished steps with their durations.
    pub fn finished(&self) -> Vec<(String, Duration)> {
        lock(&self.state).finished.clone()
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(ticker) = self.ticker.take() {
            // The ticker's result does not matter, even if it panicked.
            let _ = ticker.join();
        }
        lock(&self.state).erase();
    }
}

impl Step {
    /// The running programs of all steps.
    pub fn running(&self) -> &Running {
        &self.running
    }

    /// Sets the status of the step.
    pub fn status(&self, status: &str) {
        let mut state = lock(&self.state);
        if let Some(step) = state.steps.iter_mut().find(|step| step.id == self.id) {
            status.clone_into(&mut step.status);
        }
    }

    /// Prints a line to standard output, unchanged, above the live line.
    pub fn print(&self, line: &str) {
        let mut state = lock(&self.state);
        state.erase();
        println!("{line}");
    }

    /// Ends the step with its result.
    pub fn done(self, result: &str) {
        lock(&self.state).finish(self.id, Ok(result));
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        // If another step's failure stopped this step's programs, this step has not failed itself.
        let word = if self.running.stopped() {
            "stopped"
        } else {
            "failed"
        };
        // Has no effect if `done` has already ended the step.
        lock(&self.state).finish(self.id, Err(word));
    }
}

impl State {
    fn finish(&mut self, id: usize, result: Result<&str, &str>) {
        let Some(at) = self.steps.iter().position(|step| step.id == id) else {
            return;
        };
        let step = self.steps.remove(at);
        let took = step.since.elapsed();
        let mark = match (result, self.colours) {
            (Ok(_), true) => "\u{1b}[32m✓\u{1b}[0m",
            (Ok(_), false) => "✓",
            (Err(_), true) => "\u{1b}[31m✗\u{1b}[0m",
            (Err(_), false) => "✗",
        };
        let mut line = format!("{mark} {}", step.title);
        if !step.announced && !step.why.is_empty() {
            let _ = write!(line, ": {}", step.why);
        }
        match result {
            Ok("") => {}
            Ok(result) => {
                let _ = write!(line, "; {result}");
            }
            Err(word) => {
                let _ = write!(line, " {word}");
            }
        }
        let _ = write!(line, " ({})", seconds(took));
        self.print(&line);
        if result.is_ok() {
            self.finished.push((step.title, took));
        }
    }

    fn announce(&mut self, id: usize) {
        let Some(step) = self
            .steps
            .iter_mut()
            .find(|step| step.id == id && !step.announced)
        else {
            return;
        };
        step.announced = true;
        let colon = if step.why.is_empty() { "" } else { ": " };
        let line = format!("… {}{colon}{}", step.title, step.why);
        self.print(&line);
    }

    fn print(&mut self, line: &str) {
        self.erase();
        // A failure to print progress must not stop the command.
        let _ = writeln!(io::stderr(), "{line}");
    }

    fn erase(&mut self) {
        if self.drawn {
            let _ = write!(io::stderr(), "\r\u{1b}[K");
            self.drawn = false;
        }
    }

    fn tick(&mut self) {
        let mut lines = Vec::new();
        let slow: Vec<usize> = self
            .steps
            .iter()
            .filter(|step| step.since.elapsed() > WORTH_A_WORD)
            .map(|step| step.id)
            .collect();
        for id in slow {
            self.announce(id);
        }
        for step in &mut self.steps {
            if !self.terminal && step.announced && step.spoke.elapsed() > HEARTBEAT {
                step.spoke = Instant::now();
                lines.push(format!(
                    "    {} {}: {}",
                    step.title,
                    seconds(step.since.elapsed()),
                    step.status
                ));
            }
        }
        for line in lines {
            self.print(&line);
        }
        if self.terminal && self.steps.iter().any(|step| step.announced) {
            let parts: Vec<String> = self
                .steps
                .iter()
                .filter(|step| step.announced)
                .map(|step| {
                    format!(
                        "{} {} {}",
                        step.title,
                        seconds(step.since.elapsed()),
                        step.status
                    )
                })
                .collect();
            let share = WIDTH / parts.len() - 3;
            let parts: Vec<String> = parts
                .iter()
                .map(|part| part.chars().take(share).collect())
                .collect();
            let _ = write!(io::stderr(), "\r\u{1b}[K  {}", parts.join(" | "));
            let _ = io::stderr().flush();
            self.drawn = true;
        }
    }
}

/// Formats a duration for users.
pub fn seconds(time: Duration) -> String {
    let all = time.as_secs();
    if all < 100 {
        format!("{:.1} s", time.as_secs_f64())
    } else {
        format!("{} min {:02} s", all / 60, all % 60)
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    // The state is still printable after a panic of another thread.
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short() {
        for (millis, shown) in [
            (40, "0.0 s"),
            (12_340, "12.3 s"),
            (99_960, "100.0 s"),
            (125_000, "2 min 05 s"),
        ] {
            assert_eq!(seconds(Duration::from_millis(millis)), shown);
        }
    }

    #[test]
    fn only_steps_that_are_done_are_counted() {
        let report = Report::new();
        report.step("one", "").done("");
        drop(report.step("two", ""));
        let finished: Vec<String> = report
            .finished()
            .into_iter()
            .map(|(title, _)| title)
            .collect();
        assert_eq!(finished, ["one"]);
    }
}
