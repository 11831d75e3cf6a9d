//! Output of threads that outlive their cell; it is shown below the cell that started them.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use azureml_kernel_evaluator::{Event, Events, LateEvents};
use tokio::runtime::Handle;

use super::output::CellOutput;
use crate::protocol::iopub::IoPub;
use crate::protocol::message::Parent;

/// Number of cells whose requests are remembered.
const KEPT: usize = 1000;

/// Receives the events that arrive between cells.
pub struct Late {
    runtime: Handle,
    iopub: IoPub,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The requests of the last cells, by execution count.
    parents: VecDeque<(u32, Parent)>,
    /// The output of the last event, and its cell.
    open: Option<(Option<u32>, CellOutput)>,
}

impl std::fmt::Debug for Late {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Late").finish_non_exhaustive()
    }
}

impl Late {
    pub fn new(runtime: &Handle, iopub: &IoPub) -> Self {
        Self {
            runtime: runtime.clone(),
            iopub: iopub.clone(),
            state: Mutex::default(),
        }
    }

    /// Begins a cell: earlier late output is sent before the output of the cell.
    pub fn cell_begins(&self, count: u64, parent: &Parent) {
        let mut state = self.lock();
        state.close();
        let Ok(count) = u32::try_from(count) else {
            return;
        };
        state.parents.retain(|(known, _)| *known != count);
        state.parents.push_back((count, parent.clone()));
        if state.parents.len() > KEPT {
            state.parents.pop_front();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn close(&mut self) {
        if let Some((_, output)) = self.open.take() {
            output.finish();
        }
    }

    /// Returns the request of a cell, or that of the last cell if it is unknown.
    fn parent(&self, cell: Option<u32>) -> Option<&Parent> {
        let mut known = self.parents.iter();
        let of_cell = known.find(|(count, _)| Some(*count) == cell);
        of_cell.or(self.parents.back()).map(|(_, parent)| parent)
    }
}

impl LateEvents for Late {
    fn emit(&self, cell: Option<u32>, event: Event) {
        let mut state = self.lock();
        if state.open.as_ref().is_none_or(|(open, _)| *open != cell) {
            state.close();
            let Some(parent) = state.parent(cell).cloned() else {
                return;
            };
            let output = CellOutput::new(&self.runtime, self.iopub.clone(), parent, false, None);
            state.open = Some((cell, output));
        }
        if let Some((_, output)) = &state.open {
            output.emit(event);
        }
    }
}
