//! The workspace resource, and the discovery of its data plane.

use crate::app::Shared;
use crate::error::Error;
use crate::server::address::ACCOUNT;
use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use azureml_wire::local::{RESOURCE_GROUP, SUBSCRIPTION_ID, WORKSPACE_NAME, scope};
use serde_json::{Map, Value, json};

/// The id of the workspace.
pub const WORKSPACE_ID: &str = "00000000-0000-0000-0000-000000000001";
/// The location of all resources.
pub const LOCATION: &str = "local";

/// The workspace route.
pub fn router() -> Router<Shared> {
    Router::new().route("/", get(workspace))
}

/// Returns the URLs of the data plane; requires no authentication.
pub fn discovery() -> Router<Shared> {
    Router::new().route("/", get(roots))
}

/// The ARM id of the storage account.
pub fn storage_account() -> String {
    format!(
        "/subscriptions/{SUBSCRIPTION_ID}/resourceGroups/{RESOURCE_GROUP}/providers/Microsoft.Storage/storageAccounts/{ACCOUNT}"
    )
}

/// The error for a request to another workspace.
pub fn other(name: &str) -> Error {
    Error::NotFound {
        code: "ResourceNotFound",
        message: format!(
            "there is no workspace {name:?} here: the local workspace is subscription {SUBSCRIPTION_ID}, \
             resource group {RESOURCE_GROUP:?}, workspace {WORKSPACE_NAME:?}; this address names another\n\
             hint: use these names, or the address of Azure"
        ),
    }
}

async fn workspace(State(app): State<Shared>) -> Json<Value> {
    Json(resource(&app))
}

/// The workspace as an ARM resource.
pub fn resource(app: &Shared) -> Value {
    let properties = json!({
        "friendlyName": "Local workspace",
        "description": format!("Jobs run as processes on this machine; files are in {}", app.home.root().display()),
        "workspaceId": WORKSPACE_ID,
        "discoveryUrl": format!("{}/discovery", app.url()),
        "mlFlowTrackingUri": app.tracking_uri(),
        "storageAccount": storage_account(),
        "provisioningState": "Succeeded",
        "publicNetworkAccess": "Disabled",
    });
    let mut workspace = super::resource(&[], "2026-01-01T00:00:00Z", &properties);
    workspace["id"] = json!(scope().to_string());
    workspace["name"] = json!(WORKSPACE_NAME);
    workspace["type"] = json!("Microsoft.MachineLearningServices/workspaces");
    workspace["kind"] = json!("Default");
    workspace["location"] = json!(LOCATION);
    workspace["tags"] = json!({});
    workspace
}

/// The services that clients discover. SDK v1 looks up all of them before its first request.
const SERVICES: &[&str] = &[
    "api",
    "catalog",
    "experimentation",
    "gallery",
    "history",
    "hyperdrive",
    "inferencing",
    "modelmanagement",
    "pipelines",
    "studio",
];

async fn roots(State(app): State<Shared>) -> Json<Value> {
    let url = app.url();
    let roots: Map<String, Value> = SERVICES
        .iter()
        .map(|service| ((*service).to_owned(), json!(url)))
        .collect();
    Json(Value::Object(roots))
}
