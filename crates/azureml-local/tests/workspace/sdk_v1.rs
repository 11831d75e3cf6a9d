//! The requests of an SDK v1 script (`azureml.core.Run.get_context()`) in a job.

use crate::support::{Workspace, ask, until};
use azureml_wire::local::scope;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use end_to_end::wait_for;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;

/// The environment variables of a job that runs until its gate exists.
fn environment(workspace: &Workspace, job: &str) -> BTreeMap<String, String> {
    let gate = workspace.gate(job);
    workspace.submit(job, &format!("env; echo END; {}", until(&gate)), &json!({}));
    let log = wait_for("its environment", || {
        let log = workspace.log(job);
        log.contains("\nEND\n").then_some(log)
    });
    log.lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

#[test]
fn a_jobs_environment_is_the_one_that_sdk_v1_loads_its_run_from() {
    let workspace = Workspace::start();
    let environment = environment(&workspace, "v1");
    let of = |name: &str| environment[name].as_str();
    assert_eq!(of("AZUREML_ARM_SUBSCRIPTION"), scope().subscription_id);
    assert_eq!(of("AZUREML_ARM_RESOURCEGROUP"), "local");
    assert_eq!(of("AZUREML_ARM_WORKSPACE_NAME"), "local");
    assert_eq!(of("AZUREML_ARM_PROJECT_NAME"), "tests");
    assert_eq!(of("AZUREML_RUN_ID"), "v1");
    assert_eq!(of("AZUREML_SERVICE_ENDPOINT"), workspace.url());
    assert!(of("AZUREML_EXPERIMENT_ID").parse::<u32>().is_ok());

    // The client reads the expiry from the token.
    let claims = of("AZUREML_RUN_TOKEN")
        .split('.')
        .nth(1)
        .expect("a JSON Web Token");
    let claims = URL_SAFE_NO_PAD.decode(claims).expect("base64");
    let claims: Value = serde_json::from_slice(&claims).expect("JSON");
    assert_eq!(claims["runId"], "v1");
    assert_eq!(claims["exp"].to_string(), of("AZUREML_RUN_TOKEN_EXPIRY"));
    assert!(claims["exp"].as_i64() > claims["iat"].as_i64());

    // The URLs of all services, without authentication.
    let roots = ask("GET", of("AZUREML_DISCOVERY_SERVICE_ENDPOINT"), &[], &[])
        .expect(200)
        .json();
    for service in [
        "api",
        "history",
        "experimentation",
        "hyperdrive",
        "modelmanagement",
        "studio",
    ] {
        assert_eq!(roots[service], workspace.url(), "{service}");
    }
    fs::write(workspace.gate("v1"), "").expect("the folder is ours");
    workspace.complete("v1");
}

#[test]
fn a_script_of_sdk_v1_finds_its_run_and_logs_to_it() {
    let workspace = Workspace::start();
    let environment = environment(&workspace, "v1");
    let token = &environment["AZUREML_RUN_TOKEN"];
    let as_run =
        |method: &str, path: &str, body: Value| workspace.ask_as(token, method, path, &body);
    let workspace_itself = as_run(
        "GET",
        &format!("/rp/workspaces{}?api-version=2022-05-01", scope()),
        Value::Null,
    )
    .expect(200)
    .json();
    assert_eq!(workspace_itself["name"], "local");
    assert!(workspace_itself["properties"]["discoveryUrl"].is_string());

    let run = format!(
        "/history/v1.0{}/experimentids/{}/runs/v1",
        scope(),
        environment["AZUREML_EXPERIMENT_ID"]
    );
    let found = as_run("GET", &run, Value::Null).expect(200).json();
    assert!(found["runNumber"].is_i64(), "{found}");
    assert_eq!(found["dataContainerId"], "dcid.v1");
    as_run(
        "PATCH",
        &run,
        json!({ "runId": "v1", "tags": { "kind": "v1" } }),
    )
    .expect(200);
    as_run("GET", &format!("{run}/metricsingest/wait"), Value::Null).expect(200);
    as_run("POST", &format!("{run}/events"), json!({ "events": [] })).expect(200);
    let renewed = as_run("GET", &format!("{run}/token"), Value::Null)
        .expect(200)
        .json();
    let renewed = renewed["token"].as_str().expect("a token");
    workspace
        .ask_as(renewed, "GET", &run, &Value::Null)
        .expect(200);

    let metrics = format!("/metric/v2.0{}/runs/v1", scope());
    let value = |second: u32, data: Value| json!({ "metricId": data.to_string(), "createdUtc": format!("2026-01-01T00:00:0{second}.000Z"), "step": null, "data": data });
    let batch = json!({ "reportErrors": true, "values": [
        { "name": "loss", "columns": { "loss": "Double" }, "properties": { "uxMetricType": "azureml.v1.scalar" },
          "value": [value(1, json!({ "loss": 0.5 })), value(2, json!({ "loss": 0.25 })), value(3, json!({ "loss": "NaN" }))] },
        { "name": "row", "columns": { "epoch": "int", "note": "string" }, "properties": { "uxMetricType": "azureml.v1.table" },
          "value": [value(1, json!({ "epoch": 3, "note": "text" }))] },
        { "name": "row", "columns": { "epoch": "double" }, "properties": { "uxMetricType": "azureml.v1.table" },
          "value": [value(2, json!({ "epoch": 3.5 }))] },
        { "name": "list", "columns": { "list": "int" }, "properties": { "uxMetricType": "azureml.v1.list" },
          "value": [{ "metricId": "1", "data": { "list": 7 } }, { "metricId": "2", "data": { "list": 7 } }] },
        { "name": "kind", "columns": { "kind": "string" }, "properties": { "uxMetricType": "azureml.v1.scalar" },
          "value": [value(1, json!({ "kind": "a word" }))] },
    ] });
    // A repeated request is idempotent.
    for _ in 0..2 {
        let errors = as_run("POST", &format!("{metrics}/batch"), batch.clone())
            .expect(200)
            .json();
        assert_eq!(errors["errors"], json!([]));
    }
    let also =
        json!({ "run_id": "v1", "key": "of_mlflow", "value": 1.5, "timestamp": 1, "step": 4 });
    as_run("POST", &scope().mlflow("runs/log-metric"), also).expect(200);
    let names = as_run("POST", &format!("{metrics}/list"), json!({}))
        .expect(200)
        .json();
    let names: Vec<&str> = names["value"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|metric| metric["metricKey"]["name"].as_str())
        .collect();
    assert_eq!(names, ["kind", "list", "loss", "row", "of_mlflow"]);
    let full = |name: &str| {
        let asked = json!({ "metricName": name });
        let full = as_run("POST", &format!("{metrics}/full"), asked).expect(200);
        let full = full.json();
        let values = full["value"].as_array().expect("a list");
        let data: Vec<Value> = values.iter().map(|value| value["data"].clone()).collect();
        (
            json!(data),
            full["columns"].clone(),
            full["properties"]["uxMetricType"].clone(),
        )
    };
    assert_eq!(
        full("loss"),
        (
            json!([{ "loss": 0.5 }, { "loss": 0.25 }, { "loss": "NaN" }]),
            json!({ "loss": "Double" }),
            json!("azureml.v1.scalar")
        )
    );
    // The client requires all columns in each row, so missing cells are `null`.
    assert_eq!(
        full("row"),
        (
            json!([{ "epoch": 3, "note": "text" }, { "epoch": 3.5, "note": null }]),
            json!({ "epoch": "double", "note": "string" }),
            json!("azureml.v1.table")
        )
    );
    assert_eq!(
        full("list"),
        (
            json!([{ "list": 7 }, { "list": 7 }]),
            json!({ "list": "int" }),
            json!("azureml.v1.list")
        )
    );
    assert_eq!(full("kind").0, json!([{ "kind": "a word" }]));
    assert_eq!(full("of_mlflow").0, json!([{ "of_mlflow": 1.5 }]));
    as_run(
        "POST",
        &format!("{metrics}/full"),
        json!({ "metricName": "none" }),
    )
    .expect(404);
    // MLflow returns the same values.
    let history = workspace
        .ask(
            "GET",
            &format!(
                "{}?run_id=v1&metric_key=loss",
                scope().mlflow("metrics/get-history")
            ),
            &Value::Null,
        )
        .expect(200)
        .json();
    assert_eq!(history["metrics"].as_array().map(Vec::len), Some(3));
    let path = format!("{}?run_id=v1", scope().mlflow("runs/get"));
    let run = as_run("GET", &path, Value::Null).expect(200).json();
    let keys: Vec<&str> = run["run"]["data"]["metrics"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|metric| metric["key"].as_str())
        .collect();
    assert_eq!(keys, ["list", "loss", "of_mlflow", "row/epoch"]);

    let uploads = as_run(
        "POST",
        &format!(
            "/artifact/v2.0{}/artifacts/batch/metadata/ExperimentRun/dcid.v1",
            scope()
        ),
        json!({ "paths": [{ "path": "extra/x.txt" }] }),
    )
    .expect(200)
    .json();
    let place = uploads["artifactContentInformation"]["extra/x.txt"]["contentUri"]
        .as_str()
        .expect("a URL");
    crate::support::put_blob(place, b"x").expect(201);
    fs::write(workspace.gate("v1"), "").expect("the folder is ours");
    workspace.complete("v1");
    assert!(
        workspace
            .artifacts("v1")
            .contains(&"extra/x.txt".to_owned())
    );
}

#[test]
fn a_run_token_opens_nothing_of_another_run_or_of_the_workspace_to_sdk_v1() {
    let workspace = Workspace::start();
    workspace.submit("other", "true", &json!({}));
    workspace.complete("other");
    let environment = environment(&workspace, "own");
    let token = &environment["AZUREML_RUN_TOKEN"];
    let asked =
        |method: &str, path: &str, body: Value| workspace.ask_as(token, method, path, &body).status;
    let metrics = format!("/metric/v2.0{}/runs/other", scope());
    assert_eq!(
        asked("POST", &format!("{metrics}/batch"), json!({ "values": [] })),
        403
    );
    assert_eq!(asked("POST", &format!("{metrics}/list"), json!({})), 403);
    assert_eq!(
        asked(
            "POST",
            &format!("{metrics}/full"),
            json!({ "metricName": "m" })
        ),
        403
    );
    let history = |rest: &str| scope().run_history("other", rest);
    assert_eq!(asked("GET", &history("/token"), Value::Null), 403);
    assert_eq!(
        asked("GET", &history("/metricsingest/wait"), Value::Null),
        403
    );
    assert_eq!(asked("POST", &history("/events"), json!({})), 403);
    let places = format!(
        "/artifact/v2.0{}/artifacts/batch/metadata/ExperimentRun/dcid.other",
        scope()
    );
    assert_eq!(
        asked("POST", &places, json!({ "paths": [{ "path": "x" }] })),
        403
    );
    for path in [
        "/jobs",
        "/datastores/workspaceblobstore",
        "/environments",
        "/computes",
    ] {
        assert_eq!(
            asked("GET", &format!("{}{path}", scope()), Value::Null),
            403,
            "{path}"
        );
        assert_eq!(
            asked(
                "GET",
                &format!("/rp/workspaces{}{path}", scope()),
                Value::Null
            ),
            403,
            "{path}"
        );
    }
    assert_eq!(asked("PUT", &scope().to_string(), json!({})), 403);
    fs::write(workspace.gate("own"), "").expect("the folder is ours");
    workspace.complete("own");
    // The token becomes invalid when the job ends.
    assert_eq!(asked("GET", &scope().to_string(), Value::Null), 401);
}

#[test]
fn a_run_reads_data_as_azureml_fsspec_does_and_writes_none() {
    let workspace = Workspace::start();
    let environment = environment(&workspace, "reads");
    let token = &environment["AZUREML_RUN_TOKEN"];
    let all = workspace.datastore_signature();
    let url = workspace.url();
    for path in ["data/a.csv", "data/deep/b%20%C3%A9.csv", "database"] {
        let place = format!("{url}/azuremllocal/azureml-blobstore/{path}?{all}");
        crate::support::put_blob(&place, b"1,2\n").expect(201);
    }
    let data = json!({ "properties": {
        "dataType": "uri_file",
        "dataUri": "azureml://datastores/workspaceblobstore/paths/data/a.csv",
    }});
    workspace
        .arm("PUT", "/data/mine/versions/1", &data)
        .expect(201);

    let found = workspace.ask_as(
        token,
        "GET",
        &format!("/datastore/v1.0{}/datastores/workspaceblobstore", scope()),
        &Value::Null,
    );
    let place = found.expect(200).json()["azureStorageSection"].clone();
    let text = |member: &str| place[member].as_str().expect("a text").to_owned();
    // Builds the URL like these clients do.
    let (protocol, account, endpoint) = (text("protocol"), text("accountName"), text("endpoint"));
    let root = format!("{protocol}://{account}.blob.{endpoint}");
    let (container, signature) = (text("containerName"), text("sasToken"));
    let list = |prefix: &str, more: &str| {
        let query = format!("restype=container&comp=list&prefix={container}%2F{prefix}{more}");
        let listed = ask("GET", &format!("{root}?{query}&{signature}"), &[], &[]);
        listed.expect(200).text()
    };
    let listed = list("data%2F", "&delimiter=%2F");
    assert!(
        listed.contains("<Name>azureml-blobstore/data/a.csv</Name>"),
        "{listed}"
    );
    assert!(
        listed.contains("<BlobPrefix><Name>azureml-blobstore/data/deep/</Name></BlobPrefix>"),
        "{listed}"
    );
    assert!(!listed.contains("database"), "{listed}");
    // One page after the other.
    let (mut names, mut marker) = (Vec::new(), String::new());
    loop {
        let page = list("data", &format!("&maxresults=1&marker={marker}"));
        let between = |tag: &str| {
            let (_, rest) = page.split_once(&format!("<{tag}>"))?;
            rest.split_once(&format!("</{tag}>"))
                .map(|(text, _)| text.to_owned())
        };
        names.extend(between("Name"));
        marker = between("NextMarker").expect("a marker");
        if marker.is_empty() {
            break;
        }
        marker = azureml_wire::routes::encode(&marker);
    }
    assert_eq!(
        names,
        [
            "azureml-blobstore/data/a.csv",
            "azureml-blobstore/data/deep/b é.csv",
            "azureml-blobstore/database"
        ]
    );
    let blob = format!("{root}/{container}/data/a.csv?{signature}");
    assert_eq!(ask("GET", &blob, &[], &[]).expect(200).body, b"1,2\n");
    crate::support::put_blob(&blob, b"changed").expect(403);
    ask("DELETE", &blob, &[], &[]).expect(403);
    // Other containers and the account are denied.
    let other = format!("{root}?restype=container&comp=list&prefix=other%2F&{signature}");
    ask("GET", &other, &[], &[]).expect(403);
    ask(
        "GET",
        &format!("{root}?restype=container&comp=list&{signature}"),
        &[],
        &[],
    )
    .expect(403);

    let version = workspace.ask_as(
        token,
        "GET",
        &format!("/data/v1.0{}/dataversion/mine/versions/1", scope()),
        &Value::Null,
    );
    let version = version.expect(200).json()["dataVersion"].clone();
    assert_eq!(version["dataType"], "UriFile");
    let uri = version["dataUri"].as_str().expect("a URI");
    assert!(
        uri.ends_with("/datastores/workspaceblobstore/paths/data/a.csv"),
        "{uri}"
    );
    fs::write(workspace.gate("reads"), "").expect("the folder is ours");
    workspace.complete("reads");
}

#[test]
fn sdk_v1_is_told_at_once_that_it_cannot_upload() {
    let workspace = Workspace::start();
    workspace.submit("v1", "true", &json!({}));
    workspace.complete("v1");
    let path = format!(
        "{}/artifact/v2.0{}/artifacts/batch/metadata/ExperimentRun/dcid.v1",
        workspace.url(),
        scope()
    );
    let token = format!("Bearer {}", workspace.token());
    let asked = |agent: &str| {
        let headers = [
            ("Authorization", token.as_str()),
            ("Content-Type", "application/json"),
            ("User-Agent", agent),
        ];
        ask(
            "POST",
            &path,
            &headers,
            br#"{ "paths": [{ "path": "x" }] }"#,
        )
    };
    let refused = asked("msrest/0.7.1 azureml._restclient/1.5.0 sdk_run");
    let error = refused.expect(400).json()["error"].clone();
    let message = error["message"].as_str().expect("a message");
    assert!(
        message.contains("https") && message.contains("\nhint: "),
        "{message}"
    );
    asked("another").expect(200);
}
