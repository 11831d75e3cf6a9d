//! The client-side journal: what was acknowledged, what was killed, and what is wrong.

use crate::jobs::Job;
use crate::runs::Run;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Condvar, Mutex, MutexGuard};

#[derive(Default)]
pub struct Journal {
    state: Mutex<State>,
    changed: Condvar,
}

/// All of it, each kind by its name.
#[derive(Default)]
pub struct State {
    /// How many effects the service has acknowledged.
    pub acknowledged: u64,
    pub jobs: BTreeMap<String, Job>,
    /// Jobs of which a process was killed: written down before the kill.
    pub hit: BTreeSet<String>,
    pub runs: BTreeMap<String, Run>,
    /// The last acknowledged version of each blob, by the path of its signed URL.
    pub blobs: BTreeMap<String, u32>,
    /// Registered code assets.
    pub codes: BTreeSet<String>,
    pub faults: Vec<String>,
    /// No more work is to begin.
    pub over: bool,
}

impl Journal {
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no client panics while it writes")
    }

    /// Writes down an effect that was acknowledged.
    pub fn acknowledge<T>(&self, write: impl FnOnce(&mut State) -> T) {
        let mut state = self.state();
        write(&mut state);
        state.acknowledged += 1;
        self.changed.notify_all();
    }

    /// Waits until something more is acknowledged.
    pub fn next(&self) {
        let state = self.state();
        let before = state.acknowledged;
        let changed = self
            .changed
            .wait_while(state, |state| state.acknowledged == before);
        drop(changed.expect("no client panics while it writes"));
    }

    /// Writes down something that should not be.
    pub fn fault(&self, what: impl Into<String>) {
        let what = what.into();
        println!("fault: {what}");
        self.state().faults.push(what);
    }

    /// Lets all clients come to their end.
    pub fn end(&self) {
        self.acknowledge(|state| state.over = true);
    }

    pub fn is_over(&self) -> bool {
        self.state().over
    }
}
