//! Whether a cell runs, as front ends see it.
//!
//! Requests that need no evaluator are answered while a cell runs. Their `idle` would make a front end believe that the cell has
//! ended, so `busy` of the running cell is said once more after it.

use std::sync::{Mutex, PoisonError};

use crate::protocol::iopub::IoPub;
use crate::protocol::message::Parent;

/// The request that the evaluator works on.
#[derive(Default)]
pub struct Activity {
    running: Mutex<Option<Parent>>,
    /// The last request, also when it is done.
    last: Mutex<Option<Parent>>,
}

impl Activity {
    /// The evaluator starts on a request.
    pub fn begin(&self, iopub: &IoPub, parent: &Parent) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        iopub.status(Some(parent), "busy");
        *running = Some(parent.clone());
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(parent.clone());
    }

    /// The request that the evaluator works on, or has worked on last.
    pub fn last(&self) -> Option<Parent> {
        self.last
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The evaluator is done with its request.
    pub fn end(&self, iopub: &IoPub) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(parent) = running.take() {
            iopub.status(Some(&parent), "idle");
        }
    }

    /// A request that was answered beside the evaluator is done.
    pub fn end_beside(&self, iopub: &IoPub, parent: &Parent) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        iopub.status(Some(parent), "idle");
        if let Some(running) = running.as_ref() {
            iopub.status(Some(running), "busy");
        }
    }
}
