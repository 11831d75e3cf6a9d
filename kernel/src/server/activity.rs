//! The execution state (`busy` or `idle`) as front ends see it.
//!
//! Requests that do not need the evaluator are answered while a cell runs. Their `idle` would
//! indicate to a front end that the cell has ended. Therefore the `busy` status of the running cell
//! is published again after it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};

use super::request::Request;
use crate::protocol::iopub::IoPub;
use crate::protocol::message::Parent;

/// The request that the evaluator is processing.
#[derive(Default)]
pub struct Activity {
    running: Mutex<Option<Parent>>,
    /// The last request, even if it is done.
    last: Mutex<Option<Parent>>,
}

impl Activity {
    /// Records that the evaluator starts a request, and publishes `busy`.
    pub fn begin(&self, iopub: &IoPub, parent: &Parent) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        iopub.status(Some(parent), "busy");
        *running = Some(parent.clone());
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(parent.clone());
    }

    /// Returns the current or else the last request of the evaluator.
    pub fn last(&self) -> Option<Parent> {
        self.last
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Records that the evaluator has finished its request, and publishes `idle`.
    pub fn end(&self, iopub: &IoPub) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(parent) = running.take() {
            iopub.status(Some(&parent), "idle");
        }
    }

    /// Runs `answer` between `busy` and `idle` without the evaluator; a panic results in an error
    /// reply.
    pub fn beside(&self, iopub: &IoPub, request: &Request, answer: impl FnOnce()) {
        let parent = &request.message.parent;
        iopub.status(Some(parent), "busy");
        if catch_unwind(AssertUnwindSafe(answer)).is_err() {
            request.reply_error(
                "KernelError",
                "the kernel could not answer; its log says why",
            );
        }
        self.end_beside(iopub, parent);
    }

    /// Publishes `idle` for a request that was answered without the evaluator.
    pub fn end_beside(&self, iopub: &IoPub, parent: &Parent) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        iopub.status(Some(parent), "idle");
        if let Some(running) = running.as_ref() {
            iopub.status(Some(running), "busy");
        }
    }
}
