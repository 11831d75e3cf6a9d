//! Code snapshots, and the containers to which clients upload files.

use super::asset::{self, Listing, Rules};
use super::workspace::storage_account;
use crate::app::{Shared, blocking};
use crate::blob;
use crate::error::Result;
use crate::name::ContainerName;
use crate::runner::input;
use crate::server::address::ACCOUNT;
use crate::server::body::{Json as Body, strict};
use crate::signer::Access;
use crate::store::asset::{self as store, Kind};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use azureml_wire::arm::Resource;
use azureml_wire::code::{CodeVersionProperties, PendingUploadRequest};
use serde_json::{Value, json};

static RULES: Rules = Rules {
    kind: Kind::Code,
    content: &["codeUri"],
    place: None,
    check: |body| strict::<Resource<CodeVersionProperties>>(body).map(drop),
    complete,
};

/// The routes of code versions and pending uploads.
pub fn router() -> Router<Shared> {
    Router::new()
        .route("/codes/{name}/versions", get(versions))
        .route("/codes/{name}/versions/{version}", get(version).put(put))
        .route(
            "/codes/{name}/versions/{version}/startPendingUpload",
            post(start_upload),
        )
        .route(
            "/models/{name}/versions/{version}/startPendingUpload",
            post(start_upload),
        )
}

/// Converts properties to text as the REST models require; the official client sends an integer.
fn complete(properties: &mut Value) {
    if let Some(members) = properties
        .get_mut("properties")
        .and_then(Value::as_object_mut)
    {
        for (_, value) in members.iter_mut().filter(|(_, value)| !value.is_string()) {
            *value = json!(value.to_string());
        }
    }
}

/// Lists versions. A search by hash returns only versions whose files still exist, because a client
/// that finds one does not upload its files.
async fn versions(
    State(app): State<Shared>,
    Path(name): Path<String>,
    Query(listing): Query<Listing>,
) -> Result<Json<Value>> {
    let by_hash = listing.hash.is_some();
    let Json(mut page) = asset::list_versions(app.clone(), &RULES, name, listing).await?;
    if by_hash && let Some(found) = page["value"].as_array_mut() {
        let all = std::mem::take(found);
        let kept = blocking(move || {
            Ok(all
                .into_iter()
                .filter(|code| has_files(&app, &code["properties"]))
                .collect())
        })
        .await?;
        page["value"] = Value::Array(kept);
    }
    Ok(Json(page))
}

fn has_files(app: &Shared, properties: &Value) -> bool {
    let uri = properties.get("codeUri").and_then(Value::as_str);
    uri.and_then(|uri| input::source(app, uri).ok())
        .and_then(|source| blob::list(&app.home, &source.container, &source.prefix()).ok())
        .is_some_and(|files| !files.is_empty())
}

async fn version(
    State(app): State<Shared>,
    Path((name, version)): Path<(String, String)>,
) -> Result<Json<Value>> {
    asset::get_version(app, &RULES, name, version).await
}

async fn put(
    State(app): State<Shared>,
    Path((name, version)): Path<(String, String)>,
    Body(body): Body,
) -> Result<(StatusCode, Json<Value>)> {
    let old = {
        let (name, version) = (name.clone(), version.clone());
        app.db(move |store| store::get(store, Kind::Code, &name, &version))
            .await?
    };
    // The files of a version may be lost. A client that uploads files with the same hash replaces
    // them.
    let is_lost = match old {
        Some(old) if asset::hash(&old.properties) == asset::hash(&body["properties"]) => {
            let app = app.clone();
            blocking(move || Ok(!has_files(&app, &old.properties))).await?
        }
        _ => false,
    };
    let (_, answer) = asset::put_version(app, &RULES, name, version, body, is_lost).await?;
    // The service returns 201 for an existing version, too.
    Ok((StatusCode::CREATED, answer))
}

/// Creates a new container for each upload: a client that finds a finished upload in a container
/// skips its own.
async fn start_upload(
    State(app): State<Shared>,
    Path((_, _)): Path<(String, String)>,
    Body(body): Body,
) -> Result<Json<Value>> {
    if !body.is_null() {
        let _: PendingUploadRequest = strict(&body)?;
    }
    let container = ContainerName::unique();
    let id = container.to_string();
    let home = app.home.clone();
    blocking(move || blob::create_container(&home, &container)).await?;
    let uri = format!("{}/{ACCOUNT}/{id}", app.url());
    let signature = app.signer.sas(&id, None, Access::All);
    Ok(Json(json!({
        "pendingUploadId": id,
        "pendingUploadType": "TemporaryBlobReference",
        "blobReferenceForConsumption": {
            "blobUri": uri,
            "storageAccountArmId": storage_account(),
            "credential": {
                "credentialType": "SAS",
                "sasUri": format!("{uri}?{signature}"),
            },
        },
    })))
}
