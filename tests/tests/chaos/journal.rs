//! The client-side journal: acknowledged effects, killed jobs, and faults.

use crate::job::Job;
use crate::run::Run;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Condvar, Mutex, MutexGuard};

#[derive(Default)]
pub struct Journal {
    state: Mutex<State>,
    changed: Condvar,
}

/// The content of the journal.
#[derive(Default)]
pub struct State {
    /// The number of effects that the service has acknowledged.
    pub acknowledged: u64,
    pub jobs: BTreeMap<String, Job>,
    /// Jobs with a killed process; recorded before the kill.
    pub hit: BTreeSet<String>,
    pub runs: BTreeMap<String, Run>,
    /// The last acknowledged version of each blob, by the path of its signed URL.
    pub blobs: BTreeMap<String, u32>,
    /// Registered code assets.
    pub codes: BTreeSet<String>,
    pub faults: Vec<String>,
    /// Clients must not begin more work.
    pub over: bool,
}

impl Journal {
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no client panics while it writes")
    }

    /// Records an acknowledged effect.
    pub fn acknowledge<T>(&self, write: impl FnOnce(&mut State) -> T) {
        let mut state = self.state();
        write(&mut state);
        state.acknowledged += 1;
        self.changed.notify_all();
    }

    /// Waits for the next acknowledgement.
    pub fn next(&self) {
        let state = self.state();
        let before = state.acknowledged;
        let changed = self
            .changed
            .wait_while(state, |state| state.acknowledged == before);
        drop(changed.expect("no client panics while it writes"));
    }

    /// Records a violated invariant.
    pub fn fault(&self, what: impl Into<String>) {
        let what = what.into();
        println!("fault: {what}");
        self.state().faults.push(what);
    }

    /// Makes all clients stop.
    pub fn end(&self) {
        self.acknowledge(|state| state.over = true);
    }

    pub fn is_over(&self) -> bool {
        self.state().over
    }
}
