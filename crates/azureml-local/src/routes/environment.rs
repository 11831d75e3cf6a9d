//! Environments.

use super::asset::{self, Listing};
use crate::app::Shared;
use crate::error::{Error, Result};
use crate::server::body::{Json as Body, strict};
use crate::store::asset::Kind;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use azureml_wire::arm::Resource;
use azureml_wire::environment::EnvironmentVersionProperties;
use serde_json::{Value, json};

const KIND: Kind = Kind::Environment;

/// What an environment's version stands for.
const CONTENT: &[&str] = &["image", "build", "condaFile"];

/// The environments' calls.
pub fn router() -> Router<Shared> {
    Router::new()
        .route("/environments", get(containers))
        .route("/environments/{name}", get(container))
        .route("/environments/{name}/versions", get(versions))
        .route(
            "/environments/{name}/versions/{version}",
            get(version).put(put),
        )
}

fn complete(properties: &mut Value) {
    if properties.get("environmentType").is_none() {
        let curated = properties.pointer("/properties/azureml.curated") == Some(&json!("true"));
        properties["environmentType"] = json!(if curated { "Curated" } else { "UserCreated" });
    }
    if properties.get("osType").is_none() {
        properties["osType"] = json!("Linux");
    }
}

async fn containers(
    State(app): State<Shared>,
    Query(listing): Query<Listing>,
) -> Result<Json<Value>> {
    asset::list_containers(app, KIND, listing).await.map(Json)
}

async fn container(State(app): State<Shared>, Path(name): Path<String>) -> Result<Json<Value>> {
    asset::get_container(app, KIND, name).await.map(Json)
}

async fn versions(
    State(app): State<Shared>,
    Path(name): Path<String>,
    Query(listing): Query<Listing>,
) -> Result<Json<Value>> {
    asset::list_versions(app, KIND, complete, name, listing)
        .await
        .map(Json)
}

async fn version(
    State(app): State<Shared>,
    Path((name, version)): Path<(String, String)>,
) -> Result<Json<Value>> {
    asset::get_version(app, KIND, complete, name, version)
        .await
        .map(Json)
}

async fn put(
    State(app): State<Shared>,
    Path((name, version)): Path<(String, String)>,
    Body(body): Body,
) -> Result<(StatusCode, Json<Value>)> {
    let request: Resource<EnvironmentVersionProperties> = strict(&body)?;
    if request.properties.image.is_none() && request.properties.build.is_none() {
        return Err(Error::invalid(
            "an environment needs an image or a build context",
        ));
    }
    let (new, value) = asset::put_version(
        app,
        KIND,
        complete,
        CONTENT,
        name,
        version,
        body["properties"].clone(),
    )
    .await?;
    let status = if new {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    Ok((status, Json(value)))
}
