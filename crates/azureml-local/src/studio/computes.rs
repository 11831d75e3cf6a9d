//! Computes: clusters with their nodes, and the compute instance with its switch.

use super::language::Language;
use super::page::{page, part};
use super::text;
use crate::error::Result;
use crate::machine::GpuUse;
use crate::workspace::{Shared, Workspace, compute};
use askama::Template;
use axum::Router;
use axum::extract::{Path, State};
use axum::response::{Redirect, Response};
use axum::routing::{get, post};
use azureml_wire::compute as wire;

pub fn router() -> Router<Shared> {
    Router::new()
        .route("/computes", get(show))
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

async fn all(app: &Workspace) -> Result<(Vec<Cluster>, Vec<Gpu>, Vec<Instance>)> {
    let (mut clusters, mut instances) = (Vec::new(), Vec::new());
    for compute in compute::list(app).await? {
        let description = compute::description(app, &compute).await;
        let name = compute.name;
        match compute.body.properties {
            wire::Compute::AmlCompute(cluster) => {
                let (nodes, (jobs, waiting)) = app
                    .scheduling
                    .read(|queue| (queue.nodes(&name), queue.jobs(&name)));
                let scale = cluster.properties.scale_settings.unwrap_or_default();
                clusters.push(Cluster {
                    jobs,
                    waiting,
                    there: compute::node_count(&nodes).into(),
                    most: scale.max_node_count.into(),
                    idle: nodes.idle_node_count.into(),
                    running: nodes.running_node_count.into(),
                    preparing: nodes.preparing_node_count.into(),
                    description,
                    name,
                    size: cluster.properties.vm_size.unwrap_or_default(),
                });
            }
            wire::Compute::ComputeInstance(instance) => {
                let state = instance.properties.state.unwrap_or_default();
                instances.push(Instance {
                    stopped: state == "Stopped",
                    name,
                    size: instance.properties.vm_size.unwrap_or_default(),
                    state,
                });
            }
            wire::Compute::Other => {}
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
pub async fn list_part(app: &Workspace, l: Language) -> Result<String> {
    let (clusters, gpus, instances) = all(app).await?;
    part(&List {
        l,
        clusters,
        gpus,
        instances,
    })
}

async fn start(State(app): State<Shared>, Path(name): Path<String>) -> Result<Redirect> {
    compute::turn(&app, name, "Running").await?;
    Ok(Redirect::to("/studio/computes"))
}

async fn stop(State(app): State<Shared>, Path(name): Path<String>) -> Result<Redirect> {
    compute::turn(&app, name, "Stopped").await?;
    Ok(Redirect::to("/studio/computes"))
}
