//! The initial content of a local workspace: computes and environments like those of the workshop.

use crate::error::Result;
use crate::store::asset::{self, Kind};
use crate::store::compute::{self, Body};
use crate::store::experiment;
use azureml_wire::Bag;
use azureml_wire::compute as wire;
use azureml_wire::compute::{
    AmlComputeProperties, ComputeBody, ComputeInstanceProperties, ScaleSettings,
};
use rusqlite::Connection;
use serde_json::{Value, json};

/// Creates the resources that are missing; existing ones are not changed.
pub fn seed(store: &Connection) -> Result<()> {
    experiment::seed(store)?;
    for (name, properties) in computes() {
        if compute::get(store, name)?.is_none() {
            let tags = Some(Bag::new());
            compute::put(store, name, &Body { properties, tags })?;
        }
    }
    for (name, version, properties) in environments() {
        if asset::get(store, Kind::Environment, name, version)?.is_none() {
            asset::put(store, Kind::Environment, name, version, &properties)?;
        }
    }
    Ok(())
}

fn cluster(size: &str, most: u32) -> wire::Compute {
    wire::Compute::AmlCompute(ComputeBody {
        properties: AmlComputeProperties {
            os_type: Some("Linux".to_owned()),
            vm_size: Some(size.to_owned()),
            vm_priority: Some("Dedicated".to_owned()),
            scale_settings: Some(ScaleSettings {
                min_node_count: Some(0),
                max_node_count: most,
                node_idle_time_before_scale_down: Some("PT120S".to_owned()),
            }),
            ..AmlComputeProperties::default()
        },
        ..ComputeBody::default()
    })
}

fn computes() -> [(&'static str, wire::Compute); 3] {
    let instance = wire::Compute::ComputeInstance(ComputeBody {
        description: Some("This machine".to_owned()),
        properties: ComputeInstanceProperties {
            vm_size: Some("STANDARD_DS3_V2".to_owned()),
            state: Some("Running".to_owned()),
        },
        ..ComputeBody::default()
    });
    [
        // The size is that of the workshop's computes; the description reports this machine's
        // hardware.
        ("cc-aml-gpu", cluster("STANDARD_NC6S_V3", 1)),
        ("cpu-cluster", cluster("STANDARD_DS3_V2", 2)),
        ("ci-aml-workshop", instance),
    ]
}

fn environments() -> [(&'static str, &'static str, Value); 2] {
    [
        (
            "rust-tch-gpu",
            "1",
            json!({
                "description": "Rust programs with tch: Ubuntu, CUDA and the libtorch of PyTorch 2.11. \
                    The local workspace runs jobs on this machine itself, with the libtorch that it finds here.",
                "image": "mcr.microsoft.com/azureml/curated/acpt-pytorch-2.11-cuda13:1",
                "osType": "Linux",
                "isAnonymous": false,
                "tags": { "language": "rust", "framework": "tch" },
            }),
        ),
        (
            "AzureML-acpt-pytorch-2.11-cuda13",
            "1",
            json!({
                "description": "PyTorch 2.11 with CUDA 13. The local workspace runs jobs on this machine itself.",
                "image": "mcr.microsoft.com/azureml/curated/acpt-pytorch-2.11-cuda13:1",
                "osType": "Linux",
                "isAnonymous": false,
                "tags": { "PyTorch": "2.11", "GPU": "Cuda13" },
                "properties": { "azureml.curated": "true" },
            }),
        ),
    ]
}
