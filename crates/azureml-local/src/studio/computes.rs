//! Computes: clusters with their nodes, and the compute instance with its switch.

use super::language::Language;
use super::{live, page, part, text};
use crate::app::Shared;
use crate::error::Result;
use crate::machine::GpuUse;
use crate::routes::compute as calls;
use crate::store::compute;
use askama::Template;
use axum::Router;
use axum::extract::{Path, State};
use axum::response::{Redirect, Response};
use axum::routing::{get, post};
use serde_json::Value;

pub fn router() -> Router<Shared> {
    Router::new()
        .route("/computes", get(show))
        .route("/computes/events", get(live::of_computes))
        .route("/computes/{name}/start", post(start))
        .route("/computes/{name}/stop", post(stop))
}

#[derive(Template)]
#[template(path = "computes.html")]
struct Page {
    l: Language,
    here: &'static str,
    clusters: Vec<Cluster>,
    gpus: Vec<Gpu>,
    instances: Vec<Instance>,
}

#[derive(Template)]
#[template(path = "compute_list.html")]
struct List {
    l: Language,
    clusters: Vec<Cluster>,
    gpus: Vec<Gpu>,
    instances: Vec<Instance>,
}

/// A GPU of this machine; every node is this machine.
struct Gpu {
    name: String,
    busy: Option<u64>,
    /// The memory in use: in percent, and as text.
    memory: Option<(u64, String)>,
}

impl From<GpuUse> for Gpu {
    fn from(gpu: GpuUse) -> Self {
        let both = gpu.used.zip(gpu.memory.filter(|memory| *memory > 0));
        Self {
            name: gpu.name,
            busy: gpu.busy,
            memory: both.map(|(used, memory)| {
                let words = format!("{} / {}", text::size(used), text::size(memory));
                (used.saturating_mul(100) / memory, words)
            }),
        }
    }
}

struct Cluster {
    name: String,
    size: String,
    there: u64,
    most: u64,
    idle: u64,
    running: u64,
    preparing: u64,
    /// Jobs that occupy nodes.
    jobs: Vec<String>,
    /// Jobs that wait for nodes.
    waiting: Vec<String>,
    description: String,
}

struct Instance {
    name: String,
    size: String,
    state: String,
    stopped: bool,
}

async fn all(app: &Shared) -> Result<(Vec<Cluster>, Vec<Gpu>, Vec<Instance>)> {
    let (mut clusters, mut instances) = (Vec::new(), Vec::new());
    for compute in app.db(compute::list).await? {
        let name = compute.name.clone();
        let shown = calls::shown(app, compute).await;
        let text = |pointer: &str| {
            let value = shown.pointer(pointer).and_then(Value::as_str);
            value.unwrap_or_default().to_owned()
        };
        let count = |pointer: &str| shown.pointer(pointer).and_then(Value::as_u64).unwrap_or(0);
        let size = text("/properties/properties/vmSize");
        if text("/properties/computeType") == "ComputeInstance" {
            let state = text("/properties/properties/state");
            instances.push(Instance {
                stopped: state == "Stopped",
                name,
                size,
                state,
            });
        } else {
            let nodes = |state: &str| {
                count(&format!(
                    "/properties/properties/nodeStateCounts/{state}NodeCount"
                ))
            };
            let (jobs, waiting) = app.queue.jobs(&name);
            clusters.push(Cluster {
                jobs,
                waiting,
                there: count("/properties/properties/currentNodeCount"),
                most: count("/properties/properties/scaleSettings/maxNodeCount"),
                idle: nodes("idle"),
                running: nodes("running"),
                preparing: nodes("preparing"),
                description: text("/properties/description"),
                name,
                size,
            });
        }
    }
    let gpus = app.machine.gpu_uses().await;
    let gpus = gpus.into_iter().map(Gpu::from).collect();
    Ok((clusters, gpus, instances))
}

async fn show(State(app): State<Shared>, l: Language) -> Result<Response> {
    let (clusters, gpus, instances) = all(&app).await?;
    page(&Page {
        l,
        here: "computes",
        clusters,
        gpus,
        instances,
    })
}

/// The list, rendered.
pub async fn list_part(app: &Shared, l: Language) -> Result<String> {
    let (clusters, gpus, instances) = all(app).await?;
    part(&List {
        l,
        clusters,
        gpus,
        instances,
    })
}

async fn start(State(app): State<Shared>, Path(name): Path<String>) -> Result<Redirect> {
    calls::turn(&app, name, "Running").await?;
    Ok(Redirect::to("/studio/computes"))
}

async fn stop(State(app): State<Shared>, Path(name): Path<String>) -> Result<Redirect> {
    calls::turn(&app, name, "Stopped").await?;
    Ok(Redirect::to("/studio/computes"))
}
