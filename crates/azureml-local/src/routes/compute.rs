//! Compute routes: clusters whose nodes scale up and down, and the compute instance.

use super::resource;
use super::workspace::LOCATION;
use crate::app::Shared;
use crate::error::{Error, Result};
use crate::machine::Machine;
use crate::queue::MOST_NODES;
use crate::server::body::{Json as Body, strict};
use crate::store::compute::{self, Compute};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::routing::{get, post};
use axum::{Json, Router};
use azureml_wire::arm::Resource;
use azureml_wire::compute as wire;
use azureml_wire::local::scope;
use serde_json::{Value, json};

/// The compute routes.
pub fn router() -> Router<Shared> {
    Router::new()
        .route("/computes", get(list))
        .route("/computes/{name}", get(one).put(put).delete(delete))
        .route("/computes/{name}/start", post(start))
        .route("/computes/{name}/stop", post(stop))
        .route("/operationsStatus/{id}", get(operation))
}

/// A compute as an ARM resource, with the current states of its nodes.
pub async fn shown(app: &Shared, compute: Compute) -> Value {
    let mut properties = compute.body["properties"].clone();
    properties["provisioningState"] = json!("Succeeded");
    properties["computeLocation"] = json!(LOCATION);
    properties["createdOn"] = json!(compute.created_at);
    properties["modifiedOn"] = json!(compute.created_at);
    properties["isAttachedCompute"] = json!(false);
    if properties["computeType"] == "AmlCompute" {
        let nodes = app.queue.nodes(&compute.name);
        let inner = &mut properties["properties"];
        let there = nodes.idle + nodes.running + nodes.preparing + nodes.leaving;
        inner["currentNodeCount"] = json!(there);
        inner["targetNodeCount"] = json!(there - nodes.leaving);
        inner["allocationState"] = json!(if nodes.leaving > 0 || nodes.preparing > 0 {
            "Resizing"
        } else {
            "Steady"
        });
        inner["nodeStateCounts"] = json!({
            "idleNodeCount": nodes.idle,
            "runningNodeCount": nodes.running,
            "preparingNodeCount": nodes.preparing,
            "leavingNodeCount": nodes.leaving,
            "unusableNodeCount": 0,
            "preemptedNodeCount": 0,
        });
    }
    if properties
        .get("description")
        .is_none_or(|description| description == "")
    {
        properties["description"] = json!(described(app, &properties).await);
    }
    let mut shown = resource(
        &["computes", &compute.name],
        &compute.created_at,
        &properties,
    );
    shown["location"] = json!(LOCATION);
    shown["tags"] = compute
        .body
        .get("tags")
        .filter(|tags| tags.is_object())
        .cloned()
        .unwrap_or_else(|| json!({}));
    shown
}

/// The default description of a compute: the hardware that it actually uses.
async fn described(app: &Shared, properties: &Value) -> String {
    let cores = Machine::cores();
    let size = properties
        .pointer("/properties/vmSize")
        .and_then(Value::as_str)
        .unwrap_or_default();
    // The sizes of Azure's GPU machines start with this prefix.
    let wants_gpu = size.to_ascii_uppercase().starts_with("STANDARD_N");
    match (wants_gpu, app.machine.gpus().await) {
        (true, []) => format!("This machine has no NVIDIA GPU: jobs run on its {cores} CPU cores"),
        (true, gpus) => format!("GPU of this machine: {}", gpus.join(", ")),
        (false, _) => format!("{cores} CPU cores of this machine"),
    }
}

async fn find(app: &Shared, name: String) -> Result<Compute> {
    app.db(move |store| match compute::get(store, &name)? {
        Some(compute) => Ok(compute),
        None => Err(Error::NotFound {
            code: "ResourceNotFound",
            message: missing(&name, &compute::list(store)?),
        }),
    })
    .await
}

/// The error message for a compute that does not exist; it lists those that do.
pub fn missing(name: &str, computes: &[Compute]) -> String {
    let names: Vec<&str> = computes
        .iter()
        .map(|compute| compute.name.as_str())
        .collect();
    format!(
        "there is no compute target {name:?} in this workspace; there are: {}",
        names.join(", ")
    )
}

async fn list(State(app): State<Shared>) -> Result<Json<Value>> {
    let mut value = Vec::new();
    for compute in app.db(compute::list).await? {
        value.push(shown(&app, compute).await);
    }
    Ok(Json(json!({ "value": value })))
}

async fn one(State(app): State<Shared>, Path(name): Path<String>) -> Result<Json<Value>> {
    let compute = find(&app, name).await?;
    Ok(Json(shown(&app, compute).await))
}

