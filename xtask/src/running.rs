//! The running programs of a command.

use std::io;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The running programs of a command, so that a failed step can stop those of the other steps.
#[derive(Clone, Default)]
pub struct Running(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    stopped: bool,
    children: Vec<Arc<Mutex<Child>>>,
}

impl Running {
    /// Stops all programs and prevents further starts.
    pub fn stop(&self) {
        let mut state = self.state();
        state.stopped = true;
        for child in state.children.drain(..) {
            // The program may have ended already.
            let _ = child.lock().unwrap_or_else(PoisonError::into_inner).kill();
        }
    }

    /// Whether the programs were stopped.
    pub fn stopped(&self) -> bool {
        self.state().stopped
    }

    /// Starts a program; `None` if the programs were stopped.
    pub fn start(&self, command: &mut Command) -> io::Result<Option<Arc<Mutex<Child>>>> {
        let mut state = self.state();
        if state.stopped {
            return Ok(None);
        }
        let child = Arc::new(Mutex::new(command.spawn()?));
        state.children.push(Arc::clone(&child));
        Ok(Some(child))
    }

    /// Waits for the end of a program that has closed its output.
    pub fn wait(&self, child: &Arc<Mutex<Child>>) -> io::Result<ExitStatus> {
        let status = child.lock().unwrap_or_else(PoisonError::into_inner).wait();
        let mut state = self.state();
        state.children.retain(|other| !Arc::ptr_eq(other, child));
        status
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic cannot leave the list of processes in an inconsistent state.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
