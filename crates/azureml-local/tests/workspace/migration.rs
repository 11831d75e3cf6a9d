//! Stores of earlier programs, and of later ones.

use crate::support::{Workspace, ask};
use azureml_wire::local::scope;
use end_to_end::binary;
use rusqlite::Connection;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::Command;

/// A store as the first program made it, with a job that has logged.
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
    // The second time, it has been taken over already.
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
        // The last value, and on the page the peak.
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
        // More is logged to what was there.
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