async fn put(
    State(app): State<Shared>,
    Path(name): Path<String>,
    Body(mut body): Body,
) -> Result<(StatusCode, HeaderMap, Json<Value>)> {
    let fine = (2..=32).contains(&name.len())
        && name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if !fine {
        return Err(Error::invalid(format!(
            "{name:?} is no name of a compute\nhint: use 2 to 32 letters, digits and `-`, a letter first"
        )));
    }
    match body
        .pointer("/properties/computeType")
        .and_then(Value::as_str)
    {
        Some("AmlCompute") => {}
        Some("ComputeInstance") => {
            return Err(Error::invalid(
                "the local workspace has one compute instance and makes no others\n\
                 hint: make a cluster (AmlCompute)",
            ));
        }
        other => {
            return Err(Error::invalid(format!(
                "the local workspace has no computes of the kind {:?}\nhint: make a cluster (AmlCompute)",
                other.unwrap_or("")
            )));
        }
    }
    let request: Resource<wire::Compute> = strict(&body)?;
    if let wire::Compute::AmlCompute(cluster) = &request.properties
        && let Some(scale) = &cluster.properties.scale_settings
    {
        if scale.max_node_count == 0 || scale.min_node_count.unwrap_or(0) > scale.max_node_count {
            return Err(Error::invalid(
                "a cluster has at least one node at most, and no more at least than at most",
            ));
        }
        if scale.max_node_count as usize > MOST_NODES {
            return Err(Error::invalid(format!(
                "a cluster of the local workspace has up to {MOST_NODES} nodes, and this one would have {}\n\
                 hint: all of them are this machine; ask for fewer",
                scale.max_node_count
            )));
        }
    }
    let inner = &mut body["properties"]["properties"];
    if !inner.is_object() {
        *inner = json!({});
    }
    if inner.get("scaleSettings").is_none() {
        inner["scaleSettings"] = json!({ "minNodeCount": 0, "maxNodeCount": 1 });
    }
    let (new, compute) = app
        .db(move |store| {
            let old = compute::get(store, &name)?;
            if let Some(old) = &old
                && old.body.pointer("/properties/computeType")
                    != body.pointer("/properties/computeType")
            {
                return Err(Error::conflict(format!(
                    "compute {name:?} exists and is of another kind"
                )));
            }
            let name = old.as_ref().map_or(name, |old| old.name.clone());
            compute::put(store, &name, &body)?;
            let compute = compute::get(store, &name)?
                .ok_or_else(|| Error::Internal("a compute got lost".to_owned()))?;
            Ok((old.is_none(), compute))
        })
        .await?;
    app.queue.refresh(&app).await?;
    let status = if new {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    Ok((status, accepted(&app), Json(shown(&app, compute).await)))
}

async fn delete(
    State(app): State<Shared>,
    Path(name): Path<String>,
) -> Result<(StatusCode, HeaderMap)> {
    let compute = find(&app, name).await?;
    if app.queue.uses(&compute.name) {
        return Err(Error::conflict(format!(
            "jobs run on compute {:?} or wait for it\nhint: cancel them first",
            compute.name
        )));
    }
    if compute.body.pointer("/properties/computeType") == Some(&json!("ComputeInstance")) {
        return Err(Error::conflict(
            "the compute instance of the local workspace is this machine and stays",
        ));
    }
    app.db(move |store| compute::delete(store, &compute.name))
        .await?;
    app.queue.refresh(&app).await?;
    Ok((StatusCode::ACCEPTED, accepted(&app)))
}

async fn start(
    State(app): State<Shared>,
    Path(name): Path<String>,
) -> Result<(StatusCode, HeaderMap)> {
    turn(&app, name, "Running").await?;
    Ok((StatusCode::ACCEPTED, accepted(&app)))
}

async fn stop(
    State(app): State<Shared>,
    Path(name): Path<String>,
) -> Result<(StatusCode, HeaderMap)> {
    turn(&app, name, "Stopped").await?;
    Ok((StatusCode::ACCEPTED, accepted(&app)))
}

/// Sets the state of an instance, `Running` or `Stopped`.
pub async fn turn(app: &Shared, name: String, to: &'static str) -> Result<()> {
    let mut compute = find(app, name).await?;
    if compute.body.pointer("/properties/computeType") != Some(&json!("ComputeInstance")) {
        return Err(Error::invalid(format!(
            "compute {:?} is a cluster: its nodes start and stop with its jobs",
            compute.name
        )));
    }
    compute.body["properties"]["properties"]["state"] = json!(to);
    app.db(move |store| compute::put(store, &compute.name, &compute.body))
        .await?;
    app.queue.refresh(app).await
}

/// The headers of a 202 response. The operation has finished before the client polls its status.
pub fn accepted(app: &Shared) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let id = uuid::Uuid::new_v4();
    let address = format!(
        "{}{}",
        app.url(),
        scope().path(["operationsStatus", &id.to_string()])
    );
    if let Ok(value) = HeaderValue::from_str(&address) {
        headers.insert("location", value.clone());
        headers.insert("azure-asyncoperation", value);
    }
    headers.insert("retry-after", HeaderValue::from_static("1"));
    headers
}

async fn operation(Path(id): Path<String>) -> Json<Value> {
    Json(json!({ "id": id, "status": "Succeeded" }))
}
