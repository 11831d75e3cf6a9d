//! Interrupts: running code receives a signal first and is killed later; a compilation is killed.

use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal};

use crate::Interrupter;
use crate::programs::{children, stop_each};
use crate::stream::{Shared, State};

/// Time for a cell or callback to react to the signal.
pub(crate) const GRACE: Duration = Duration::from_secs(3);

/// The programs that compile cells, and the shell of `!` lines. No other child of this process is
/// killed.
const COMPILING: &[&str] = &["cargo", "rustc", "rustup", "mold", "sh"];

/// Returns a handle that interrupts the running cell.
pub fn interrupter(shared: &Arc<Shared>) -> Interrupter {
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
    // Blocking calls of the cell fail, or a handler of user code runs; variables are kept.
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

/// Sends a signal to the process group of the cell process, as a terminal does. The group includes
/// programs that cells have started.
pub(crate) fn stop_group(process: Pid, signal: Signal) {
    rustix::process::kill_process_group(process, signal).ok();
}

/// Kills the compiler processes of this kernel.
fn stop_compiling() {
    let compilers = children(rustix::process::getpid(), |name| COMPILING.contains(&name));
    stop_each(compilers, Signal::KILL);
}

/// Returns the programs that a cell process has started, and all their descendants.
pub(crate) fn programs_of(process: Pid) -> Vec<Pid> {
    children(process, |_| true)
}
