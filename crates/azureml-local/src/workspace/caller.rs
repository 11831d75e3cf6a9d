//! The authenticated caller, and the runs that it may use.

use crate::error::{Error, Result};
use crate::store::mlflow;
use rusqlite::Connection;

/// The authenticated caller of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// The owner of the local workspace.
    Owner,
    /// A process of a run.
    Run(String),
    /// A client with a signed URL, which grants access to what it names.
    Signed,
}

impl Caller {
    /// Denies a run access to other runs, except to its own descendants.
    pub fn may_use(&self, store: &Connection, run: &str) -> Result<()> {
        let Self::Run(own) = self else {
            return Ok(());
        };
        let mut current = run.to_owned();
        for _ in 0..8 {
            if *own == current {
                return Ok(());
            }
            let parent = mlflow::tags(store, &current)?
                .into_iter()
                .find(|tag| tag.key == mlflow::PARENT);
            match parent {
                Some(parent) => current = parent.value,
                None => break,
            }
        }
        Err(Error::Denied(format!(
            "the token of run {own} does not open run {run}"
        )))
    }
}
