//! Interrupts: running code receives a signal first and is killed later; a compilation is killed.

use std::sync::Arc;

use rustix::process::Signal;

use crate::Interrupter;
use crate::programs::{REACTION, children, stop_each, stop_group};
use crate::stream::{Shared, State};

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
        if !shared.wait(REACTION, stopped) {
            stop_group(process, Signal::KILL);
        }
    };
    std::thread::Builder::new()
        .name("interrupt".to_owned())
        .spawn(insist)
        .ok();
}

/// Kills the compiler processes of this kernel.
fn stop_compiling() {
    let compilers = children(rustix::process::getpid(), |name| COMPILING.contains(&name));
    stop_each(compilers, Signal::KILL);
}
