//! Environments, data and models, with their versions.

use super::language::Language;
use super::{page, text};
use crate::app::Shared;
use crate::error::Result;
use crate::store::asset::{self, Kind};
use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;

pub fn router() -> Router<Shared> {
    let route = |kind, title, here| {
        get(move |State(app): State<Shared>, l: Language| list(app, l, kind, title, here))
    };
    Router::new()
        .route(
            "/environments",
            route(Kind::Environment, "Environments", "environments"),
        )
        .route("/data", route(Kind::Data, "Data", "data"))
        .route("/models", route(Kind::Model, "Models", "models"))
}

#[derive(Template)]
#[template(path = "assets.html")]
struct Page {
    l: Language,
    here: &'static str,
    title: &'static str,
    assets: Vec<Asset>,
}

struct Asset {
    name: String,
    versions: Vec<Version>,
}

struct Version {
    number: String,
    created_at: String,
    created: String,
    properties: String,
}

async fn list(
    app: Shared,
    l: Language,
    kind: Kind,
    title: &'static str,
    here: &'static str,
) -> Result<Response> {
    let assets = app
        .db(move |store| {
            let mut assets = Vec::new();
            for name in asset::names(store, kind)? {
                let mut versions = Vec::new();
                for version in asset::versions(store, kind, &name)? {
                    versions.push(Version {
                        created: text::clock(&version.created_at),
                        created_at: version.created_at,
                        properties: serde_json::to_string_pretty(&version.properties)?,
                        number: version.version,
                    });
                }
                assets.push(Asset { name, versions });
            }
            Ok(assets)
        })
        .await?;
    page(&Page {
        l,
        here,
        title,
        assets,
    })
}
