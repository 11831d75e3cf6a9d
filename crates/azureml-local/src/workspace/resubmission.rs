//! Idempotent job submission: a client that received no response sends the same job again.
//!
//! The functions compare a submitted job with the existing job of the same name.

use super::output;
use super::uri::readdress;
use crate::store::experiment;
use crate::store::job::Job;
use azureml_wire::job::Job as WireJob;
use serde_json::{Value, json};

/// Members that may differ: the mutable ones, and those that the service sets.
const FREE: &[&str] = &[
    "displayName",
    "description",
    "isArchived",
    "properties",
    "tags",
    "status",
    "services",
    "parameters",
    "experimentName",
];

/// The path of the first member that differs between the existing job and the submitted one
/// (`resources.instanceCount`).
pub fn difference(url: &str, there: &Job, sent: &Value) -> Option<String> {
    let experiment = sent["experimentName"]
        .as_str()
        .filter(|name| !name.is_empty())
        .unwrap_or(experiment::DEFAULT);
    if experiment != there.experiment {
        return Some("experimentName".to_owned());
    }
    let mut before = normal(url, &there.properties, &there.name);
    let after = normal(url, sent, &there.name);
    // A seed that the service has drawn does not differ from a missing one.
    if after.pointer("/samplingAlgorithm/seed").is_none()
        && let Some(sampling) = before
            .get_mut("samplingAlgorithm")
            .and_then(Value::as_object_mut)
    {
        sampling.remove("seed");
    }
    first_difference(&before, &after)
}

/// Normalizes a job's properties, so that equivalent ones are equal.
fn normal(url: &str, properties: &Value, name: &str) -> Value {
    let mut normal = serde_json::from_value::<WireJob>(properties.clone())
        .and_then(|job| serde_json::to_value(&job))
        .unwrap_or_else(|_| properties.clone());
    if let Some(members) = normal.as_object_mut() {
        members.retain(|member, _| !FREE.contains(&member.as_str()));
    }
    if normal["jobType"] == "Command" {
        let outputs = normal.get_mut("outputs").and_then(Value::as_object_mut);
        for (output_name, output) in outputs.into_iter().flatten() {
            let is_file = output["jobOutputType"] == "uri_file";
            let place = output::place(output["uri"].as_str(), name, output_name, is_file);
            output["uri"] = json!(place);
        }
    }
    for (pointer, count) in [
        ("/resources", "instanceCount"),
        ("/trial/resources", "instanceCount"),
        ("/distribution", "processCountPerInstance"),
        ("/trial/distribution", "processCountPerInstance"),
    ] {
        if let Some(members) = normal.pointer_mut(pointer).and_then(Value::as_object_mut) {
            // One is the default.
            members.retain(|member, value| member != count || *value != json!(1));
        }
    }
    readdress(url, &mut normal);
    prune(&mut normal);
    normal
}

/// Removes empty members.
fn prune(value: &mut Value) {
    if let Some(members) = value.as_object_mut() {
        members.values_mut().for_each(prune);
        members.retain(|_, member| {
            !member.is_null()
                && member.as_object().is_none_or(|object| !object.is_empty())
                && member.as_array().is_none_or(|array| !array.is_empty())
        });
    }
}

fn first_difference(before: &Value, after: &Value) -> Option<String> {
    let (Some(old), Some(new)) = (before.as_object(), after.as_object()) else {
        return (before != after).then(String::new);
    };
    let names = old
        .keys()
        .chain(new.keys().filter(|name| !old.contains_key(*name)));
    names.into_iter().find_map(|name| {
        let below = match (old.get(name), new.get(name)) {
            (Some(old), Some(new)) => first_difference(old, new)?,
            _ => String::new(),
        };
        Some(if below.is_empty() {
            name.clone()
        } else {
            format!("{name}.{below}")
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_member_that_differs_is_named() {
        let job = json!({ "a": { "b": 1, "c": [1] }, "d": "x" });
        assert_eq!(first_difference(&job, &job), None);
        for (other, named) in [
            (json!({ "a": { "b": 1, "c": [2] }, "d": "x" }), "a.c"),
            (
                json!({ "a": { "b": 1, "c": [1], "e": 0 }, "d": "x" }),
                "a.e",
            ),
            (json!({ "d": "x" }), "a"),
            (json!({ "a": { "b": 1, "c": [1] }, "d": "y" }), "d"),
        ] {
            assert_eq!(first_difference(&job, &other).as_deref(), Some(named));
        }
        let mut empty = json!({ "a": {}, "b": [], "c": null, "d": { "e": {} }, "f": "" });
        prune(&mut empty);
        assert_eq!(empty, json!({ "f": "" }));
    }
}
