//! The thread that replies to code queries (completion, inspection) in parallel to the thread that
//! runs cells.

use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use azureml_kernel_evaluator::Analyst;

use super::activity::Activity;
use super::replies;
use super::request::Request;
use crate::protocol::content::CursorRequest;
use crate::protocol::iopub::IoPub;

/// Stack size for parsing deeply nested code, in bytes. It reserves address space; memory is only
/// used on demand.
const STACK: usize = 256 << 20;

/// A code query.
pub enum CodeQuery {
    /// Completion at a cursor.
    Complete(CursorRequest),
    /// Documentation of the item at a cursor.
    Inspect(CursorRequest),
}

/// The queue of the thread.
pub struct CodeIntelligence {
    queue: Mutex<Option<Sender<(Request, CodeQuery)>>>,
}

impl CodeIntelligence {
    /// Queues a query.
    pub fn push(&self, request: Request, query: CodeQuery) {
        if let Some(queue) = &*self.lock() {
            // Fails only when the thread has ended with the kernel.
            let _ = queue.send((request, query));
        }
    }

    /// Ends the thread.
    pub fn close(&self) {
        self.lock().take();
    }

    fn lock(&self) -> MutexGuard<'_, Option<Sender<(Request, CodeQuery)>>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts the thread; returns its queue. Queries wait until `analyst` is set.
pub fn start(
    iopub: IoPub,
    activity: Arc<Activity>,
    analyst: Arc<OnceLock<Arc<dyn Analyst>>>,
) -> CodeIntelligence {
    let (queue, queries) = channel();
    let started = std::thread::Builder::new()
        .name("code-queries".to_owned())
        .stack_size(STACK)
        .spawn(move || {
            for (request, query) in queries {
                activity.beside(&iopub, &request, || {
                    // Set as soon as the evaluator has started or failed to start.
                    let analyst = analyst.wait();
                    request.reply(&match &query {
                        CodeQuery::Complete(asked) => {
                            replies::complete(&analyst.complete(&asked.code, asked.cursor()))
                        }
                        CodeQuery::Inspect(asked) => {
                            replies::inspect(analyst.inspect(&asked.code, asked.cursor()))
                        }
                    });
                });
            }
        });
    if let Err(error) = started {
        tracing::error!(%error, "the thread for code queries did not start");
    }
    CodeIntelligence {
        queue: Mutex::new(Some(queue)),
    }
}
