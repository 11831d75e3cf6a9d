//! The queue to the evaluator, and which of its cells are aborted.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc;

use super::channel::Request;
use crate::protocol::content::{CursorRequest, ExecuteRequest, HistoryRequest};

/// Work for the evaluator's thread.
pub enum Work {
    /// Run a cell.
    Execute(ExecuteRequest),
    /// Complete at a cursor.
    Complete(CursorRequest),
    /// Describe what stands at a cursor.
    Inspect(CursorRequest),
    /// List earlier cells; waits in the queue so that it knows the cells before it.
    History(HistoryRequest),
}

/// One entry of the queue.
pub struct Job {
    /// Grows by one with each job.
    pub number: u64,
    /// Who asked.
    pub request: Request,
    /// What for.
    pub work: Work,
}

/// The end of the queue that jobs are put into.
pub struct Queue {
    jobs: Mutex<mpsc::Sender<Job>>,
    last: AtomicU64,
    aborted: AtomicU64,
    closed: AtomicBool,
    cells: AtomicUsize,
}

/// A new queue.
pub fn channel() -> (Queue, mpsc::Receiver<Job>) {
    let (jobs, receiver) = mpsc::channel();
    let queue = Queue {
        jobs: Mutex::new(jobs),
        last: AtomicU64::new(0),
        aborted: AtomicU64::new(0),
        closed: AtomicBool::new(false),
        cells: AtomicUsize::new(0),
    };
    (queue, receiver)
}

impl Queue {
    /// Puts work at the end.
    pub fn push(&self, request: Request, work: Work) {
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        let number = self.last.fetch_add(1, Ordering::SeqCst) + 1;
        if matches!(work, Work::Execute(_)) {
            self.cells.fetch_add(1, Ordering::SeqCst);
        }
        // The thread at the other end only ends with the kernel.
        let _ = jobs.send(Job {
            number,
            request,
            work,
        });
    }

    /// Whether a cell runs or waits.
    pub fn has_cells(&self) -> bool {
        self.cells.load(Ordering::SeqCst) > 0
    }

    /// Takes over a cell, which runs until the answer is dropped.
    pub fn running_cell(&self) -> RunningCell<'_> {
        RunningCell { queue: self }
    }

    /// Aborts the cells that wait now; later ones run.
    pub fn abort_waiting(&self) {
        self.aborted
            .store(self.last.load(Ordering::SeqCst), Ordering::SeqCst);
    }

    /// Whether a cell with this number was aborted.
    pub fn is_aborted(&self, number: u64) -> bool {
        number <= self.aborted.load(Ordering::SeqCst)
    }

    /// Ends the queue: what waits is not worked on any more.
    pub fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        // Wakes the thread that may wait for the next job.
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        *jobs = mpsc::channel().0;
    }

    /// Whether the queue has ended.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }
}

/// A cell that runs.
pub struct RunningCell<'a> {
    queue: &'a Queue,
}

impl Drop for RunningCell<'_> {
    fn drop(&mut self) {
        self.queue.cells.fetch_sub(1, Ordering::SeqCst);
    }
}
