//! The MLflow API, with the requests of programs without an MLflow client.

use crate::support::{Workspace, ask, cookie, look};
use azureml_wire::local::scope;
use serde_json::{Value, json};

/// A training script that uses plain HTTP.
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
    // The job logs its metrics itself, without MLflow.
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
    // Both versions of the path are supported.
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
    // Tags of the run are tags of the job, too.
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
    // A repeated request is idempotent: the response to the first one may have been lost.
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

/// Creates an experiment; returns its id.
fn experiment(workspace: &Workspace, name: &str) -> String {
    let made = call(workspace, "experiments/create", &json!({ "name": name }));
    made["experiment_id"].as_str().expect("an id").to_owned()
}

/// Creates a run; returns its id.
fn run(workspace: &Workspace, experiment: &str, name: &str) -> String {
    let body = json!({ "experiment_id": experiment, "run_name": name, "start_time": 1 });
    let made = call(workspace, "runs/create", &body);
    made["run"]["info"]["run_id"]
        .as_str()
        .expect("an id")
        .to_owned()
}

/// The names of the runs that a search returns.
fn found(workspace: &Workspace, search: &Value) -> Vec<String> {
    let found = call(workspace, "runs/search", search);
    let runs = found["runs"].as_array().expect("runs").iter();
    runs.map(|run| run["info"]["run_name"].as_str().expect("a name").to_owned())
        .collect()
}

/// The error message of a rejected request.
fn refused(workspace: &Workspace, path: &str, body: &Value) -> String {
    let refused = workspace
        .ask("POST", &scope().mlflow(path), body)
        .expect(400)
        .json();
    refused["message"].as_str().expect("a message").to_owned()
}

#[test]
fn experiments_keep_their_tags_and_runs_their_user_and_place() {
    let workspace = Workspace::start();
    let made = call(
        &workspace,
        "experiments/create",
        &json!({ "name": "e", "artifact_location": "s3://bucket/e", "tags": [{ "key": "team", "value": "a" }] }),
    );
    let id = made["experiment_id"].as_str().expect("an id");
    let tag = json!({ "experiment_id": id, "key": "stage", "value": "1" });
    call(&workspace, "experiments/set-experiment-tag", &tag);
    let get = format!("experiments/get?experiment_id={id}");
    let shown = call(&workspace, &get, &Value::Null)["experiment"].clone();
    assert_eq!(shown["artifact_location"], "s3://bucket/e");
    assert_eq!(
        shown["tags"],
        json!([{ "key": "stage", "value": "1" }, { "key": "team", "value": "a" }])
    );
    let by_tag = json!({ "filter": "tags.stage = '1'", "max_results": 5 });
    let by_tag = call(&workspace, "experiments/search", &by_tag);
    assert_eq!(by_tag["experiments"], json!([shown]));
    call(&workspace, "experiments/delete-experiment-tag", &tag);
    let shown = call(&workspace, &get, &Value::Null)["experiment"].clone();
    assert_eq!(shown["tags"], json!([{ "key": "team", "value": "a" }]));
    let made = call(
        &workspace,
        "runs/create",
        &json!({ "experiment_id": id, "user_id": "neo" }),
    );
    let info = &made["run"]["info"];
    assert_eq!(info["user_id"], "neo");
    let run = info["run_id"].as_str().expect("an id");
    assert_eq!(
        info["artifact_uri"],
        format!("s3://bucket/e/{run}/artifacts")
    );
    // The artifacts of a job are always in the local workspace, regardless of its experiment.
    workspace.submit("job", "true", &json!({ "experimentName": "e" }));
    workspace.complete("job");
    let job = call(&workspace, "runs/get?run_id=job", &Value::Null)["run"]["info"].clone();
    assert_eq!(
        job["artifact_uri"],
        "mlflow-artifacts:/ExperimentRun/dcid.job"
    );
}

