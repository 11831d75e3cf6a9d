//! Datastore routes: one container stores all data and artifacts.

use super::resource::resource;
use crate::error::{Error, Result};
use crate::name::DEFAULT_CONTAINER;
use crate::signer::Access;
use crate::workspace::caller::Caller;
use crate::workspace::uri::{ACCOUNT, ARTIFACT_STORE, DATASTORE, SUFFIX, is_datastore};
use crate::workspace::{Shared, Workspace};
use axum::extract::{Path, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use azureml_wire::Bag;
use azureml_wire::arm::{Page, Resource};
use azureml_wire::datastore::{
    AzureBlobDatastore, Datastore, DatastoreCredentials, DatastoreSecrets, SecretsKind,
};
use serde_json::{Value, json};

/// The datastore routes.
pub fn router() -> Router<Shared> {
    Router::new()
        .route("/datastores", get(list))
        .route("/datastores/{name}", get(one).put(fixed).delete(fixed))
        .route("/datastores/{name}/listSecrets", post(secrets))
}

/// The data plane of datastores for SDK v1, azureml-fsspec and mltable.
///
/// These clients build the address of a container themselves, as
/// `{protocol}://{accountName}.blob.{endpoint}/{container}`. The account name therefore starts with
/// the host of this server, so that the address leads here. Their blob address is then that of a
/// blob store whose paths start with `/ACCOUNT.blob.local`; their listings send that segment in the
/// place of the container.
pub fn data_plane() -> Router<Shared> {
    Router::new()
        .route("/datastores", get(listed))
        .route("/datastores/{name}", get(with_secrets))
        .route("/default", get(default))
}

fn check(name: &str) -> Result<()> {
    if is_datastore(name) {
        return Ok(());
    }
    Err(Error::not_found(format!(
        "there is no datastore {name:?} in this workspace; there are: {DATASTORE}, {ARTIFACT_STORE}"
    )))
}

fn datastore(app: &Workspace, name: &str) -> Result<Resource<Datastore>> {
    check(name)?;
    let properties = Datastore::AzureBlob(AzureBlobDatastore {
        description: Some("Files in the local workspace's folder".to_owned()),
        tags: Some(Bag::new()),
        properties: Some(Bag::new()),
        credentials: DatastoreCredentials {
            credentials_type: "Sas".to_owned(),
            secrets: Some(SecretsKind {
                secrets_type: "Sas".to_owned(),
            }),
        },
        is_default: Some(name.eq_ignore_ascii_case(DATASTORE)),
        account_name: Some(ACCOUNT.to_owned()),
        container_name: Some(DEFAULT_CONTAINER.to_owned()),
        endpoint: Some(format!("127.0.0.1:{}", app.port)),
        protocol: Some("http".to_owned()),
    });
    Ok(resource(
        &["datastores", name],
        "2026-01-01T00:00:00Z",
        properties,
    ))
}

async fn list(State(app): State<Shared>) -> Result<Json<Page<Resource<Datastore>>>> {
    // The artifact store is the same container under another name, so it is not listed.
    Ok(Json(Page {
        value: vec![datastore(&app, DATASTORE)?],
        next_link: None,
    }))
}

async fn one(
    State(app): State<Shared>,
    Path(name): Path<String>,
) -> Result<Json<Resource<Datastore>>> {
    datastore(&app, &name).map(Json)
}

async fn fixed(Path(name): Path<String>) -> Result<()> {
    Err(Error::invalid(format!(
        "the datastore {name:?} cannot be made, changed or deleted: the local workspace has {DATASTORE}, and no others\n\
         hint: upload to azureml://datastores/{DATASTORE}/paths/…"
    )))
}

async fn secrets(
    State(app): State<Shared>,
    Path(name): Path<String>,
) -> Result<Json<DatastoreSecrets>> {
    check(&name)?;
    Ok(Json(DatastoreSecrets::Sas {
        sas_token: app.signer.sas(DEFAULT_CONTAINER, None, Access::All),
    }))
}

/// A datastore with its SAS credential. A run gets read access only, because its token may change
/// nothing but the run itself.
fn opened(app: &Workspace, caller: &Caller, name: &str) -> Result<Value> {
    check(name)?;
    let access = match caller {
        Caller::Owner => Access::All,
        Caller::Run(_) | Caller::Signed => Access::Browse,
    };
    let signature = app.signer.sas(DEFAULT_CONTAINER, None, access);
    Ok(json!({
        "name": name,
        "dataStoreType": "AzureBlob",
        "hasBeenValidated": true,
        "tags": {},
        "azureStorageSection": {
            "accountName": format!("127.0.0.1:{}/{ACCOUNT}", app.port),
            "containerName": DEFAULT_CONTAINER,
            "endpoint": SUFFIX,
            "protocol": "http",
            "credentialType": "Sas",
            "credential": signature,
            "isSas": true,
            "sasToken": signature,
        },
    }))
}

async fn with_secrets(
    State(app): State<Shared>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<Json<Value>> {
    opened(&app, &caller, &name).map(Json)
}

async fn default(State(app): State<Shared>, caller: Caller) -> Result<Json<Value>> {
    opened(&app, &caller, DATASTORE).map(Json)
}

async fn listed(State(app): State<Shared>, caller: Caller) -> Result<Json<Value>> {
    Ok(Json(
        json!({ "value": [opened(&app, &caller, DATASTORE)?] }),
    ))
}
