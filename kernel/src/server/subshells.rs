//! Shells beside the main one (JEP 91): what is sent to one is answered while a cell of another runs. There is one evaluator, so cells
//! take turns in whichever shell they are.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// The subshells, oldest first.
#[derive(Default)]
pub struct Subshells(Mutex<Vec<String>>);

impl Subshells {
    /// Makes one; gives its identifier.
    pub fn create(&self) -> String {
        let id = uuid::Uuid::new_v4().to_string();
        self.lock().push(id.clone());
        id
    }

    /// Ends one; false when there is none of the name.
    pub fn delete(&self, id: &str) -> bool {
        let mut all = self.lock();
        let before = all.len();
        all.retain(|known| known != id);
        all.len() < before
    }

    /// Their identifiers.
    pub fn list(&self) -> Vec<String> {
        self.lock().clone()
    }

    /// Whether there is one of the name.
    pub fn knows(&self, id: &str) -> bool {
        self.lock().iter().any(|known| known == id)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
