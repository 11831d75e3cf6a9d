//! Subshells (JEP 91): requests to one are answered while a cell of another runs. There is one
//! evaluator, so cells of all shells run one after the other.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// The subshells, oldest first.
#[derive(Default)]
pub struct Subshells(Mutex<Vec<String>>);

impl Subshells {
    /// Creates a subshell; returns its id.
    pub fn create(&self) -> String {
        let id = uuid::Uuid::new_v4().to_string();
        self.lock().push(id.clone());
        id
    }

    /// Deletes a subshell; returns false if it does not exist.
    pub fn delete(&self, id: &str) -> bool {
        let mut all = self.lock();
        let before = all.len();
        all.retain(|known| known != id);
        all.len() < before
    }

    /// Returns the ids of all subshells.
    pub fn list(&self) -> Vec<String> {
        self.lock().clone()
    }

    /// Whether a subshell with this id exists.
    pub fn knows(&self, id: &str) -> bool {
        self.lock().iter().any(|known| known == id)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
