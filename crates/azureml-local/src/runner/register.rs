//! Registers the named outputs of a completed job under their requested names.

use crate::error::Result;
use crate::store::asset::{self, Kind};
use crate::store::job::Job;
use crate::workspace::output::named_outputs;
use rusqlite::Connection;
use serde_json::json;

/// The property of a version with the job and the output that it comes from.
const ORIGIN: &str = "azureml.jobOutput";

/// Registers the outputs of a job. Idempotent: a server may be killed before it records the job's
/// end.
pub fn register(store: &Connection, job: &Job) -> Result<()> {
    for output in named_outputs(job) {
        let Some(name) = &output.asset_name else {
            continue;
        };
        let origin = format!("{}/{}", job.name, output.name);
        let common = json!({ ORIGIN: origin });
        let (kind, properties) = if output.kind.ends_with("_model") {
            let model = json!({
                "modelUri": output.uri,
                "modelType": output.kind,
                "jobName": job.name,
                "properties": common,
            });
            (Kind::Model, model)
        } else {
            let data = json!({
                "dataUri": output.uri,
                "dataType": output.kind,
                "properties": common,
            });
            (Kind::Data, data)
        };
        let versions = asset::versions(store, kind, name)?;
        let is_there = |version: &asset::Asset| {
            version.properties["properties"][ORIGIN].as_str() == Some(&origin)
        };
        if !versions.iter().any(is_there) {
            let version = asset::next_version(&versions);
            asset::put(store, kind, name, &version, &properties)?;
            tracing::info!(job = job.name, name, version, "registered an output");
        }
    }
    Ok(())
}
