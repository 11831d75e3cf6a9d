//! Code snapshots and upload locations.

use super::asset::{Listing, page_of_versions, version as shown};
use super::workspace::storage_account;
use crate::blob;
use crate::error::Result;
use crate::name::ContainerName;
use crate::read::strict;
use crate::server::body::Json as Body;
use crate::signer::Access;
use crate::store::asset::Kind;
use crate::workspace::asset::code::{self, RULES};
use crate::workspace::asset::{self, Container, is_container_archived};
use crate::workspace::uri::ACCOUNT;
use crate::workspace::{Shared, blocking};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use azureml_wire::arm::{Page, Resource};
use azureml_wire::code::PendingUploadRequest;
use serde_json::{Value, json};

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

async fn versions(
    State(app): State<Shared>,
    Path(name): Path<String>,
    Query(listing): Query<Listing>,
) -> Result<Json<Page<Resource<Value>>>> {
    let (versions, are_archived) = if let Some(hash) = listing.hash.clone() {
        (code::by_hash(&app, hash).await?, false)
    } else {
        let Container { own, versions, .. } =
            asset::container(&app, Kind::Code, name.clone()).await?;
        (versions, is_container_archived(&own))
    };
    Ok(Json(page_of_versions(
        &app,
        &RULES,
        &name,
        versions,
        are_archived,
        &listing,
    )))
}

async fn version(
    State(app): State<Shared>,
    Path((name, version)): Path<(String, String)>,
) -> Result<Json<Resource<Value>>> {
    let found = asset::version(&app, Kind::Code, name, version).await?;
    Ok(Json(shown(&app, &RULES, found)))
}

async fn put(
    State(app): State<Shared>,
    Path((name, version)): Path<(String, String)>,
    Body(body): Body,
) -> Result<(StatusCode, Json<Resource<Value>>)> {
    let (_, asset) = code::put(&app, name, version, body).await?;
    // The service returns 201 for a new version and for an existing one.
    Ok((StatusCode::CREATED, Json(shown(&app, &RULES, asset))))
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
