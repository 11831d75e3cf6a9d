//! The HTTP routes, one module for each kind of resource.

pub mod absent;
pub mod account;
pub mod artifact;
pub mod asset;
pub mod blob;
pub mod code;
pub mod compute;
pub mod data;
pub mod datastore;
pub mod environment;
pub mod job;
pub mod metric;
pub mod mlflow;
pub mod model;
pub mod resolve;
pub mod resubmission;
pub mod run_history;
pub mod workspace;

use crate::app::Shared;
pub use crate::store::owner as user;
use axum::Router;
use azureml_wire::local::scope;
use azureml_wire::routes::encode;
use serde_json::{Value, json};

/// The ARM routes of the workspace.
pub fn arm() -> Router<Shared> {
    Router::new()
        .merge(workspace::router())
        .merge(compute::router())
        .merge(asset::router(&environment::RULES))
        .merge(asset::router(&model::RULES))
        .merge(asset::router(&data::RULES))
        .merge(code::router())
        .merge(datastore::router())
        .merge(job::router())
}

/// An ARM resource of the workspace; `parts` alternate between kinds and names.
pub fn resource(parts: &[&str], created_at: &str, properties: &Value) -> Value {
    let kinds: Vec<&str> = parts.iter().step_by(2).copied().collect();
    json!({
        "id": scope().path(parts),
        "name": parts.last(),
        "type": format!("Microsoft.MachineLearningServices/workspaces/{}", kinds.join("/")),
        "systemData": {
            "createdBy": user(),
            "createdByType": "User",
            "createdAt": created_at,
            "lastModifiedAt": created_at,
        },
        "properties": properties,
    })
}

/// The URL of the next page of a listing.
pub fn next_link(app: &Shared, address: &str, query: &[(&str, Option<&str>)]) -> String {
    let query: Vec<String> = query
        .iter()
        .filter_map(|(name, value)| Some(format!("{name}={}", encode((*value)?))))
        .collect();
    format!("{}{address}?{}", app.url(), query.join("&"))
}

/// Replaces the address of an earlier server in URLs that a client sends back with this server's.
pub fn readdress(app: &Shared, value: &mut Value) {
    match value {
        Value::String(text) => {
            if let Some((url, path)) = own_url(text) {
                *text = if url == app.url() {
                    return;
                } else {
                    format!("{}{path}", app.url())
                };
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| readdress(app, item)),
        Value::Object(members) => members
            .iter_mut()
            .for_each(|(_, member)| readdress(app, member)),
        _ => {}
    }
}

/// Splits a URL into root and path, if it points to the blob store of this or an earlier server.
pub fn own_url(text: &str) -> Option<(&str, &str)> {
    let rest = text.strip_prefix("http://")?;
    let slash = rest.find('/')?;
    let (host, path) = rest.split_at(slash);
    let (name, port) = host.split_once(':')?;
    let ours = matches!(name, "127.0.0.1" | "localhost")
        && port.bytes().all(|byte| byte.is_ascii_digit())
        && path
            .strip_prefix('/')
            .and_then(|path| path.strip_prefix(crate::server::address::ACCOUNT))
            .is_some_and(|path| path.starts_with('/'));
    ours.then(|| text.split_at("http://".len() + slash))
}
