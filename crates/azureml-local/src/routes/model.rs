//! Registered models.

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
use azureml_wire::model::ModelVersionProperties;
use serde_json::{Value, json};

const KIND: Kind = Kind::Model;

/// The models' calls.
pub fn router() -> Router<Shared> {
    Router::new()
        .route("/models", get(containers))
        .route("/models/{name}", get(container))
        .route("/models/{name}/versions", get(versions))
        .route("/models/{name}/versions/{version}", get(version).put(put))
}

/// The official client relies on flavours to be there.
fn complete(properties: &mut Value) {
    if properties.get("flavors").is_none() {
        properties["flavors"] = json!({});
    }
    if properties.get("modelType").is_none() {
        properties["modelType"] = json!("custom_model");
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
    let request: Resource<ModelVersionProperties> = strict(&body)?;
    if request.properties.model_uri.is_none() {
        return Err(Error::invalid(
            "a model needs a modelUri: where its files are",
        ));
    }
    let (new, value) = asset::put_version(
        app,
        KIND,
        complete,
        &["modelUri"],
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
