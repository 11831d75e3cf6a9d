//! Error messages of failed jobs: the cause, a hint, and the last lines of the log.

use super::supervisor::{Ended, tail};
use crate::error::{Error, disk_full};
use crate::home::space;
use azureml_wire::error::ErrorResponse;
use serde_json::{Value, json};
use std::path::Path;

/// The failure of a job.
#[derive(Debug, Clone)]
pub struct Failure {
    /// `UserError` if the user can correct it, else `ServiceError`.
    code: &'static str,
    message: String,
    /// Whether files may be truncated.
    disk_full: bool,
}

impl Failure {
    /// A failure that the user can correct.
    pub fn user(message: impl Into<String>) -> Self {
        Self {
            code: "UserError",
            message: message.into(),
            disk_full: false,
        }
    }

    /// A full disk; the message names the affected operation.
    pub fn disk_full(message: impl Into<String>) -> Self {
        Self {
            disk_full: true,
            ..Self::user(message)
        }
    }

    /// A failure of the machine or of the local workspace.
    pub fn system(message: impl Into<String>) -> Self {
        Self {
            code: "ServiceError",
            message: message.into(),
            disk_full: false,
        }
    }

    /// Whether files may be truncated. If so, the job's outputs are not kept.
    pub fn is_disk_full(&self) -> bool {
        self.disk_full
    }

    /// The error body of run history's responses.
    pub fn body(&self) -> Value {
        // Serializing an error response cannot fail.
        serde_json::to_value(ErrorResponse::new(self.code, &self.message)).unwrap_or(json!({}))
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::DiskFull(message) => Self::disk_full(message),
            Error::NotFound { message, .. } | Error::Invalid { message, .. } => Self::user(message),
            other => Self::system(other.to_string()),
        }
    }
}

/// A disk with less free space, in bytes, is full.
const FULL: u64 = 1 << 20;

/// The failure of an ended command; `None` if it succeeded.
pub fn of_command(ended: &Ended, timeout: Option<f64>, log: &Path, home: &Path) -> Option<Failure> {
    if ended.code == Some(0) && !ended.timed_out {
        return None;
    }
    let log_tail = tail(log, 4096);
    let what = if ended.timed_out {
        format!(
            "the command took longer than its limit of {} seconds and was ended",
            timeout.unwrap_or(0.0)
        )
    } else if let Some(signal) = ended.signal {
        format!("the command was ended by signal {}", signal_name(signal))
    } else {
        let code = ended.code.unwrap_or(127);
        // A shell's exit code for a program that a signal has ended.
        match code
            .checked_sub(128)
            .filter(|signal| (1..32).contains(signal))
        {
            Some(signal) => format!(
                "the command exited with code {code}: it was ended by signal {}",
                signal_name(signal)
            ),
            None => format!("the command exited with code {code}"),
        }
    };
    let what = if ended.rank > 0 {
        format!("{what} (process {})", ended.rank)
    } else {
        what
    };
    let full = space(home).is_some_and(|space| space < FULL)
        || ["No space left on device", "os error 28", "File too large", "os error 27", "Disk quota exceeded"]
            .iter()
            .any(|words| log_tail.contains(words))
        // SIGXFSZ: a file exceeded the limit of the user.
        || ended.signal == Some(25)
        || ended.code == Some(128 + 25);
    let head = if ended.timed_out {
        format!("{what}\nhint: give the job a longer limit, or let it do less")
    } else if full {
        disk_full(&what)
    } else {
        let log_name = log.file_name().unwrap_or_default().to_string_lossy();
        format!("{what}\nhint: see user_logs/{log_name}")
    };
    let lines: Vec<&str> = log_tail
        .lines()
        .map(str::trim_end)
        .filter(|line| !line.is_empty())
        .collect();
    let message = if lines.is_empty() {
        format!("{head}\nit wrote no output")
    } else {
        let last = lines[lines.len().saturating_sub(10)..].join("\n");
        format!("{head}\nits last lines:\n{last}")
    };
    Some(Failure {
        disk_full: full,
        ..Failure::user(message)
    })
}

/// The name of a signal, with its number.
fn signal_name(signal: i32) -> String {
    let name = match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        15 => "SIGTERM",
        24 => "SIGXCPU",
        25 => "SIGXFSZ",
        _ => return signal.to_string(),
    };
    let why = match signal {
        9 => ", often for using more memory than there is",
        25 => ", a file grew beyond the allowed size",
        _ => "",
    };
    format!("{name} ({signal}{why})")
}
