//! What the channels share.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, OnceLock};

use azureml_kernel_evaluator::{Analyst, Completeness, Interrupter};
use tokio::sync::watch;

use super::activity::Activity;
use super::comm::CommState;
use super::debugger::Debugger;
use super::history::History;
use super::lifetime::End;
use super::questions::Questions;
use super::queue::Queue;
use super::stdin::Stdin;
use super::subshells::Subshells;
use super::unrun;
use crate::protocol::iopub::IoPub;
use crate::protocol::message::Session;

/// What the channels share.
pub struct Kernel {
    /// Signs and verifies.
    pub session: Arc<Session>,
    /// Broadcasts.
    pub iopub: IoPub,
    /// Asks the front end.
    pub stdin: Stdin,
    /// Leads to the evaluator.
    pub queue: Queue,
    /// Leads to the thread that answers questions about code.
    pub questions: Questions,
    /// The shells beside the main one.
    pub subshells: Subshells,
    /// Earlier cells.
    pub history: Mutex<History>,
    /// What the panel of variables knows.
    pub debugger: Debugger,
    /// What the evaluator works on.
    pub activity: Activity,
    /// The comms between front ends and user code.
    pub comms: CommState,
    /// The number of the last cell that counted; only the evaluator's thread changes it.
    pub executed: AtomicU64,
    /// Stops the running cell, once there is an evaluator.
    pub interrupter: OnceLock<Interrupter>,
    /// Answers questions about code, once there is an evaluator.
    pub analyst: OnceLock<Arc<dyn Analyst>>,
    /// Judges whether a cell is complete.
    pub is_complete: fn(&str) -> Completeness,
    /// The version of the language, once it is known.
    pub language_version: watch::Receiver<Option<String>>,
    /// Set when a front end ends the kernel.
    pub ended: watch::Sender<Option<End>>,
}

impl Kernel {
    /// Stops the running cell or, when the evaluator is not ready for one yet, those that wait. Where there are no cells, stops what runs between
    /// them: the callback of a comm. Returns at once.
    pub fn interrupt(&self) {
        self.stdin.cancel();
        if let Some(waiting) = self.queue.take_cells_unless_one_runs() {
            if waiting.is_empty() {
                self.comms.interrupt();
            }
            unrun::interrupt(self, &waiting);
        } else if let Some(interrupter) = self.interrupter.get().cloned() {
            // Stopping a process may take a moment, in which control must answer.
            tokio::task::spawn_blocking(move || interrupter());
        }
    }
}
