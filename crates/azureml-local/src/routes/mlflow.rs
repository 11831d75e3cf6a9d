//! The MLflow tracking API and its artifact service.

use crate::app::Shared;
use crate::error::{Error, Result};
use crate::server::auth::Caller;
use crate::store::mlflow::{self, Run};
use axum::Router;
use rusqlite::Connection;

mod artifact;
mod experiment;
mod log;
mod name;
mod request;
mod run;
mod search;

/// The MLflow routes, below `/api/2.0`.
pub fn router() -> Router<Shared> {
    Router::new()
        .merge(experiment::router())
        .merge(run::router())
        .merge(log::router())
        .merge(artifact::router())
}

/// A run to which the caller has access.
fn find(store: &Connection, caller: &Caller, id: &str) -> Result<Run> {
    caller.may_use(store, id)?;
    mlflow::get_run(store, id)?
        .ok_or_else(|| Error::not_found(format!("Run with id={id} not found")))
}

/// A run that the caller may change; fails if it is deleted.
fn find_active(store: &Connection, caller: &Caller, id: &str) -> Result<Run> {
    let run = find(store, caller, id)?;
    run.check_active()?;
    Ok(run)
}
