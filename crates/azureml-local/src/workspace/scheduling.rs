//! The queue as all parts of the workspace share it, with the signals to the scheduler.

use super::queue::Queue;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, watch};

/// The queue and its signals.
#[derive(Debug, Default)]
pub struct Scheduling {
    queue: Mutex<Queue>,
    changed: Notify,
    /// The number of jobs that have ended.
    ends: watch::Sender<u64>,
}

impl Scheduling {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        // No method of the queue panics halfway through a change.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads from the queue.
    pub fn read<T>(&self, read: impl FnOnce(&Queue) -> T) -> T {
        read(&self.queue())
    }

    /// Changes the queue and wakes the scheduler.
    pub fn change<T>(&self, change: impl FnOnce(&mut Queue) -> T) -> T {
        let changed = change(&mut self.queue());
        self.changed.notify_one();
        changed
    }

    /// Changes the queue on behalf of the scheduler, which is awake.
    pub fn step<T>(&self, step: impl FnOnce(&mut Queue) -> T) -> T {
        step(&mut self.queue())
    }

    /// Waits until the queue has changed since the last call.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Changes whenever the end of a job has been recorded.
    pub fn ends(&self) -> watch::Receiver<u64> {
        self.ends.subscribe()
    }

    /// Reports that the end of a job has been recorded.
    pub fn note_end(&self) {
        self.ends.send_modify(|count| *count += 1);
    }
}
