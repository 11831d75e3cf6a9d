//! The HTTP server: routing, authentication, request bodies, error rendering and the exchange log.

pub mod absent;
pub mod activity;
pub mod address;
pub mod auth;
pub mod body;
pub mod browser;
pub mod entry;
pub mod error;
pub mod peer;
pub mod render;
pub mod seal;
pub mod trace;
pub mod xml;

use crate::error::{Error, Result};
use crate::tickets::Tickets;
use crate::{routes, studio};
use address::Area;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use body::JSON_LIMIT;
use entry::Entrance;
use std::sync::Arc;

/// The router of the local workspace.
pub fn router(entrance: Arc<Entrance>, tickets: &Arc<Tickets>) -> Router {
    let app = &entrance.app;
    // `entry` has replaced the URL's path with the inner path of its area.
    let inner = Router::new()
        .nest(Area::Arm.inner(), routes::arm(app, tickets))
        .nest(Area::History.inner(), routes::run_history::router())
        .nest(Area::Artifact.inner(), routes::artifact::router())
        .nest(Area::Metric.inner(), routes::metric::router())
        .nest(Area::Mlflow.inner(), routes::mlflow::router())
        .nest(Area::Blob.inner(), routes::blob::router())
        .nest(Area::Data.inner(), routes::resolve::data())
        .nest(Area::Datastore.inner(), routes::datastore::data_plane())
        .nest(Area::Models.inner(), routes::resolve::models())
        .nest(Area::Account.inner(), routes::account::router())
        .nest(Area::Discovery.inner(), routes::workspace::discovery())
        .nest(Area::Page.inner(), studio::router(app, tickets))
        .fallback(absent::nothing)
        .method_not_allowed_fallback(wrong_method)
        .with_state(Arc::clone(app));
    Router::new()
        .fallback_service(inner)
        .layer(from_fn_with_state(entrance, entry::entry))
        .layer(DefaultBodyLimit::max(JSON_LIMIT))
        .layer(from_fn(seal::seal))
}

async fn wrong_method() -> Result<()> {
    // The `Allow` header of the response lists the supported methods, see [`render`].
    Err(Error::Method(String::new()))
}
