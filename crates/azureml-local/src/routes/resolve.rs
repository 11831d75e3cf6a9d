//! The storage locations of assets and of job outputs.
//!
//! The official client requests them from the data planes of data and of models before it
//! downloads. They are also stored as the files of a registered model.

use super::datastore;
use crate::app::{App, Shared, blocking};
use crate::error::{Error, Result};
use crate::name::{ContainerName, Relative};
use crate::runner::input::{self, Source};
use crate::server::address::ACCOUNT;
use crate::server::body::{Json as Body, lenient};
use crate::signer::Access;
use crate::store::asset::{self, Kind};
use axum::extract::{Path, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use azureml_wire::local::{RESOURCE_GROUP, SUBSCRIPTION_ID, WORKSPACE_NAME};
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
        let place = source(&app, &format!("azureml:{name}:{version}"))?;
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
            let (uri, is_file) = address(&app, &source(&app, &id)?);
            values.insert(id, shown(uri, is_file));
        }
        Ok(values)
    })
    .await?;
    Ok(Json(json!({ "values": values })))
}

fn source(app: &App, uri: &str) -> Result<Source> {
    input::source(app, uri).map_err(|failure| Error::not_found(failure.to_string()))
}

/// The URI of a location in the blob store, in the form of the service, and whether it is a single
/// file. The URI of a folder ends with a slash, so that it is not a prefix of another folder's URI.
fn address(app: &App, source: &Source) -> (String, bool) {
    let is_file = source.blob(app).is_ok();
    let path = match &source.path {
        Some(path) if is_file => path.to_string(),
        _ => source.prefix(),
    };
    let root = if source.container == ContainerName::default_datastore() {
        let name = if path.starts_with("ExperimentRun/") {
            datastore::ARTIFACTS
        } else {
            datastore::NAME
        };
        format!(
            "azureml://subscriptions/{SUBSCRIPTION_ID}/resourcegroups/{RESOURCE_GROUP}\
             /workspaces/{WORKSPACE_NAME}/datastores/{name}/paths"
        )
    } else {
        format!("{}/{ACCOUNT}/{}", app.url(), source.container)
    };
    (format!("{root}/{path}"), is_file)
}

/// Replaces the URI of a job output or a run artifact with the location of its files, as the
/// service does when a model is registered. Clients download from that location.
pub fn settle(app: &App, properties: &mut Value, member: &str) -> Result<()> {
    let Some(uri) = properties.get(member).and_then(Value::as_str) else {
        return Ok(());
    };
    let Some(rest) = ["azureml://jobs/", "runs:/"]
        .iter()
        .find_map(|scheme| uri.strip_prefix(scheme))
    else {
        return Ok(());
    };
    let job = rest.split('/').next().unwrap_or_default().to_owned();
    let source = source(app, uri).map_err(|error| Error::invalid(format!("{member}: {error}")))?;
    properties[member] = json!(address(app, &source).0);
    if properties.get("jobName").is_none_or(Value::is_null) {
        properties["jobName"] = json!(job);
    }
    Ok(())
}
