//! What the channels share.

use std::sync::{Arc, OnceLock};

use azureml_kernel_evaluator::{Completeness, Interrupter};
use tokio::sync::watch;

use super::activity::Activity;
use super::lifetime::End;
use super::queue::Queue;
use super::stdin::Stdin;
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
    /// What the evaluator works on.
    pub activity: Activity,
    /// Stops the running cell, once there is an evaluator.
    pub interrupter: OnceLock<Interrupter>,
    /// Judges whether a cell is complete.
    pub is_complete: fn(&str) -> Completeness,
    /// The version of the language, once it is known.
    pub language_version: watch::Receiver<Option<String>>,
    /// Set when a front end ends the kernel.
    pub ended: watch::Sender<Option<End>>,
}

impl Kernel {
    /// Stops the running cell; returns at once.
    pub fn interrupt(&self) {
        self.stdin.cancel();
        match self.interrupter.get() {
            Some(interrupter) => {
                let interrupter = interrupter.clone();
                // Stopping a process may take a moment, in which control must answer.
                tokio::task::spawn_blocking(move || interrupter());
            }
            // The evaluator still starts: the cells that wait for it are what there is to stop.
            None => self.queue.abort_waiting(),
        }
    }
}
