//! The test runner, and helper functions for checks.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use azureml_kernel_evaluator::{
    CellError, Evaluator, Event, Events, InputAnswer, MimeBundle, Options, Outcome,
};
use azureml_kernel_helpers::Helpers;

/// A check that uses the shared evaluator.
pub type Check = (&'static str, fn(&mut dyn Evaluator));

/// A check that starts separate evaluators, with a separate cache.
pub type OwnCheck = (&'static str, fn(Engine, &Path));

/// The engine of an evaluator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// The kernel's own: `rustc` for each cell.
    Rustc,
    /// The crate `evcxr`.
    Evcxr,
}

/// The engines; each must pass every check.
const ENGINES: [(Engine, &str); 2] = [(Engine::Rustc, "rustc"), (Engine::Evcxr, "evcxr")];

/// Runs the checks whose names contain the first argument; without an argument, runs all. The
/// checks of `of_rustc` apply only to that engine.
pub fn run(checks: &[Check], own: &[OwnCheck], of_rustc: &[OwnCheck]) {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let filter = arguments.iter().find(|argument| !argument.starts_with('-'));
    let own_of = |engine: &str| {
        let further = if engine == "rustc" { of_rustc } else { &[] };
        own.iter().chain(further)
    };
    let names = |engine: &str| -> Vec<String> {
        checks
            .iter()
            .map(|check| check.0)
            .chain(own_of(engine).map(|check| check.0))
            .map(|name| format!("{engine}::{name}"))
            .filter(|name| filter.is_none_or(|filter| name.contains(filter.as_str())))
            .collect()
    };
    if arguments.iter().any(|argument| argument == "--list") {
        for (_, engine) in ENGINES {
            for name in names(engine) {
                println!("{name}: test");
            }
        }
        return;
    }
    let cache = tempfile::tempdir().expect("a temporary folder");
    let mut failed = Vec::new();
    let mut count = 0;
    let mut judge = |name: &str, check: &mut dyn FnMut()| {
        let begin = Instant::now();
        let passed = catch_unwind(AssertUnwindSafe(check)).is_ok();
        let verdict = if passed { "ok" } else { "FAILED" };
        println!(
            "test {name} ... {verdict} ({:.2} s)",
            begin.elapsed().as_secs_f32()
        );
        count += 1;
        if !passed {
            failed.push(name.to_owned());
        }
    };
    for (engine, engine_name) in ENGINES {
        let wanted = names(engine_name);
        let name_of = |name: &str| {
            Some(format!("{engine_name}::{name}")).filter(|name| wanted.contains(name))
        };
        let mut evaluator = None;
        for (name, check) in checks {
            if let Some(name) = name_of(name) {
                let evaluator = evaluator.get_or_insert_with(|| start(engine, cache.path()));
                judge(&name, &mut || check(&mut **evaluator));
            }
        }
        drop(evaluator);
        for (name, check) in own_of(engine_name) {
            if let Some(name) = name_of(name) {
                judge(&name, &mut || check(engine, cache.path()));
            }
        }
    }
    // Same format as Rust's test harness, so that tools can add up the results.
    println!(
        "\ntest result: {}. {} passed; {} failed; 0 ignored; 0 measured; 0 filtered out",
        if failed.is_empty() { "ok" } else { "FAILED" },
        count - failed.len(),
        failed.len()
    );
    if !failed.is_empty() {
        eprintln!("failed: {}", failed.join(", "));
        std::process::exit(1);
    }
}

/// Starts an evaluator with this cache.
pub fn start(engine: Engine, cache: &Path) -> Box<dyn Evaluator> {
    start_with(engine, cache, None)
}

/// Starts an evaluator with this cache and these helper crates.
pub fn start_with(engine: Engine, cache: &Path, helpers: Option<&Helpers>) -> Box<dyn Evaluator> {
    let mut options = Options::default();
    options.code_intelligence = std::env::current_exe().ok();
    options.cache = Some(cache.to_owned());
    options.helpers = helpers.map(|helpers| helpers.folder().to_owned());
    let started = match engine {
        Engine::Rustc => azureml_kernel_evaluator::start(options),
        Engine::Evcxr => azureml_kernel_evcxr::start(options),
    };
    started.expect("the evaluator starts")
}

/// Records the events of a cell in order; replies to input requests with the next answer.
#[derive(Debug, Default)]
pub struct Recorder {
    seen: Mutex<Vec<String>>,
    changed: Condvar,
    answers: Mutex<Vec<InputAnswer>>,
}

impl Recorder {
    /// A recorder that replies with these lines.
    pub fn answering(lines: &[&str]) -> Self {
        Self::giving(
            lines
                .iter()
                .map(|line| InputAnswer::Line((*line).to_owned())),
        )
    }

    /// A recorder that replies with these answers.
    pub fn giving(answers: impl DoubleEndedIterator<Item = InputAnswer>) -> Self {
        Self {
            answers: Mutex::new(answers.rev().collect()),
            ..Self::default()
        }
    }

    /// Returns the events. Consecutive text of one stream is one entry; every other event is one
    /// entry.
    pub fn seen(&self) -> Vec<String> {
        self.seen
            .lock()
            .expect("no check panics while it holds this")
            .clone()
    }

    /// Returns the text of one stream, `out` or `err`.
    pub fn text(&self, stream: &str) -> String {
        let prefix = format!("{stream}:");
        self.seen()
            .iter()
            .filter_map(|entry| entry.strip_prefix(&prefix))
            .collect()
    }

    /// Waits until the text has been shown.
    pub fn wait_for(&self, text: &str) {
        let seen = self
            .seen
            .lock()
            .expect("no check panics while it holds this");
        let (_seen, limit) = self
            .changed
            .wait_timeout_while(seen, Duration::from_mins(1), |seen| {
                !seen.iter().any(|entry| entry.contains(text))
            })
            .expect("no check panics while it holds this");
        assert!(!limit.timed_out(), "`{text}` was not shown");
    }

    fn add(&self, kind: &str, text: &str) {
        let mut seen = self
            .seen
            .lock()
            .expect("no check panics while it holds this");
        let prefix = format!("{kind}:");
        match seen.last_mut() {
            Some(last) if last.starts_with(&prefix) && kind.len() == 3 => last.push_str(text),
            _ => seen.push(prefix + text),
        }
        self.changed.notify_all();
    }
}

impl Events for Recorder {
    fn emit(&self, event: Event) {
        let json = |data: MimeBundle| serde_json::to_string(&data).expect("a bundle is JSON");
        match event {
            Event::Stdout(text) => self.add("out", &text),
            Event::Stderr(text) => self.add("err", &text),
            Event::Display { data, id } => {
                let id = if id.is_some() { " with id" } else { "" };
                self.add("display", &(json(data) + id));
            }
            Event::UpdateDisplay { data, .. } => self.add("update", &json(data)),
            Event::ClearOutput { wait } => self.add("clear", &wait.to_string()),
            Event::Comm(message) => self.add("comm", &message.comm_id),
            Event::Input {
                prompt,
                password,
                reply,
            } => {
                self.add(
                    "input",
                    &format!("{prompt}{}", if password { " (hidden)" } else { "" }),
                );
                // Without an answer the sender is dropped, as by a front end that does not support
                // input.
                if let Some(answer) = self
                    .answers
                    .lock()
                    .expect("no check panics while it holds this")
                    .pop()
                {
                    reply
                        .send(answer)
                        .expect("the evaluator waits for the answer");
                }
            }
        }
    }
}

/// Runs a cell and interrupts it `presses` times after it has printed `ready`.
pub fn stop_when_ready(
    evaluator: &mut dyn Evaluator,
    code: &str,
    presses: usize,
    recorder: &Recorder,
) -> Outcome {
    let interrupt = evaluator.interrupter();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            recorder.wait_for("ready");
            for _ in 0..presses {
                interrupt();
            }
        });
        evaluator.execute(code, recorder)
    })
}

