//! Errors of cells that do not run to their end.

use crate::report;
use crate::{CellError, MimeBundle, Variable};

/// Part of the error message of blocking calls in an interrupted cell: the number of `ECANCELED`.
pub(crate) const CANCELED: &str = "(os error 125)";

/// The error of a cell that was interrupted before its code ran.
pub fn stopped() -> CellError {
    let mut error = report::message("Interrupted", "the cell was stopped");
    error
        .traceback
        .push("nothing of it has run; all variables are still there".to_owned());
    error
}

/// Whether a value is `()`, the value of a call that returns none.
pub(crate) fn is_unit(value: &MimeBundle) -> bool {
    value.len() == 1 && value.get("text/plain").is_some_and(|text| text == "()")
}

/// The error for a panic in the evaluator; the kernel continues.
pub fn evaluator_panicked() -> CellError {
    let mut error = report::message("KernelError", "the evaluator failed on this cell");
    error
        .traceback
        .push("hint: write it differently; if other cells fail too, restart the kernel".to_owned());
    error
}

/// The hint for restoring lost variables.
const REPLAY: &str = "hint: `:replay` runs the cells again that made them; definitions and dependencies are still there";

/// The cause of death when the user has killed the process because of a stuck callback.
pub const CALLBACK_STUCK: &str = "the stop button";

/// The error for a cell process that has ended, with its variables. `replays` is true when the
/// evaluator supports `:replay`.
pub fn process_died(
    how: &str,
    load_error: Option<&str>,
    lost: &[Variable],
    replays: bool,
) -> CellError {
    let what = match (load_error, how) {
        (Some(reason), _) => format!("the compiled cell could not be loaded: {reason}"),
        (None, CALLBACK_STUCK) => {
            "the stop button has ended the process of the cells before this one, with the callback of a widget that did not stop".to_owned()
        }
        (None, "exit status: 0") => "the cell ended its process (exit code 0)".to_owned(),
        (None, how) if how.starts_with("exit status: ") => {
            format!(
                "the cell ended its process with exit code {}",
                &how["exit status: ".len()..]
            )
        }
        (None, how) => {
            let signal = how.trim_start_matches("signal: ");
            let meaning = SIGNALS
                .iter()
                .find(|(name, _)| signal.contains(name))
                .map(|(_, meaning)| format!(": {meaning}"))
                .unwrap_or_default();
            format!("the cell's process was ended by {signal}{meaning}")
        }
    };
    let mut error = report::message("ProcessDied", &what);
    error.traceback.push(lost_variables(lost));
    error.traceback.push(way_back(lost, replays).to_owned());
    error
}

/// The usual causes of signals.
const SIGNALS: &[(&str, &str)] = &[
    (
        "SIGSEGV",
        "memory was used that is not there (`unsafe` code, or a library in C)",
    ),
    (
        "SIGBUS",
        "memory was used that is not there (`unsafe` code, or a mapped file that became shorter)",
    ),
    ("SIGILL", "an instruction that the processor does not know"),
    ("SIGFPE", "an impossible computation in a library in C"),
    (
        "SIGABRT",
        "it gave up, as on `abort`, on a stack overflow or on a panic within a panic",
    ),
    (
        "SIGKILL",
        "killed from outside, most often because memory ran out",
    ),
];

fn way_back(lost: &[Variable], replays: bool) -> &'static str {
    if replays && !lost.is_empty() {
        REPLAY
    } else {
        "hint: the kernel goes on with a new process; definitions and dependencies are still there"
    }
}

fn lost_variables(lost: &[Variable]) -> String {
    if lost.is_empty() {
        return "no variables were lost".to_owned();
    }
    let names: Vec<_> = lost
        .iter()
        .map(|variable| format!("`{}`", variable.name))
        .collect();
    format!("variables that were lost: {}", names.join(", "))
}

/// The error of an interrupted cell; `error` is the error that ended it.
pub fn interrupted_error(error: &CellError, variables: &[Variable], replays: bool) -> CellError {
    let mut interrupted = report::message("Interrupted", "the cell was stopped");
    if error.ename == "ProcessDied" {
        interrupted.traceback.push(lost_variables(variables));
        if !variables.is_empty() {
            interrupted
                .traceback
                .push(way_back(variables, replays).to_owned());
        }
        return interrupted;
    }
    interrupted
        .traceback
        .push("variables are still there".to_owned());
    if (error.ename == "Error" || error.ename == "Panic") && !error.evalue.contains(CANCELED) {
        // The cell has detected the interrupt itself and returned its own error.
        interrupted
            .traceback
            .extend(error.traceback.iter().cloned());
    }
    interrupted
}
