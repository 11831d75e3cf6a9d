//! The workspace resource, and the discovery of its data plane.

use super::resource;
use crate::workspace::uri::ACCOUNT;
use crate::workspace::{ID, LOCATION, Shared, Workspace};
use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use azureml_wire::Bag;
use azureml_wire::arm::Resource;
use azureml_wire::local::{RESOURCE_GROUP, SUBSCRIPTION_ID, WORKSPACE_NAME, scope};
use serde_json::{Map, Value, json};

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

async fn workspace(State(app): State<Shared>) -> Json<Value> {
    Json(resource(&app))
}

/// The workspace as an ARM resource.
pub fn resource(app: &Workspace) -> Value {
    let properties = json!({
        "friendlyName": "Local workspace",
        "description": format!("Jobs run as processes on this machine; files are in {}", app.home.root().display()),
        "workspaceId": ID,
        "discoveryUrl": format!("{}/discovery", app.url()),
        "mlFlowTrackingUri": app.tracking_uri(),
        "storageAccount": storage_account(),
        "provisioningState": "Succeeded",
        "publicNetworkAccess": "Disabled",
    });
    let mut workspace = json!(Resource {
        id: Some(scope().to_string()),
        name: Some(WORKSPACE_NAME.to_owned()),
        resource_type: Some("Microsoft.MachineLearningServices/workspaces".to_owned()),
        location: Some(LOCATION.to_owned()),
        tags: Some(Bag::new()),
        ..resource::resource(&[], "2026-01-01T00:00:00Z", properties)
    });
    workspace["kind"] = json!("Default");
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
