//! The state that the channels share.

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

/// The state that the channels share.
pub struct Kernel {
    /// Signs and verifies messages.
    pub session: Arc<Session>,
    /// Broadcasts messages.
    pub iopub: IoPub,
    /// Requests input from the front end.
    pub stdin: Stdin,
    /// The queue of the evaluator.
    pub queue: Queue,
    /// The queue of the thread that answers code queries.
    pub questions: Questions,
    /// The subshells.
    pub subshells: Subshells,
    /// The history of cells.
    pub history: Mutex<History>,
    /// The state of the variable inspector.
    pub debugger: Debugger,
    /// The request that the evaluator is processing.
    pub activity: Activity,
    /// The comms between front ends and user code.
    pub comms: CommState,
    /// The execution count; only the evaluator's thread changes it.
    pub executed: AtomicU64,
    /// Interrupts the running cell; set when the evaluator has started.
    pub interrupter: OnceLock<Interrupter>,
    /// Answers code queries; set when the evaluator has started.
    pub analyst: OnceLock<Arc<dyn Analyst>>,
    /// Decides whether a cell is complete.
    pub is_complete: fn(&str) -> Completeness,
    /// The version of the language; `None` until it is known.
    pub language_version: watch::Receiver<Option<String>>,
    /// Set when a front end ends the kernel.
    pub ended: watch::Sender<Option<End>>,
}

impl Kernel {
    /// Interrupts the running cell or, while the evaluator is still starting, the waiting cells.
    /// Without cells, interrupts the running comm callback, if there is one. Returns at once.
    pub fn interrupt(&self) {
        self.stdin.cancel();
        if let Some(waiting) = self.queue.take_cells_unless_one_runs() {
            if waiting.is_empty() {
                self.comms.interrupt();
            }
            unrun::interrupt(self, &waiting);
        } else if let Some(interrupter) = self.interrupter.get().cloned() {
            // In the background: an interrupt can take time, during which the control channel must
            // respond.
            tokio::task::spawn_blocking(move || interrupter());
        }
    }
}
