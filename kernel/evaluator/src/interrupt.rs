//! The stop button: what runs is asked first, then killed; what is compiled is killed.

use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal};

use crate::Interrupter;
use crate::programs::{children, stop_each};
use crate::stream::{Shared, State};

/// How long a cell or callback may take to stop by itself.
pub(crate) const GRACE: Duration = Duration::from_secs(3);

/// The programs with which cells are compiled, and the shell of `!` lines. Nothing else that this process has started is stopped.
const COMPILING: &[&str] = &["cargo", "rustc", "rustup", "mold", "sh"];

/// A handle that stops the running cell.
pub(crate) fn interrupter(shared: &Arc<Shared>) -> Interrupter {
    let shared = Arc::clone(shared);
    Arc::new(move || interrupt(&shared))
}

fn interrupt(shared: &Arc<Shared>) {
    let (running, again, run) = {
        let mut state = shared.lock();
        if !state.busy {
            return;
        }
        let again = std::mem::replace(&mut state.interrupted, true);
        (state.process.filter(|_| state.running), again, state.runs)
    };
    let Some(process) = running else {
        stop_compiling();
        return;
    };
    if again {
        stop_group(process, Signal::KILL);
        return;
    }
    // What the cell waits for ends, or a handler of user code is asked; variables stay.
    stop_group(process, Signal::INT);
    let shared = Arc::clone(shared);
    let insist = move || {
        let stopped = |state: &State| !state.running || state.runs != run;
        if !shared.wait(GRACE, stopped) {
            stop_group(process, Signal::KILL);
        }
    };
    std::thread::Builder::new()
        .name("interrupt".to_owned())
        .spawn(insist)
        .ok();
}

/// Sends a signal to the cell process and to the programs that it has started, as a terminal does.
pub(crate) fn stop_group(process: Pid, signal: Signal) {
    rustix::process::kill_process_group(process, signal).ok();
}

/// Kills the compiler, if one runs for this process.
fn stop_compiling() {
    let compilers = children(rustix::process::getpid(), |name| COMPILING.contains(&name));
    stop_each(compilers, Signal::KILL);
}

/// The programs that a cell process has started, and whatever those have started.
pub(crate) fn programs_of(process: Pid) -> Vec<Pid> {
    children(process, |_| true)
}
