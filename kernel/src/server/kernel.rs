//! The state that the channels share.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use azureml_kernel_evaluator::{Analyst, Completeness, Interrupter};
use tokio::sync::watch;

use super::aborted;
use super::activity::Activity;
use super::code_intelligence::CodeIntelligence;
use super::comm::CommState;
use super::debugger::Debugger;
use super::history::History;
use super::queue::Queue;
use super::request::Request;
use super::stdin::Stdin;
use super::subshells::Subshells;
use crate::protocol::iopub::IoPub;
use crate::protocol::message::Session;

/// The reason for the kernel's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// A front end requested a shutdown.
    Shutdown,
    /// A front end requested a shutdown and restarts the kernel.
    Restart,
    /// SIGTERM or SIGHUP.
    Signal,
    /// The process that started the kernel has ended.
    ParentDied,
}

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
    pub code_intelligence: CodeIntelligence,
    /// The subshells.
    pub subshells: Subshells,
    /// The history of cells.
    pub history: Mutex<History>,
    /// The state of the variable inspector.
    pub debugger: Debugger,
    /// The request that the evaluator is processing.
    pub activity: Arc<Activity>,
    /// The comms between front ends and user code.
    pub comms: Arc<CommState>,
    /// The execution count; only the evaluator's thread changes it.
    pub executed: AtomicU64,
    /// Interrupts the running cell; set when the evaluator has started.
    pub interrupter: OnceLock<Interrupter>,
    /// Answers code queries; set when the evaluator has started.
    pub analyst: Arc<OnceLock<Arc<dyn Analyst>>>,
    /// Decides whether a cell is complete.
    pub is_complete: fn(&str) -> Completeness,
    /// The version of the language; `None` until it is known.
    pub language_version: watch::Receiver<Option<String>>,
    /// Set when a front end ends the kernel.
    pub ended: watch::Sender<Option<End>>,
}

impl Kernel {
    /// Runs `answer` between `busy` and `idle` without the evaluator; a panic results in an error
    /// reply.
    pub fn beside(&self, request: &Request, answer: impl FnOnce()) {
        self.activity.beside(&self.iopub, request, answer);
    }

    /// The execution count of the next cell.
    pub fn next_count(&self) -> u64 {
        self.executed.load(Ordering::SeqCst) + 1
    }

    /// Interrupts the running cell or, while the evaluator is still starting, the waiting cells.
    /// Without cells, interrupts the running comm callback, if there is one. Returns at once.
    pub fn interrupt(&self) {
        self.stdin.cancel();
        if let Some(waiting) = self.queue.take_cells_unless_one_runs() {
            if waiting.is_empty() {
                self.comms.interrupt();
            }
            aborted::interrupt(&self.iopub, &self.activity, self.next_count(), &waiting);
        } else if let Some(interrupter) = self.interrupter.get().cloned() {
            // In the background: an interrupt can take time, during which the control channel must
            // respond.
            tokio::task::spawn_blocking(move || interrupter());
        }
    }
}
