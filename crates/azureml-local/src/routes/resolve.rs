//! The storage locations of assets and of job outputs.
//!
//! The official client requests them from the data planes of data and of models before it
//! downloads. They are also stored as the files of a registered model.

use crate::error::{Error, Result};
use crate::name::{ContainerName, Relative};
use crate::read::lenient;
use crate::server::body::Json as Body;
use crate::signer::Access;
use crate::store::asset::{self, Kind};
use crate::workspace::source::{self, Source, address};
use crate::workspace::{Shared, Workspace, blocking};
use axum::extract::{Path, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// The maximum number of ids in one request.
const MOST: usize = 1000;

/// The data plane of data.
pub fn data() -> Router<Shared> {
    Router::new()
        .route("/dataversion/batchGetResolvedUris", post(data_uris))
        .route("/dataversion/{name}/versions/{version}", get(data_version))
}

/// The data plane of models.
pub fn models() -> Router<Shared> {
    Router::new().route("/models/batchGetResolvedUris", post(model_uris))
}

/// The ids or URIs of assets and outputs.
#[derive(Debug, Deserialize)]
struct Asked {
    values: Vec<String>,
}

async fn data_uris(State(app): State<Shared>, Body(body): Body) -> Result<Json<Value>> {
    resolved(app, &body, |uri, is_file| {
        json!({ "uri": uri, "type": if is_file { "uri_file" } else { "uri_folder" } })
    })
    .await
}

async fn model_uris(State(app): State<Shared>, Body(body): Body) -> Result<Json<Value>> {
    resolved(
        app,
        &body,
        |uri, _| json!({ "path": uri, "type": "azureml" }),
    )
    .await
}

/// Returns registered data with the URI from which azureml-fsspec and mltable read it.
async fn data_version(
    State(app): State<Shared>,
    Path((name, version)): Path<(String, String)>,
) -> Result<Json<Value>> {
    blocking(move || {
        let found = app
            .store
            .transaction(|store| asset::get(store, Kind::Data, &name, &version))?
            .ok_or_else(|| {
                Error::not_found(format!(
                    "there is no version {version:?} of the data {name:?}"
                ))
            })?;
        let place = find(&app, &format!("azureml:{name}:{version}"))?;
        let (mut uri, is_file) = address(&app, &place);
        if is_file && place.container != ContainerName::default_datastore() {
            let path = place.path.as_ref().map(AsRef::as_ref);
            let signature = app.signer.sas(place.container.as_str(), path, Access::Read);
            uri = format!("{uri}?{signature}");
        }
        let kind = match found.properties.get("dataType").and_then(Value::as_str) {
            Some("uri_file") => "UriFile",
            Some("mltable") => "MLTable",
            _ => "UriFolder",
        };
        Ok(Json(json!({ "dataVersion": {
            "dataContainerName": name,
            "versionId": version,
            "dataType": kind,
            "dataUri": uri,
            "isArchived": false,
        }})))
    })
    .await
}

/// Resolves each id to its location; the result is keyed by id.
async fn resolved(
    app: Shared,
    body: &Value,
    shown: impl Fn(String, bool) -> Value + Send + 'static,
) -> Result<Json<Value>> {
    let asked: Asked = lenient(body)?;
    if asked.values.len() > MOST {
        return Err(Error::invalid(format!(
            "values: at most {MOST} in one request"
        )));
    }
    let values = blocking(move || {
        let mut values = Map::new();
        for id in asked.values {
            let (uri, is_file) = address(&app, &find(&app, &id)?);
            values.insert(id, shown(uri, is_file));
        }
        Ok(values)
    })
    .await?;
    Ok(Json(json!({ "values": values })))
}

fn find(app: &Workspace, uri: &str) -> Result<Source> {
    source::source(app, uri).map_err(|error| Error::not_found(error.to_string()))
}
