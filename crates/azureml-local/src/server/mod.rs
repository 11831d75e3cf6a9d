//! The HTTP server: routing, authentication, request bodies, error rendering and the exchange log.

pub mod address;
pub mod auth;
pub mod blame;
pub mod body;
pub mod browser;
pub mod entry;
pub mod peer;
pub mod render;
pub mod seal;
pub mod trace;

use crate::app::Shared;
use crate::error::{Error, Result};
use crate::{routes, studio};
use address::Area;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};

/// The maximum size of a JSON body.
pub const JSON_LIMIT: usize = 8 << 20;

/// The maximum number of members in all objects and lists of a JSON body.
pub const MEMBER_LIMIT: usize = 200_000;

/// The router of the local workspace.
pub fn router(app: Shared) -> Router {
    // `entry` has replaced the URL's path with the inner path of its area.
    let inner = Router::new()
        .nest(Area::Arm.inner(), routes::arm())
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
        .nest(Area::Page.inner(), studio::router(&app))
        .fallback(routes::absent::nothing)
        .method_not_allowed_fallback(wrong_method)
        .with_state(app.clone());
    Router::new()
        .fallback_service(inner)
        .layer(from_fn_with_state(app, entry::entry))
        .layer(DefaultBodyLimit::max(JSON_LIMIT))
        .layer(from_fn(seal::seal))
}

async fn wrong_method() -> Result<()> {
    // The `Allow` header of the response lists the supported methods, see [`render`].
    Err(Error::Method(String::new()))
}