#[test]
fn values_come_before_nan_and_nan_before_nothing_in_both_directions() {
    let workspace = Workspace::start();
    let experiment = experiment(&workspace, "e");
    for (name, value) in [
        ("one", json!(1)),
        ("nan", json!("NaN")),
        ("two", json!(2)),
        ("none", Value::Null),
        ("low", json!("-Infinity")),
    ] {
        let id = run(&workspace, &experiment, name);
        if !value.is_null() {
            let metric = json!({ "run_id": id, "key": "m", "value": value, "timestamp": 1 });
            call(&workspace, "runs/log-metric", &metric);
        }
    }
    for (order, expected) in [
        ("metrics.m ASC", ["low", "one", "two", "nan", "none"]),
        ("metrics.m DESC", ["two", "one", "low", "nan", "none"]),
    ] {
        let search = json!({ "experiment_ids": [experiment], "order_by": [order] });
        assert_eq!(found(&workspace, &search), expected, "{order}");
    }
    let unequal = json!({ "experiment_ids": [experiment], "filter": "metrics.m != 1", "order_by": ["run_name"] });
    assert_eq!(found(&workspace, &unequal), ["low", "nan", "two"]);
}

#[test]
fn a_search_that_makes_no_sense_is_refused_and_none_breaks_the_store() {
    let workspace = Workspace::start();
    let experiment = experiment(&workspace, "e");
    run(&workspace, &experiment, "r");
    let many = |count: usize, term: &str| vec![term; count].join(" AND ");
    let patterns = "%_".repeat(100_000);
    for filter in [
        "attributes.nonsense = 'a'".to_owned(),
        "metrics.a = 'text'".to_owned(),
        "params.a = 1".to_owned(),
        "metrics.a = 1 OR metrics.b = 1".to_owned(),
        many(51, "metrics.a = 1"),
        many(5000, "tags.a = 'b'"),
        "'".to_owned(),
        "(((((".repeat(1000),
        "\u{0}".to_owned(),
    ] {
        let body = json!({ "experiment_ids": [experiment], "filter": filter });
        let message = refused(&workspace, "runs/search", &body);
        assert!(
            !message.contains("Some(") && !message.contains("None"),
            "{message}"
        );
    }
    let list = (0..50_000).map(|id| format!("'{id}'")).collect::<Vec<_>>();
    for filter in [
        many(50, "metrics.a = 1"),
        format!("tags.a LIKE '{patterns}'"),
        format!("run_id IN ({})", list.join(", ")),
        "params.`'; DROP TABLE run; --` = \"'; DROP TABLE run; --\"".to_owned(),
        "metrics.a > 1e308 AND metrics.b < -1e309".to_owned(),
    ] {
        let body = json!({ "experiment_ids": [experiment], "filter": filter });
        assert!(found(&workspace, &body).is_empty());
    }
    let orders: Vec<String> = (0..50).map(|at| format!("metrics.m{at} DESC")).collect();
    let body = json!({ "experiment_ids": [experiment], "filter": many(50, "tags.a IS NULL"), "order_by": orders });
    assert_eq!(found(&workspace, &body), ["r"]);
    for order in ["nonsense", "metrics.a sideways", "", "datasets.name"] {
        let body = json!({ "experiment_ids": [experiment], "order_by": [order] });
        refused(&workspace, "runs/search", &body);
    }
}

#[test]
fn a_deleted_run_or_experiment_takes_nothing() {
    let workspace = Workspace::start();
    let experiment = experiment(&workspace, "e");
    let id = run(&workspace, &experiment, "r");
    call(
        &workspace,
        "experiments/delete",
        &json!({ "experiment_id": experiment }),
    );
    // The runs of a deleted experiment are deleted, too.
    for (path, body) in [
        (
            "runs/log-metric",
            json!({ "run_id": id, "key": "m", "value": 1, "timestamp": 1 }),
        ),
        (
            "runs/log-parameter",
            json!({ "run_id": id, "key": "p", "value": "1" }),
        ),
        ("runs/log-batch", json!({ "run_id": id })),
        ("runs/log-inputs", json!({ "run_id": id })),
        (
            "runs/set-tag",
            json!({ "run_id": id, "key": "t", "value": "1" }),
        ),
        (
            "runs/delete-tag",
            json!({ "run_id": id, "key": "mlflow.runName" }),
        ),
        ("runs/update", json!({ "run_id": id, "run_name": "new" })),
        ("runs/create", json!({ "experiment_id": experiment })),
        (
            "experiments/set-experiment-tag",
            json!({ "experiment_id": experiment, "key": "t", "value": "1" }),
        ),
    ] {
        let message = refused(&workspace, path, &body);
        assert!(
            message.contains("must be in the 'active' state"),
            "{path}: {message}"
        );
    }
    let rename = json!({ "experiment_id": experiment, "new_name": "f" });
    assert!(refused(&workspace, "experiments/update", &rename).contains("non-active"));
    // A job cannot be submitted to a deleted experiment either.
    let job = json!({ "properties": { "jobType": "Command", "command": "true", "environmentId": "e", "experimentName": "e" } });
    let answer = workspace.ask("PUT", &scope().path(["jobs", "late"]), &job);
    assert_eq!(answer.status, 400, "{}", answer.text());
    call(
        &workspace,
        "experiments/restore",
        &json!({ "experiment_id": experiment }),
    );
    call(
        &workspace,
        "runs/set-tag",
        &json!({ "run_id": id, "key": "t", "value": "1" }),
    );
}

