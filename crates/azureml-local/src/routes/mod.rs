//! The HTTP routes, one module for each kind of resource.

pub mod account;
pub mod artifact;
pub mod asset;
pub mod blob;
pub mod code;
pub mod compute;
pub mod datastore;
pub mod job;
pub mod metric;
pub mod mlflow;
pub mod resolve;
pub mod resource;
pub mod run_history;
pub mod workspace;

use crate::tickets::Tickets;
use crate::workspace::Shared;
use crate::workspace::asset::WITH_CONTAINERS;
use axum::Router;
use std::sync::Arc;

/// The ARM routes of the workspace.
pub fn arm(app: &Shared, tickets: &Arc<Tickets>) -> Router<Shared> {
    let mut router = Router::new()
        .merge(workspace::router())
        .merge(compute::router())
        .merge(code::router())
        .merge(datastore::router())
        .merge(job::router(app, tickets));
    for rules in WITH_CONTAINERS {
        router = router.merge(asset::router(rules));
    }
    router
}