/// Runs a cell that must succeed; returns its events, and its value as text.
pub fn ok(evaluator: &mut dyn Evaluator, code: &str) -> (Vec<String>, Option<String>) {
    let (seen, value) = ok_bundle(evaluator, code);
    let text = value.map(|value| {
        value["text/plain"]
            .as_str()
            .expect("plain text is text")
            .to_owned()
    });
    (seen, text)
}

/// Runs a cell that must succeed; returns its events, and its value in all representations.
pub fn ok_bundle(evaluator: &mut dyn Evaluator, code: &str) -> (Vec<String>, Option<MimeBundle>) {
    let recorder = Recorder::default();
    match evaluator.execute(code, &recorder) {
        Outcome::Ok(value) => (recorder.seen(), value),
        Outcome::Error(error) => panic!(
            "`{code}` failed: {}\nshown: {:?}",
            plain(&error),
            recorder.seen()
        ),
    }
}

/// Returns the value of a cell that must produce no events.
pub fn value(evaluator: &mut dyn Evaluator, code: &str) -> String {
    let (seen, value) = ok(evaluator, code);
    assert_eq!(seen, [""; 0], "`{code}` showed something");
    value.unwrap_or_default()
}

/// Runs a cell that must fail; returns its events and the error.
pub fn error(evaluator: &mut dyn Evaluator, code: &str) -> (Vec<String>, CellError) {
    let recorder = Recorder::default();
    match evaluator.execute(code, &recorder) {
        Outcome::Error(error) => (recorder.seen(), error),
        Outcome::Ok(value) => panic!("`{code}` succeeded: {value:?}"),
    }
}

/// Returns the traceback without colours.
pub fn plain(error: &CellError) -> String {
    let mut text = String::new();
    let mut rest = error.traceback.join("\n");
    while let Some(start) = rest.find("\x1b[") {
        text.push_str(&rest[..start]);
        let end = rest[start..]
            .find('m')
            .map_or(rest.len(), |end| start + end + 1);
        rest = rest[end..].to_owned();
    }
    text + &rest
}

/// Writes a file; creates its parent folders.
pub fn write(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().expect("it has one")).expect("the folder is ours");
    std::fs::write(path, text).expect("the folder is ours");
}
