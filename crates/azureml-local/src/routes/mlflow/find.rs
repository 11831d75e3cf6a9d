//! The runs of MLflow's routes.

use crate::error::{Error, Result};
use crate::store::mlflow::{self, Run};
use crate::workspace::caller::Caller;
use rusqlite::Connection;

/// A run to which the caller has access.
pub fn find(store: &Connection, caller: &Caller, id: &str) -> Result<Run> {
    caller.may_use(store, id)?;
    mlflow::get_run(store, id)?
        .ok_or_else(|| Error::not_found(format!("Run with id={id} not found")))
}

/// A run that the caller may change; fails if it is deleted.
pub fn find_active(store: &Connection, caller: &Caller, id: &str) -> Result<Run> {
    let run = find(store, caller, id)?;
    run.check_active()?;
    Ok(run)
}
