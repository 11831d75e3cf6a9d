//! MLflow's calls, as programs without MLflow make them.

use crate::support::Workspace;
use azureml_wire::local::scope;
use serde_json::{Value, json};

/// A training program that knows nothing but HTTP.
const LOG: &str = r#"
import json, os, urllib.request

for key, value, step in [("Test loss", 0.5, 1), ("Test loss", "NaN", 2), ("Accuracy", 98.5, 2)]:
    metric = {"run_id": os.environ["MLFLOW_RUN_ID"], "key": key, "value": value, "timestamp": step, "step": step}
    urllib.request.urlopen(urllib.request.Request(
        os.environ["MLFLOW_TRACKING_URI"] + "/api/2.0/mlflow/runs/log-metric",
        data=json.dumps(metric).encode(),
        headers={
            "Authorization": "Bearer " + os.environ["MLFLOW_TRACKING_TOKEN"],
            "Content-Type": "application/json",
        },
    ))
"#;

fn call(workspace: &Workspace, call: &str, body: &Value) -> Value {
    let method = if body.is_null() { "GET" } else { "POST" };
    workspace
        .ask(method, &scope().mlflow(call), body)
        .expect(200)
        .json()
}

#[test]
fn a_job_is_a_run_and_its_metrics_are_kept() {
    let workspace = Workspace::start();
    // The job logs by itself, as a training program in any language can.
    let code = workspace.code(
        "44444444-4444-4444-4444-444444444444",
        "ff",
        &[("log.py", LOG)],
    );
    workspace.submit(
        "trains",
        "python3 log.py",
        &json!({ "displayName": "Trains", "codeId": code }),
    );
    workspace.complete("trains");
    let run = call(&workspace, "runs/get?run_id=trains", &Value::Null)["run"].clone();
    assert_eq!(run["info"]["status"], "FINISHED");
    assert_eq!(run["info"]["run_name"], "Trains");
    assert_eq!(run["data"]["metrics"][0]["key"], "Accuracy");
    assert_eq!(run["data"]["metrics"][0]["value"], 98.5);
    assert_eq!(run["data"]["metrics"][1]["value"], "NaN");
    let history = call(
        &workspace,
        "metrics/get-history?run_id=trains&metric_key=Test%20loss&max_results=1",
        &Value::Null,
    );
    assert_eq!(
        history["metrics"],
        json!([{ "key": "Test loss", "value": 0.5, "timestamp": 1, "step": 1 }])
    );
    let token = history["next_page_token"].as_str().expect("a second page");
    let rest = call(
        &workspace,
        &format!("metrics/get-history?run_id=trains&metric_key=Test%20loss&page_token={token}"),
        &Value::Null,
    );
    assert_eq!(rest["metrics"].as_array().map(Vec::len), Some(1));
    // Both versions of the API's path.
    let older = scope()
        .mlflow("runs/get?run_id=trains")
        .replace("/mlflow/v2.0/", "/mlflow/v1.0/");
    workspace.ask("GET", &older, &Value::Null).expect(200);
}

#[test]
fn a_job_ends_when_the_job_ends_whatever_its_program_says() {
    let workspace = Workspace::start();
    workspace.submit("done", "true", &json!({}));
    workspace.complete("done");
    call(
        &workspace,
        "runs/update",
        &json!({ "run_id": "done", "status": "FAILED", "end_time": 1 }),
    );
    let run = call(&workspace, "runs/get?run_id=done", &Value::Null)["run"].clone();
    assert_eq!(run["info"]["status"], "FINISHED");
    assert_ne!(run["info"]["end_time"], 1);
    // Tags are the job's, too.
    call(
        &workspace,
        "runs/set-tag",
        &json!({ "run_id": "done", "key": "quality", "value": "good" }),
    );
    assert_eq!(
        workspace.get("/jobs/done")["properties"]["tags"],
        json!({ "quality": "good" })
    );
}

#[test]
fn what_arrives_twice_is_kept_once() {
    let workspace = Workspace::start();
    let created = call(
        &workspace,
        "runs/create",
        &json!({ "experiment_id": "0", "start_time": 5 }),
    );
    let id = created["run"]["info"]["run_id"].as_str().expect("an id");
    let point = |value: Value, timestamp: u64, step: u64| json!({ "key": "m", "value": value, "timestamp": timestamp, "step": step });
    let batch = json!({ "run_id": id, "metrics": [
        point(json!(1.5), 1, 0), point(json!("NaN"), 1, 0), point(json!(1.5), 2, 0), point(json!(1.5), 1, 1), point(json!(2.5), 1, 1),
    ]});
    // The answer to the first may have been lost on the way.
    call(&workspace, "runs/log-batch", &batch);
    call(&workspace, "runs/log-batch", &batch);
    let mut single = batch["metrics"][0].clone();
    single["run_id"] = json!(id);
    call(&workspace, "runs/log-metric", &single);
    let history = call(
        &workspace,
        &format!("metrics/get-history?run_id={id}&metric_key=m"),
        &Value::Null,
    );
    assert_eq!(history["metrics"], batch["metrics"]);
}

#[test]
fn batches_hold_or_fail_as_a_whole() {
    let workspace = Workspace::start();
    let experiment =
        call(&workspace, "experiments/create", &json!({ "name": "e" }))["experiment_id"].clone();
    let created = call(
        &workspace,
        "runs/create",
        &json!({ "experiment_id": experiment, "start_time": 5, "tags": [] }),
    );
    let id = created["run"]["info"]["run_id"]
        .as_str()
        .expect("an id")
        .to_owned();
    assert_eq!(created["run"]["info"]["start_time"], 5);
    let batch = json!({ "run_id": id, "params": [{ "key": "lr", "value": "1" }],
        "metrics": [{ "key": "m", "value": 1.5, "timestamp": 1, "step": 0 }], "tags": [{ "key": "t", "value": "v" }] });
    call(&workspace, "runs/log-batch", &batch);
    let conflicting = json!({ "run_id": id, "params": [{ "key": "new", "value": "1" }, { "key": "lr", "value": "2" }] });
    let refused = workspace
        .ask("POST", &scope().mlflow("runs/log-batch"), &conflicting)
        .expect(400)
        .json();
    assert_eq!(refused["error_code"], "INVALID_PARAMETER_VALUE");
    let run = call(&workspace, &format!("runs/get?run_id={id}"), &Value::Null)["run"].clone();
    assert_eq!(
        run["data"]["params"],
        json!([{ "key": "lr", "value": "1" }])
    );
    let unknown = workspace
        .ask(
            "GET",
            &scope().mlflow("runs/get?run_id=nobody"),
            &Value::Null,
        )
        .expect(404)
        .json();
    assert_eq!(unknown["error_code"], "RESOURCE_DOES_NOT_EXIST");
    let nowhere = workspace
        .ask("GET", &scope().mlflow("toasters/get"), &Value::Null)
        .expect(404)
        .json();
    assert_eq!(nowhere["error_code"], "ENDPOINT_NOT_FOUND");
    let escape = format!(
        "/mlflow/v2.0{}/api/2.0/mlflow-artifacts/artifacts/ExperimentRun/dcid.{id}/..%2F..%2Fx",
        scope()
    );
    assert_eq!(workspace.ask("PUT", &escape, &json!("x")).status, 400);
}
