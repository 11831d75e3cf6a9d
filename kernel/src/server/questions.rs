//! The thread that answers code queries (completion, inspection) in parallel to the thread that
//! runs cells.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::channel::Request;
use super::handlers::beside;
use super::kernel::Kernel;
use super::replies;
use crate::protocol::content::CursorRequest;

/// Stack size for parsing deeply nested code, in bytes. It reserves address space; memory is only
/// used on demand.
const STACK: usize = 256 << 20;

/// A code query.
pub enum Question {
    /// Completion at a cursor.
    Complete(CursorRequest),
    /// Documentation of the item at a cursor.
    Inspect(CursorRequest),
}

/// The queue of the thread.
pub struct Questions {
    ask: Mutex<Option<Sender<(Request, Question)>>>,
    asked: Mutex<Option<Receiver<(Request, Question)>>>,
}

impl Default for Questions {
    fn default() -> Self {
        let (ask, asked) = channel();
        Self {
            ask: Mutex::new(Some(ask)),
            asked: Mutex::new(Some(asked)),
        }
    }
}

impl Questions {
    /// Queues a query.
    pub fn ask(&self, request: Request, question: Question) {
        if let Some(ask) = &*lock(&self.ask) {
            // Fails only when the thread has ended with the kernel.
            let _ = ask.send((request, question));
        }
    }

    /// Ends the thread.
    pub fn close(&self) {
        lock(&self.ask).take();
    }
}

/// Starts the thread.
pub fn start(kernel: Arc<Kernel>) {
    let Some(asked) = lock(&kernel.questions.asked).take() else {
        return;
    };
    let started = std::thread::Builder::new()
        .name("questions".to_owned())
        .stack_size(STACK)
        .spawn(move || {
            for (request, question) in asked {
                beside(&kernel, &request, || {
                    // Set as soon as the evaluator has started or failed to start.
                    let analyst = kernel.analyst.wait();
                    request.reply(&match &question {
                        Question::Complete(asked) => {
                            replies::complete(&analyst.complete(&asked.code, asked.cursor()))
                        }
                        Question::Inspect(asked) => {
                            replies::inspect(analyst.inspect(&asked.code, asked.cursor()))
                        }
                    });
                });
            }
        });
    if let Err(error) = started {
        tracing::error!(%error, "questions about code are not answered");
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
