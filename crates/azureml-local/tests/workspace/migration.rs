//! Migrations: stores of older and of newer programs.

use crate::support::{Workspace, ask};
use azureml_wire::local::scope;
use end_to_end::binary;
use rusqlite::Connection;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::Command;

/// A store of the first version, with a job that has logged metrics.
const FIRST: &str = include_str!("schema-1.sql");

fn database(workspace: &Workspace) -> PathBuf {
    workspace.home().join("workspace.db")
}

fn version(workspace: &Workspace) -> i64 {
    let store = Connection::open(database(workspace)).expect("a store");
    store
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .expect("a version")
}

#[test]
fn a_store_of_schema_1_goes_on() {
    let mut workspace = Workspace::new();
    let store = Connection::open(database(&workspace)).expect("a store");
    store.execute_batch(FIRST).expect("the first schema");
    drop(store);
    // The second start finds the migrated store.
    for _ in 0..2 {
        let mut server = workspace.serve(&[]);
        let job = workspace.get("/jobs/old");
        assert_eq!(job["properties"]["status"], "Completed");
        assert_eq!(job["properties"]["experimentName"], "Default");
        assert_eq!(workspace.path("old"), ["Queued", "Running", "Completed"]);
        let history = "metrics/get-history?run_id=old&metric_key=loss&max_results=25000";
        let history = workspace
            .ask("GET", &scope().mlflow(history), &Value::Null)
            .expect(200)
            .json();
        assert_eq!(history["metrics"].as_array().map(Vec::len), Some(20_000));
        let run = workspace
            .ask("GET", &scope().mlflow("runs/get?run_id=old"), &Value::Null)
            .expect(200)
            .json();
        let data = &run["run"]["data"];
        assert_eq!(data["params"], json!([{ "key": "lr", "value": "0.1" }]));
        // The API returns the latest value, and the page shows the peak.
        assert_eq!(data["metrics"][0]["step"], 19_999);
        assert_eq!(data["metrics"][0]["value"], 1.0);
        let link = job["properties"]["services"]["Studio"]["endpoint"]
            .as_str()
            .expect("a link");
        let opened = ask("GET", link, &[], &[]).expect(200);
        let cookie = opened.header("set-cookie").expect("a cookie");
        let page = format!("{}/studio/jobs/old", workspace.url());
        let page = ask("GET", &page, &[("Cookie", cookie)], &[])
            .expect(200)
            .text();
        assert!(
            page.contains("loss <b>1</b>") && page.contains("700"),
            "{page}"
        );
        // New values are appended to the migrated ones.
        let more = json!({ "run_id": "old", "key": "loss", "value": 1.0, "timestamp": 19_999, "step": 19_999 });
        workspace
            .ask("POST", &scope().mlflow("runs/log-metric"), &more)
            .expect(200);
        workspace.kill();
        let _ = server.wait();
        assert!(version(&workspace) > 1);
    }
}

#[test]
fn a_store_of_schema_2_goes_on_with_the_latest_values_that_mlflow_means() {
    let mut workspace = Workspace::new();
    let store = Connection::open(database(&workspace)).expect("a store");
    for step in [
        include_str!("../../src/store/schema.sql"),
        include_str!("../../src/store/series.sql"),
        "INSERT INTO experiment (id, name, lifecycle, created_at, updated_at) VALUES (7, 'old', 'active', 1, 2);
         INSERT INTO run (id, experiment, name, status, start_time) VALUES ('r', 7, 'old run', 'FINISHED', 5);
         INSERT INTO metric (run, key, value, timestamp, step) VALUES ('r', 'm', 9.0, 3, 1), ('r', 'm', 4.0, 3, 1);
         INSERT INTO series (run, key, value, timestamp, step, newest, width, stretches) VALUES ('r', 'm', 4.0, 3, 1, 2, 1, 1);
         INSERT INTO stretch (series, start, least, least_step, greatest, greatest_step) VALUES (1, 1, 4.0, 1, 9.0, 1);
         PRAGMA user_version = 2;",
    ] {
        store.execute_batch(step).expect("the second schema");
    }
    drop(store);
    let mut server = workspace.serve(&[]);
    let call = |method: &str, path: &str, body: &Value| {
        workspace
            .ask(method, &scope().mlflow(path), body)
            .expect(200)
            .json()
    };
    let run = call("GET", "runs/get?run_id=r", &Value::Null)["run"].clone();
    assert_eq!(run["data"]["metrics"][0]["value"], 9.0);
    assert_eq!(
        run["info"]["artifact_uri"],
        "mlflow-artifacts:/ExperimentRun/dcid.r"
    );
    let user = run["info"]["user_id"].as_str().expect("a user");
    let search = json!({ "experiment_ids": ["7"], "filter": format!("user_id = '{user}'") });
    let found = call("POST", "runs/search", &search);
    assert_eq!(found["runs"][0]["info"]["run_id"], "r");
    let tag = json!({ "experiment_id": "7", "key": "k", "value": "v" });
    call("POST", "experiments/set-experiment-tag", &tag);
    let experiment = call("GET", "experiments/get?experiment_id=7", &Value::Null);
    assert_eq!(
        experiment["experiment"]["tags"],
        json!([{ "key": "k", "value": "v" }])
    );
    workspace.kill();
    let _ = server.wait();
    assert_eq!(version(&workspace), 3);
}

#[test]
fn a_store_of_a_later_program_is_left_alone() {
    let workspace = Workspace::new();
    let store = Connection::open(database(&workspace)).expect("a store");
    store
        .execute_batch("CREATE TABLE later (x); PRAGMA user_version = 99;")
        .expect("a store of the future");
    drop(store);
    let mut command = Command::new(binary("azureml-local"));
    workspace.apply(&mut command);
    let output = command.arg("serve").output().expect("it starts");
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("has version 99") && said.contains("hint: "),
        "{said}"
    );
    assert_eq!(version(&workspace), 99);
}
