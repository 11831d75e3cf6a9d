//! Execution of programs: their output goes to a log file, their last line is the step's status.

use crate::error::{Error, Result};
use crate::libtorch;
use crate::place;
use crate::report::Step;
use crate::running::Running;
use std::collections::VecDeque;
use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Number of lines of a failed program's output that are shown.
const TAIL: usize = 25;

/// Creates a command with an empty standard input and without the variables that cargo set for this
/// package, so that the result does not depend on being started by cargo. The variables of libtorch
/// are removed too: all programs find it through the link created by `libtorch::provide`.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null());
    for (name, _) in env::vars_os() {
        if is_ours(&name) {
            command.env_remove(name);
        }
    }
    if let Some(paths) = env::var_os("LD_LIBRARY_PATH") {
        // Cargo adds the build folder and the toolchain to this path; started programs must find
        // their libraries without them.
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

/// Returns the cargo that started this program, or the one on `PATH`.
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

/// Runs a program and waits for its end. Its output goes to `target/logs/{log}.log`, its last line
/// becomes the step's status.
pub fn run(step: &Step, log: &str, command: Command) -> Result<()> {
    follow(step.running(), log, command, |line| {
        step.status(&status(line));
    })
}

/// Runs a program and waits for its end; passes each line of its output to `each` and to the log.
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
    // Dropped because it holds the write end of the pipe: reading ends only when all write ends are
    // closed.
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

/// Returns the standard output of a short program; `None` when it cannot be run or fails.
pub fn ask(mut command: Command) -> Option<String> {
    let output = command.stderr(Stdio::null()).output().ok()?;
    let said = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| said.trim().to_owned())
}

/// Whether a program with this name is on `PATH`.
pub fn on_path(program: &str) -> bool {
    let paths = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&paths).any(|folder| folder.join(program).is_file())
}

/// Creates a file and its parent folders.
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

/// Converts a line to a status: without colours and without cargo's progress bar.
fn status(line: &str) -> String {
    let line = line.trim();
    match line.split_once('[').zip(line.split_once("] ")) {
        Some((("Building ", _), (_, rest))) => format!("building {rest}"),
        _ => line.to_owned(),
    }
}

/// Splits bytes into lines; a carriage return ends a line that will be overwritten.
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

    /// Returns the last, unterminated line.
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

/// Removes ANSI escape sequences from a text.
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
