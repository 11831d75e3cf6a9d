//! The queue of the evaluator: waiting work, and whether a cell is running.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use azureml_kernel_evaluator::CellError;

use super::debugger::VariablesRequest;
use super::request::Request;
use crate::protocol::content::{ExecuteRequest, HistoryRequest};

/// Work for the evaluator's thread.
pub enum Work {
    /// Runs a cell.
    Execute(ExecuteRequest),
    /// Fails a cell that cannot be run, in the order of the queue.
    Refuse(CellError),
    /// Lists earlier cells; queued so that the reply includes the cells before it.
    History(HistoryRequest),
    /// Returns the variables with their values.
    Variables(VariablesRequest),
}

impl Work {
    /// Whether it runs user code and can therefore require an interrupt.
    fn runs_code(&self) -> bool {
        self.is_cell() || matches!(self, Self::Variables(_))
    }

    fn is_cell(&self) -> bool {
        matches!(self, Self::Execute(_) | Self::Refuse(_))
    }
}

/// One entry of the queue.
pub struct Job {
    /// The request.
    pub request: Request,
    /// The work.
    pub work: Work,
}

/// The queue of the evaluator.
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
    /// Appends work.
    pub fn push(&self, request: Request, work: Work) {
        self.lock().waiting.push_back(Job { request, work });
        self.changed.notify_one();
    }

    /// Waits for the next job and removes it; `None` when the queue is closed. A cell counts as
    /// running until [`cell_ended`](Self::cell_ended).
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

    /// Records that the running cell has ended.
    pub fn cell_ended(&self) {
        self.lock().cell_runs = false;
    }

    /// Whether a cell is running or waiting.
    pub fn has_cells(&self) -> bool {
        let state = self.lock();
        state.cell_runs || state.waiting.iter().any(|job| job.work.is_cell())
    }

    /// Removes the waiting cells of one shell; other work stays in the queue.
    pub fn take_cells_of(&self, shell: Option<&str>) -> Vec<Request> {
        take(&mut self.lock(), |job| {
            job.work.is_cell() && job.request.message.header.subshell_id.as_deref() == shell
        })
    }

    /// Removes the waiting cells of all shells; `None` if a cell is running.
    pub fn take_cells_unless_one_runs(&self) -> Option<Vec<Request>> {
        let mut state = self.lock();
        (!state.cell_runs).then(|| take_cells(&mut state))
    }

    /// Closes the queue: waiting work is no longer processed.
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
