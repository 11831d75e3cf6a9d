//! Computes: clusters whose nodes scale up and down, and the compute instance.

use super::Workspace;
use super::queue::MOST_NODES;
use crate::error::{Error, Result};
use crate::machine::Machine;
use crate::read::strict;
use crate::store::compute::{self, Body, Compute};
use azureml_wire::arm::Resource;
use azureml_wire::compute::{self as wire, NodeStateCounts, ScaleSettings};
use serde_json::Value;
use std::mem;

/// All computes, by name.
pub async fn list(app: &Workspace) -> Result<Vec<Compute>> {
    app.db(compute::list).await
}

/// Finds a compute.
pub async fn find(app: &Workspace, name: String) -> Result<Compute> {
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

/// The description of a compute; by default, the hardware that it actually uses.
pub async fn description(app: &Workspace, compute: &Compute) -> String {
    let (own, size) = match &compute.body.properties {
        wire::Compute::AmlCompute(cluster) => (&cluster.description, &cluster.properties.vm_size),
        wire::Compute::ComputeInstance(instance) => {
            (&instance.description, &instance.properties.vm_size)
        }
        wire::Compute::Other => (&None, &None),
    };
    if let Some(own) = own.as_ref().filter(|own| !own.is_empty()) {
        return own.clone();
    }
    let cores = Machine::cores();
    // The sizes of Azure's GPU machines start with this prefix.
    let size = size.as_deref().unwrap_or_default().to_ascii_uppercase();
    match (size.starts_with("STANDARD_N"), app.machine.gpus().await) {
        (true, []) => format!("This machine has no NVIDIA GPU: jobs run on its {cores} CPU cores"),
        (true, gpus) => format!("GPU of this machine: {}", gpus.join(", ")),
        (false, _) => format!("{cores} CPU cores of this machine"),
    }
}

/// The number of nodes that exist.
pub fn node_count(nodes: &NodeStateCounts) -> u32 {
    nodes.idle_node_count
        + nodes.running_node_count
        + nodes.preparing_node_count
        + nodes.leaving_node_count
}

/// Creates or updates a cluster. Returns whether it is new.
pub async fn put(app: &Workspace, name: String, body: &Value) -> Result<(bool, Compute)> {
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
    let Resource {
        mut properties,
        tags,
        ..
    } = strict::<Resource<wire::Compute>>(body)?;
    if let wire::Compute::AmlCompute(cluster) = &mut properties {
        let scale = cluster
            .properties
            .scale_settings
            .get_or_insert_with(|| ScaleSettings {
                min_node_count: Some(0),
                max_node_count: 1,
                ..ScaleSettings::default()
            });
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
    let body = Body { properties, tags };
    let stored = app
        .db(move |store| {
            let old = compute::get(store, &name)?;
            if let Some(old) = &old
                && mem::discriminant(&old.body.properties) != mem::discriminant(&body.properties)
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
    app.refresh_computes().await?;
    Ok(stored)
}

/// Deletes a cluster that no job uses.
pub async fn delete(app: &Workspace, name: String) -> Result<()> {
    let compute = find(app, name).await?;
    if app.scheduling.read(|queue| queue.uses(&compute.name)) {
        return Err(Error::conflict(format!(
            "jobs run on compute {:?} or wait for it\nhint: cancel them first",
            compute.name
        )));
    }
    if let wire::Compute::ComputeInstance(_) = compute.body.properties {
        return Err(Error::conflict(
            "the compute instance of the local workspace is this machine and stays",
        ));
    }
    app.db(move |store| compute::delete(store, &compute.name))
        .await?;
    app.refresh_computes().await
}

/// Sets the state of an instance, `Running` or `Stopped`.
pub async fn turn(app: &Workspace, name: String, to: &'static str) -> Result<()> {
    let mut compute = find(app, name).await?;
    let wire::Compute::ComputeInstance(instance) = &mut compute.body.properties else {
        return Err(Error::invalid(format!(
            "compute {:?} is a cluster: its nodes start and stop with its jobs",
            compute.name
        )));
    };
    instance.properties.state = Some(to.to_owned());
    app.db(move |store| compute::put(store, &compute.name, &compute.body))
        .await?;
    app.refresh_computes().await
}
