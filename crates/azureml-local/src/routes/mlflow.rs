//! The MLflow tracking API and its artifact service.

use crate::workspace::Shared;
use axum::Router;

mod artifact;
mod experiment;
mod find;
mod log;
mod name;
mod request;
mod response;
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
