//! Runs programs: their output in a log file, their last line as the step's status.

use crate::error::{Error, Result};
use crate::libtorch;
use crate::place;
use crate::report::Step;
use std::collections::VecDeque;
use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many lines of a program that failed are shown.
const TAIL: usize = 25;

/// The programs that run for a command, so that one step's failure can end those of the others.
#[derive(Clone, Default)]
pub struct Running(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    stopped: bool,
    children: Vec<Arc<Mutex<Child>>>,
}

impl Running {
    /// Ends all of them; none starts any more.
    pub fn stop(&self) {
        let mut state = self.state();
        state.stopped = true;
        for child in state.children.drain(..) {
            // It may have ended by itself.
            let _ = child.lock().unwrap_or_else(PoisonError::into_inner).kill();
        }
    }

    /// Whether they have been stopped.
    pub fn stopped(&self) -> bool {
        self.state().stopped
    }

    /// Starts one; `None` when they have been stopped.
    fn start(&self, command: &mut Command) -> io::Result<Option<Arc<Mutex<Child>>>> {
        let mut state = self.state();
        if state.stopped {
            return Ok(None);
        }
        let child = Arc::new(Mutex::new(command.spawn()?));
        state.children.push(Arc::clone(&child));
        Ok(Some(child))
    }

    /// Waits for the end of one that has closed its output.
    fn wait(&self, child: &Arc<Mutex<Child>>) -> io::Result<ExitStatus> {
        let status = child.lock().unwrap_or_else(PoisonError::into_inner).wait();
        let mut state = self.state();
        state.children.retain(|other| !Arc::ptr_eq(other, child));
        status
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A list of processes is whole after a panic, too.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A program with an empty standard input, and without what cargo told us about our own package: it must not matter that
/// cargo started us. Nor is it told of a libtorch: there is one, and everybody looks for it where `libtorch::provide` has
/// put the link.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null());
    for (name, _) in env::vars_os() {
        if is_ours(&name) {
            command.env_remove(name);
        }
    }
    if let Some(paths) = env::var_os("LD_LIBRARY_PATH") {
        // Cargo adds the build folder and the toolchain; what it starts must find its libraries without them.
        let kept: Vec<PathBuf> = env::split_paths(&paths)
            .filter(|path| !is_cargos(path))
            .collect();
        match env::join_paths(kept) {
            Ok(kept) if !kept.is_empty() => command.env("LD_LIBRARY_PATH", kept),
            _ => command.env_remove("LD_LIBRARY_PATH"),
        };
    }
    command
}

/// The cargo that started us, or the one on the `PATH`.
pub fn cargo() -> Command {
    let mut cargo = command(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(place::root());
    cargo
}

fn is_ours(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    [
        "CARGO_PKG_",
        "CARGO_MANIFEST_",
        "CARGO_BIN_",
        "CARGO_CRATE_",
        "CARGO_PRIMARY_",
    ]
    .iter()
    .any(|prefix| name.starts_with(prefix))
        || libtorch::VARIABLES.contains(&&*name)
}

fn is_cargos(path: &Path) -> bool {
    path.starts_with(place::target()) || path.ends_with("lib") && path.join("rustlib").is_dir()
}

/// Runs a program to its end. Its output goes to `target/logs/{log}.log`, its last line becomes the step's status.
pub fn run(step: &Step, log: &str, command: Command) -> Result<()> {
    follow(step.running(), log, command, |line| {
        step.status(&status(line));
    })
}

/// Runs a program to its end and gives each line to `each` as well as to the log.
pub fn follow(
    running: &Running,
    log: &str,
    mut command: Command,
    mut each: impl FnMut(&str),
) -> Result<()> {
    let program = PathBuf::from(command.get_program());
    let path = place::logs().join(format!("{log}.log"));
    let mut file = create(&path)?;
    let started = |source| Error::Start {
        program: program.clone(),
        source,
    };
    writeln!(file, "{}", shown(&command)).map_err(Error::io("write to", &path))?;
    let (mut output, input) = io::pipe().map_err(started)?;
    let errors = input.try_clone().map_err(started)?;
    command.stdout(input).stderr(errors);
    let Some(child) = running.start(&mut command).map_err(started)? else {
        return Err(Error::Stopped);
    };
    // It holds our copies of the pipe's other end, and the pipe ends only when nobody does.
    drop(command);

    let mut tail = VecDeque::new();
    let mut lines = Lines::default();
    let mut buffer = [0; 8192];
    loop {
        let (read, at_end) = match output.read(&mut buffer) {
            Ok(0) => (lines.end(), true),
            Ok(count) => (lines.feed(&buffer[..count]), false),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Error::io("read the output for", &path)(error)),
        };
        for line in read {
            if line.complete {
                writeln!(file, "{}", line.text).map_err(Error::io("write to", &path))?;
                if tail.len() == TAIL {
                    tail.pop_front();
                }
                tail.push_back(line.text.clone());
            }
            if !line.text.trim().is_empty() {
                each(&line.text);
            }
        }
        if at_end {
            break;
        }
    }
    let status = running.wait(&child).map_err(started)?;
    if status.success() {
        return Ok(());
    }
    if running.stopped() {
        return Err(Error::Stopped);
    }
    Err(Error::Failed {
        program: program
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned(),
        status: status.to_string(),
        tail: tail.into(),
        log: path,
    })
}

/// What a short, quiet program says on standard output; `None` when it cannot be run or fails.
pub fn ask(mut command: Command) -> Option<String> {
    let output = command.stderr(Stdio::null()).output().ok()?;
    let said = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| said.trim().to_owned())
}

