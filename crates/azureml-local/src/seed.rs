//! The initial content of a local workspace: computes and environments like those of the workshop.

use crate::error::Result;
use crate::store::asset::{self, Kind};
use crate::store::{compute, experiment};
use rusqlite::Connection;
use serde_json::{Value, json};

/// Creates the resources that are missing; existing ones are not changed.
pub fn seed(store: &Connection) -> Result<()> {
    experiment::seed(store)?;
    for (name, body) in computes() {
        if compute::get(store, name)?.is_none() {
            compute::put(store, name, &body)?;
        }
    }
    for (name, version, properties) in environments() {
        if asset::get(store, Kind::Environment, name, version)?.is_none() {
            asset::put(store, Kind::Environment, name, version, &properties)?;
        }
    }
    Ok(())
}

fn cluster(size: &str, most: u32) -> Value {
    json!({
        "properties": {
            "computeType": "AmlCompute",
            "properties": {
                "osType": "Linux",
                "vmSize": size,
                "vmPriority": "Dedicated",
                "scaleSettings": {
                    "minNodeCount": 0,
                    "maxNodeCount": most,
                    "nodeIdleTimeBeforeScaleDown": "PT120S",
                },
            },
        },
        "tags": {},
    })
}

fn computes() -> [(&'static str, Value); 3] {
    [
        // The size is that of the workshop's computes; the description reports this machine's
        // hardware.
        ("cc-aml-gpu", cluster("STANDARD_NC6S_V3", 1)),
        ("cpu-cluster", cluster("STANDARD_DS3_V2", 2)),
        (
            "ci-aml-workshop",
            json!({
                "properties": {
                    "computeType": "ComputeInstance",
                    "description": "This machine",
                    "properties": {
                        "vmSize": "STANDARD_DS3_V2",
                        "state": "Running",
                    },
                },
                "tags": {},
            }),
        ),
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
