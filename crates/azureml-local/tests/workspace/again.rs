//! Idempotent submission: a second PUT of a job with the same or with other content.

use crate::support::Workspace;
use azureml_wire::local::scope;
use serde_json::{Value, json};

/// A job with all properties that a job can have.
fn full() -> Value {
    json!({
        "environmentVariables": { "A": "1" },
        "inputs": { "lr": { "jobInputType": "literal", "value": "0.5" } },
        "outputs": { "o": { "jobOutputType": "uri_folder", "mode": "ReadWriteMount" } },
        "limits": { "jobLimitsType": "Command", "timeout": "PT5M" },
        "resources": { "instanceCount": 2, "shmSize": "2g" },
        "distribution": { "distributionType": "PyTorch", "processCountPerInstance": 2 },
        "identity": { "identityType": "AMLToken" },
        "queueSettings": { "jobTier": "Standard" },
    })
}

/// A local workspace whose jobs stay queued.
fn waiting() -> Workspace {
    let workspace = Workspace::start();
    workspace
        .arm("POST", "/computes/ci-aml-workshop/stop", &Value::Null)
        .expect(202);
    workspace
}

fn on_the_stopped(mut more: Value) -> Value {
    more["computeId"] = json!(scope().path(["computes", "ci-aml-workshop"]));
    more
}

#[test]
fn a_job_that_differs_in_any_member_is_refused_by_the_members_name() {
    let workspace = waiting();
    let job = on_the_stopped(full());
    workspace.submit("taken", "true", &job);
    workspace.try_submit("taken", "true", &job).expect(200);
    for (pointer, value, named) in [
        (
            "/environmentVariables/A",
            json!("2"),
            "environmentVariables.A",
        ),
        (
            "/environmentVariables/B",
            json!("1"),
            "environmentVariables.B",
        ),
        ("/environmentVariables", Value::Null, "environmentVariables"),
        ("/inputs/lr/value", json!("0.6"), "inputs.lr.value"),
        (
            "/outputs/o/uri",
            json!("azureml://datastores/workspaceblobstore/paths/x"),
            "outputs.o.uri",
        ),
        ("/outputs/o/assetName", json!("x"), "outputs.o.assetName"),
        (
            "/outputs/p",
            json!({ "jobOutputType": "uri_file" }),
            "outputs.p",
        ),
        ("/outputs", Value::Null, "outputs"),
        ("/limits/timeout", json!("PT6M"), "limits.timeout"),
        ("/limits", Value::Null, "limits"),
        (
            "/resources/instanceCount",
            json!(1),
            "resources.instanceCount",
        ),
        ("/resources/shmSize", json!("3g"), "resources.shmSize"),
        (
            "/distribution/processCountPerInstance",
            json!(3),
            "distribution.processCountPerInstance",
        ),
        ("/distribution", Value::Null, "distribution"),
        (
            "/identity/identityType",
            json!("UserIdentity"),
            "identity.identityType",
        ),
        (
            "/queueSettings/jobTier",
            json!("Spot"),
            "queueSettings.jobTier",
        ),
        ("/experimentName", json!("others"), "experimentName"),
        (
            "/computeId",
            json!(scope().path(["computes", "cpu-cluster"])),
            "computeId",
        ),
        (
            "/environmentId",
            json!(scope().path(["environments", "other", "versions", "1"])),
            "environmentId",
        ),
        (
            "/codeId",
            json!(scope().path(["codes", "c", "versions", "1"])),
            "codeId",
        ),
    ] {
        let mut other = job.clone();
        let (parent, member) = pointer.rsplit_once('/').expect("a path");
        other.pointer_mut(parent).expect("it is there")[member] = value;
        let answer = workspace
            .try_submit("taken", "true", &other)
            .expect(409)
            .json();
        let message = answer["error"]["message"].as_str().expect("a message");
        assert!(
            message.contains(&format!("exists with another {named},")),
            "{pointer}: {message}"
        );
        assert!(
            message.contains("\nhint: submit it under a new name"),
            "{message}"
        );
    }
    let answer = workspace
        .try_submit("taken", "false", &job)
        .expect(409)
        .json();
    assert!(answer.to_string().contains("another command"), "{answer}");
}

#[test]
fn the_same_job_in_other_words_is_the_same_job() {
    let workspace = waiting();
    workspace.submit("plain", "true", &on_the_stopped(json!({})));
    let same = json!({
        "displayName": "Renamed",
        "description": "d",
        "tags": { "a": "b" },
        "properties": { "p": "q" },
        "environmentVariables": {},
        "inputs": {},
        "resources": { "instanceCount": 1 },
        "isArchived": false,
    });
    workspace
        .try_submit("plain", "true", &on_the_stopped(same))
        .expect(200);
    // Sends back the properties of the response.
    for (name, more) in [("plain", json!({})), ("full", full())] {
        let _ = workspace.try_submit(name, "true", &on_the_stopped(more));
        let shown = workspace.get(&format!("/jobs/{name}"));
        let mut again = json!({ "properties": shown["properties"] });
        for read_only in ["status", "parameters"] {
            let members = again["properties"].as_object_mut().expect("an object");
            members.remove(read_only);
        }
        workspace
            .arm("PUT", &format!("/jobs/{name}"), &again)
            .expect(200);
    }
}

#[test]
fn a_sweep_that_differs_is_refused_and_the_same_is_not() {
    let workspace = waiting();
    let sweep = |metric: &str, choices: Value, tries: u32| {
        json!({ "properties": {
            "jobType": "Sweep",
            "objective": { "primaryMetric": metric, "goal": "maximize" },
            "samplingAlgorithm": { "samplingAlgorithmType": "Random" },
            "searchSpace": { "x": ["choice", [choices]] },
            "limits": { "jobLimitsType": "Sweep", "maxTotalTrials": tries },
            "trial": {
                "command": "echo ${{search_space.x}}",
                "environmentId": scope().path(["environments", "rust-tch-gpu", "versions", "1"]),
            },
            "computeId": scope().path(["computes", "ci-aml-workshop"]),
            "experimentName": "tests",
        } })
    };
    let put = |body: &Value| workspace.arm("PUT", "/jobs/s", body);
    put(&sweep("m", json!([1, 2]), 2)).expect(201);
    put(&sweep("m", json!([1, 2]), 2)).expect(200);
    for (other, named) in [
        (sweep("n", json!([1, 2]), 2), "objective.primaryMetric"),
        (sweep("m", json!([1, 3]), 2), "searchSpace.x"),
        (sweep("m", json!([1, 2]), 3), "limits.maxTotalTrials"),
    ] {
        let answer = put(&other).expect(409).json();
        let message = answer["error"]["message"].as_str().expect("a message");
        assert!(message.contains(&format!("another {named},")), "{message}");
    }
    let answer = workspace
        .try_submit("s", "true", &json!({}))
        .expect(409)
        .json();
    assert!(answer.to_string().contains("another jobType"), "{answer}");
}