#[test]
fn a_deleted_job_is_not_tagged_by_way_of_run_history_either() {
    let workspace = Workspace::start();
    workspace.submit("job", "true", &json!({}));
    workspace.complete("job");
    let patch = |body: Value| {
        let path = scope().run_history("job", "");
        workspace.ask("PATCH", &path, &body).status
    };
    let tags = || patch(json!({ "tags": { "a": "b" } }));
    assert_eq!(tags(), 200);
    let run = json!({ "run_id": "job" });
    call(&workspace, "runs/delete", &run);
    assert_eq!(tags(), 400);
    assert_eq!(patch(json!({ "displayName": "new" })), 400);
    assert_eq!(patch(json!({ "hidden": true })), 200);
    call(&workspace, "runs/restore", &run);
    assert_eq!(tags(), 200);
}

#[test]
fn the_latest_value_is_that_of_the_greatest_step_then_time_then_value() {
    let workspace = Workspace::start();
    let id = run(&workspace, "0", "r");
    let latest = || {
        let run = call(&workspace, &format!("runs/get?run_id={id}"), &Value::Null);
        run["run"]["data"]["metrics"][0]["value"].clone()
    };
    for (step, timestamp, value, expected) in [
        (3, 50, json!(10.0), json!(10.0)),
        (3, 40, json!(99.0), json!(10.0)),
        (2, 90, json!(98.0), json!(10.0)),
        (3, 50, json!(20.0), json!(20.0)),
        (3, 50, json!(15.0), json!(20.0)),
        (3, 50, json!("NaN"), json!(20.0)),
        (-1, 99, json!(97.0), json!(20.0)),
        (4, 1, json!("NaN"), json!("NaN")),
    ] {
        let metric = json!({ "run_id": id, "key": "m", "value": value, "timestamp": timestamp, "step": step });
        call(&workspace, "runs/log-metric", &metric);
        assert_eq!(latest(), expected, "after {value} at {step}, {timestamp}");
    }
}

#[test]
fn paths_of_artifacts_may_have_dots_and_lead_nowhere_else() {
    let workspace = Workspace::start();
    let id = run(&workspace, "0", "r");
    let files = |path: &str| {
        let files = format!("artifacts/list?run_id={id}&path={path}");
        call(&workspace, &files, &Value::Null)["files"].clone()
    };
    let place = |path: &str| {
        format!(
            "/mlflow/v2.0{}/api/2.0/mlflow-artifacts/artifacts/ExperimentRun/dcid.{id}/{path}",
            scope()
        )
    };
    for path in ["a.txt", "./b/./c.txt"] {
        workspace.ask("PUT", &place(path), &json!("x")).expect(200);
    }
    workspace
        .ask("GET", &place("b/c.txt"), &Value::Null)
        .expect(200);
    let inner = json!([{ "path": "b/c.txt", "is_dir": false, "file_size": 3 }]);
    for (path, expected) in [
        ("b", inner.clone()),
        ("./b", inner.clone()),
        ("b/.", inner),
        (
            ".",
            json!([
                { "path": "a.txt", "is_dir": false, "file_size": 3 },
                { "path": "b", "is_dir": true },
            ]),
        ),
    ] {
        assert_eq!(files(path), expected, "{path}");
    }
    // Run history lists the same files.
    for (path, expected) in [("./b", 1), (".", 2), ("b/./c.txt", 1), ("b/", 1), ("c", 0)] {
        let list = scope().run_history(&id, &format!("/artifacts/path?path={path}"));
        let list = workspace.ask("GET", &list, &Value::Null).expect(200).json();
        let count = list["value"].as_array().map(Vec::len);
        assert_eq!(count, Some(expected), "{path}");
    }
    let content = scope().run_history(&id, "/artifacts/contentinfo?path=./b/./c.txt");
    let content = workspace
        .ask("GET", &content, &Value::Null)
        .expect(200)
        .json();
    assert_eq!(content["path"], "b/c.txt");
    let contents = scope().run_history(&id, "/artifacts/prefix/contentinfo?path=./b/");
    let contents = workspace
        .ask("GET", &contents, &Value::Null)
        .expect(200)
        .json();
    assert_eq!(contents["value"].as_array().map(Vec::len), Some(1));
    for path in ["..", "b/../..", "/etc", "..%2F.."] {
        let list = scope().mlflow(&format!("artifacts/list?run_id={id}&path={path}"));
        let refused = workspace.ask("GET", &list, &Value::Null).expect(400).json();
        assert_eq!(refused["message"], "Invalid path", "{path}");
    }
}

