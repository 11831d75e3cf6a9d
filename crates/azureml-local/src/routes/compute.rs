//! Compute routes: clusters whose nodes scale up and down, and the compute instance.

use super::resource::{resource, time};
use crate::error::Result;
use crate::server::body::Json as Body;
use crate::store::compute::Compute;
use crate::workspace::{LOCATION, Shared, Workspace, compute};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::routing::{get, post};
use axum::{Json, Router};
use azureml_wire::arm::{Page, Resource};
use azureml_wire::compute::{self as wire, ComputeBody};
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
async fn shown(app: &Workspace, found: Compute) -> Resource<wire::Compute> {
    let description = compute::description(app, &found).await;
    let mut properties = found.body.properties;
    match &mut properties {
        wire::Compute::AmlCompute(cluster) => {
            complete(cluster, description, &found.created_at);
            let nodes = app.scheduling.read(|queue| queue.nodes(&found.name));
            let is_steady = nodes.leaving_node_count == 0 && nodes.preparing_node_count == 0;
            let there = compute::node_count(&nodes);
            let cluster = &mut cluster.properties;
            cluster.current_node_count = Some(there);
            cluster.target_node_count = Some(there - nodes.leaving_node_count);
            cluster.allocation_state =
                Some(if is_steady { "Steady" } else { "Resizing" }.to_owned());
            cluster.node_state_counts = Some(nodes);
        }
        wire::Compute::ComputeInstance(instance) => {
            complete(instance, description, &found.created_at);
        }
        wire::Compute::Other => {}
    }
    Resource {
        location: Some(LOCATION.to_owned()),
        tags: Some(found.body.tags.unwrap_or_default()),
        ..resource(&["computes", &found.name], &found.created_at, properties)
    }
}

/// Adds the members that only the service sets.
fn complete<P>(compute: &mut ComputeBody<P>, description: String, created_at: &str) {
    compute.description = Some(description);
    compute.provisioning_state = Some("Succeeded".to_owned());
    compute.compute_location = Some(LOCATION.to_owned());
    compute.created_on = time(created_at);
    compute.modified_on = Some(created_at.into());
    compute.is_attached_compute = Some(false.into());
}

async fn list(State(app): State<Shared>) -> Result<Json<Page<Resource<wire::Compute>>>> {
    let mut value = Vec::new();
    for found in compute::list(&app).await? {
        value.push(shown(&app, found).await);
    }
    Ok(Json(Page {
        value,
        next_link: None,
    }))
}

async fn one(
    State(app): State<Shared>,
    Path(name): Path<String>,
) -> Result<Json<Resource<wire::Compute>>> {
    let found = compute::find(&app, name).await?;
    Ok(Json(shown(&app, found).await))
}

async fn put(
    State(app): State<Shared>,
    Path(name): Path<String>,
    Body(body): Body,
) -> Result<(StatusCode, HeaderMap, Json<Resource<wire::Compute>>)> {
    let (is_new, stored) = compute::put(&app, name, &body).await?;
    let status = if is_new {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    Ok((status, accepted(&app), Json(shown(&app, stored).await)))
}

async fn delete(
    State(app): State<Shared>,
    Path(name): Path<String>,
) -> Result<(StatusCode, HeaderMap)> {
    compute::delete(&app, name).await?;
    Ok((StatusCode::ACCEPTED, accepted(&app)))
}

async fn start(
    State(app): State<Shared>,
    Path(name): Path<String>,
) -> Result<(StatusCode, HeaderMap)> {
    compute::turn(&app, name, "Running").await?;
    Ok((StatusCode::ACCEPTED, accepted(&app)))
}

async fn stop(
    State(app): State<Shared>,
    Path(name): Path<String>,
) -> Result<(StatusCode, HeaderMap)> {
    compute::turn(&app, name, "Stopped").await?;
    Ok((StatusCode::ACCEPTED, accepted(&app)))
}

/// The headers of a 202 response. The operation has finished before the client polls its status.
pub fn accepted(app: &Workspace) -> HeaderMap {
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
