//! The queue to the evaluator: what waits, and whether a cell runs.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use azureml_kernel_evaluator::CellError;

use super::channel::Request;
use super::debugger::Asked;
use crate::protocol::content::{ExecuteRequest, HistoryRequest};

/// Work for the evaluator's thread.
pub enum Work {
    /// Run a cell.
    Execute(ExecuteRequest),
    /// Fail a cell that cannot be run, in its turn.
    Refuse(CellError),
    /// List earlier cells; waits in the queue so that it knows the cells before it.
    History(HistoryRequest),
    /// Show the variables with their values.
    Variables(Asked),
}

impl Work {
    /// Whether it runs the user's code, and so may have to be stopped.
    fn runs_code(&self) -> bool {
        self.is_cell() || matches!(self, Self::Variables(_))
    }

    fn is_cell(&self) -> bool {
        matches!(self, Self::Execute(_) | Self::Refuse(_))
    }
}

/// One entry of the queue.
pub struct Job {
    /// Who asked.
    pub request: Request,
    /// What for.
    pub work: Work,
}

/// The queue.
#[derive(Default)]
pub struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Job>,
    cell_runs: bool,
    closed: bool,
}

impl Queue {
    /// Puts work at the end.
    pub fn push(&self, request: Request, work: Work) {
        self.lock().waiting.push_back(Job { request, work });
        self.changed.notify_one();
    }

    /// Waits for the next job and takes it; `None` once the queue is closed. A cell runs until [`cell_ended`](Self::cell_ended).
    pub fn next(&self) -> Option<Job> {
        let mut state = self
            .changed
            .wait_while(self.lock(), |state| {
                state.waiting.is_empty() && !state.closed
            })
            .unwrap_or_else(PoisonError::into_inner);
        if state.closed {
            return None;
        }
        let job = state.waiting.pop_front()?;
        state.cell_runs = job.work.runs_code();
        Some(job)
    }

    /// The cell that was taken is over.
    pub fn cell_ended(&self) {
        self.lock().cell_runs = false;
    }

    /// Whether a cell runs or waits.
    pub fn has_cells(&self) -> bool {
        let state = self.lock();
        state.cell_runs || state.waiting.iter().any(|job| job.work.is_cell())
    }

    /// Takes the cells of one shell that wait; what else waits goes on waiting.
    pub fn take_cells_of(&self, shell: Option<&str>) -> Vec<Request> {
        take(&mut self.lock(), |job| {
            job.work.is_cell() && job.request.message.header.subshell_id.as_deref() == shell
        })
    }

    /// Takes the cells of all shells that wait, unless one runs: then `None`.
    pub fn take_cells_unless_one_runs(&self) -> Option<Vec<Request>> {
        let mut state = self.lock();
        (!state.cell_runs).then(|| take_cells(&mut state))
    }

    /// Ends the queue: what waits is not worked on any more.
    pub fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn take_cells(state: &mut State) -> Vec<Request> {
    take(state, |job| job.work.is_cell())
}

fn take(state: &mut State, wanted: impl Fn(&Job) -> bool) -> Vec<Request> {
    let all = std::mem::take(&mut state.waiting);
    let (taken, others): (VecDeque<_>, _) = all.into_iter().partition(wanted);
    state.waiting = others;
    taken.into_iter().map(|job| job.request).collect()
}
