//! The subscription and its resource group, which contain this workspace only.

use super::workspace;
use crate::error::{Error, Result};
use crate::server::absent::nothing_at;
use crate::server::address::other_workspace;
use crate::workspace::Shared;
use axum::extract::{Path, State};
use axum::http::Method;
use axum::routing::any;
use axum::{Json, Router};
use azureml_wire::local::RESOURCE_GROUP;
use serde_json::{Value, json};

/// The resource provider of workspaces.
const PROVIDER: &str = "microsoft.machinelearningservices";

/// The subscription routes. The path must be in lower case.
pub fn router() -> Router<Shared> {
    Router::new().route("/{*path}", any(answer))
}

async fn answer(
    State(app): State<Shared>,
    Path(path): Path<String>,
    method: Method,
) -> Result<Json<Value>> {
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let within = match parts.as_slice() {
        ["resourcegroups", group, rest @ ..] if *group != RESOURCE_GROUP => {
            return Err(other_group(group, rest));
        }
        ["resourcegroups", _, rest @ ..] => rest,
        all => all,
    };
    match within {
        ["providers", PROVIDER, "workspaces"] if method == Method::GET => {
            Ok(Json(json!({ "value": [workspace::resource(&app)] })))
        }
        ["providers", PROVIDER, "workspaces", name, ..] => Err(other_workspace(name)),
        _ => Err(nothing_at(&path)),
    }
}

fn other_group(group: &str, rest: &[&str]) -> Error {
    if let ["providers", PROVIDER, "workspaces", name, ..] = rest {
        return other_workspace(name);
    }
    Error::NotFound {
        code: "ResourceGroupNotFound",
        message: format!(
            "there is no resource group {group:?}; the local workspace is in {RESOURCE_GROUP:?}\n\
             hint: use the names in `Workspace::local()`, or a workspace on Azure"
        ),
    }
}