/// Whether there is such a program on the `PATH`.
pub fn on_path(program: &str) -> bool {
    let paths = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&paths).any(|folder| folder.join(program).is_file())
}

/// Creates a file and the folders above it.
pub fn create(path: &Path) -> Result<File> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
    }
    File::create(path).map_err(Error::io("create", path))
}

fn shown(command: &Command) -> String {
    let words: Vec<OsString> = [command.get_program()]
        .into_iter()
        .chain(command.get_args())
        .map(OsStr::to_owned)
        .collect();
    let words: Vec<String> = words
        .iter()
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    format!("$ {}", words.join(" "))
}

/// A line as a status: cargo's progress bar without the bar, and no colours.
fn status(line: &str) -> String {
    let line = line.trim();
    match line.split_once('[').zip(line.split_once("] ")) {
        Some((("Building ", _), (_, rest))) => format!("building {rest}"),
        _ => line.to_owned(),
    }
}

/// Cuts bytes into lines; a carriage return ends a line that will be rewritten.
#[derive(Default)]
struct Lines {
    rest: Vec<u8>,
}

struct Line {
    text: String,
    complete: bool,
}

impl Lines {
    fn feed(&mut self, bytes: &[u8]) -> Vec<Line> {
        let mut lines = Vec::new();
        for &byte in bytes {
            match byte {
                b'\n' => lines.push(self.take(true)),
                b'\r' => lines.push(self.take(false)),
                _ => self.rest.push(byte),
            }
        }
        lines
    }

    /// What came last, without the end of its line.
    fn end(&mut self) -> Vec<Line> {
        if self.rest.is_empty() {
            Vec::new()
        } else {
            vec![self.take(true)]
        }
    }

    fn take(&mut self, complete: bool) -> Line {
        let text = plain(&String::from_utf8_lossy(&self.rest));
        self.rest.clear();
        Line { text, complete }
    }
}

/// Text without ANSI escape sequences.
pub fn plain(text: &str) -> String {
    let mut parts = text.split("\u{1b}[");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        if let Some(end) = part.find(|c: char| c.is_ascii_alphabetic()) {
            plain.push_str(&part[end + 1..]);
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_whole_and_without_colours() {
        let mut lines = Lines::default();
        let mut seen = Vec::new();
        for bytes in [&b"one\ntw"[..], b"o\r\x1b[32mthr", b"ee\x1b[0m\nfour"] {
            seen.extend(
                lines
                    .feed(bytes)
                    .into_iter()
                    .map(|line| (line.text, line.complete)),
            );
        }
        seen.extend(
            lines
                .end()
                .into_iter()
                .map(|line| (line.text, line.complete)),
        );
        assert!(lines.end().is_empty());
        let expected = [
            ("one", true),
            ("two", false),
            ("three", true),
            ("four", true),
        ];
        assert_eq!(
            seen,
            expected.map(|(text, complete)| (text.to_owned(), complete))
        );
    }

    #[test]
    fn cargos_progress_is_short() {
        assert_eq!(
            status("    Building [=====>      ] 120/493: ra_ap_hir"),
            "building 120/493: ra_ap_hir"
        );
        assert_eq!(
            status("Collecting torch==2.11.0 [x] y"),
            "Collecting torch==2.11.0 [x] y"
        );
    }
}
