//! The thread that answers what is asked about code, beside the one that runs cells.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::channel::Request;
use super::handlers::beside;
use super::kernel::Kernel;
use super::replies;
use crate::protocol::content::CursorRequest;

/// What parsers of deeply nested code may use. It is address space; memory it becomes only when it is used.
const STACK: usize = 256 << 20;

/// What is asked.
pub enum Question {
    /// Complete at a cursor.
    Complete(CursorRequest),
    /// Describe what stands at a cursor.
    Inspect(CursorRequest),
}

/// The way to the thread.
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
    /// Lets the thread answer.
    pub fn ask(&self, request: Request, question: Question) {
        if let Some(ask) = &*lock(&self.ask) {
            // The thread ends with the kernel.
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
                    // There is one as soon as the evaluator has started, or could not.
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