#[test]
fn a_job_finds_its_own_runs_alone() {
    const SEARCH: &str = r#"
import json, os, urllib.request

def call(path, body):
    return json.load(urllib.request.urlopen(urllib.request.Request(
        os.environ["MLFLOW_TRACKING_URI"] + "/api/2.0/mlflow/" + path,
        data=json.dumps(body).encode(),
        headers={
            "Authorization": "Bearer " + os.environ["MLFLOW_TRACKING_TOKEN"],
            "Content-Type": "application/json",
        },
    )))

own = os.environ["MLFLOW_RUN_ID"]
parent = [{"key": "mlflow.parentRunId", "value": own}]
child = call("runs/create", {"experiment_id": "0", "run_name": "child", "tags": parent})
found = call("runs/search", {"experiment_ids": ["0"], "run_view_type": "ALL"})
print("found", sorted(run["info"]["run_name"] for run in found["runs"]))
"#;
    let workspace = Workspace::start();
    run(&workspace, "0", "other");
    let code = workspace.code(
        "55555555-5555-4555-8555-555555555555",
        "ee",
        &[("search.py", SEARCH)],
    );
    workspace.submit(
        "searches",
        "python3 search.py",
        &json!({ "displayName": "Searches", "codeId": code, "experimentName": "Default" }),
    );
    workspace.complete("searches");
    assert!(
        workspace
            .log("searches")
            .contains("found ['Searches', 'child']"),
        "{}",
        workspace.log("searches")
    );
}

#[test]
fn the_link_that_mlflow_prints_leads_to_a_page() {
    let workspace = Workspace::start();
    workspace.submit("job", "true", &json!({ "experimentName": "tests" }));
    workspace.complete("job");
    let experiment =
        call(&workspace, "runs/get?run_id=job", &Value::Null)["run"]["info"]["experiment_id"]
            .clone();
    let id = experiment.as_str().expect("an id");
    // The browser does not send the fragment of `{tracking URI}/#/experiments/1/runs/job`.
    for slash in ["", "/"] {
        let page = format!("{}/mlflow/v2.0{}{slash}", workspace.url(), scope());
        let page = ask("GET", &page, &[], &[]).expect(200);
        assert!(
            page.header("content-type")
                .expect("one")
                .starts_with("text/html")
        );
        assert!(
            page.text().contains("/studio/tracking.js"),
            "{}",
            page.text()
        );
    }
    let script = format!("{}/studio/tracking.js", workspace.url());
    let script = ask("GET", &script, &[], &[]).expect(200).text();
    assert!(script.contains("/studio/jobs/"), "{script}");
    // A browser without a cookie gets a hint how to open the pages.
    let shut = format!("{}/studio/jobs/job", workspace.url());
    assert!(
        ask("GET", &shut, &[], &[])
            .expect(403)
            .text()
            .contains("portal_url")
    );
    let cookie = cookie(&workspace, "job");
    look(&workspace, &cookie, "/studio/jobs/job").expect(200);
    let list = look(&workspace, &cookie, &format!("/studio/experiments/{id}")).expect(303);
    assert_eq!(
        list.header("location"),
        Some("/studio/jobs?experiment=tests")
    );
    look(&workspace, &cookie, "/studio/experiments/99").expect(404);
}
