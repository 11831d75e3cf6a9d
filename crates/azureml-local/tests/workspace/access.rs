//! Access control: the permissions of the owner, of run tokens and of signed URLs.

use crate::support::{Workspace, ask, put_blob, until};
use azureml_wire::local::scope;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;

#[test]
fn without_the_token_nothing_opens_but_the_discovery() {
    let workspace = Workspace::start();
    let url = workspace.url();
    let ws = scope().to_string();
    for path in [
        ws.clone(),
        format!("{ws}/jobs"),
        scope().run_history("x", "/details"),
        scope().mlflow("runs/search"),
        "/azuremllocal/azureml-blobstore/x".to_owned(),
        "/azuremllocal/azureml-blobstore?restype=container&comp=list".to_owned(),
        "/azuremllocal/azureml-blobstore/x?sv=1&sr=c&sp=r&se=2999-01-01T00:00:00Z&sig=00"
            .to_owned(),
    ] {
        for header in ["Bearer", "Bearer wrong", "Basic d3Jvbmc6"] {
            let answer = ask(
                "GET",
                &format!("{url}{path}"),
                &[("Authorization", header)],
                &[],
            );
            assert!(
                [401, 403].contains(&answer.status),
                "{path}: {}",
                answer.status
            );
        }
        let answer = ask("GET", &format!("{url}{path}"), &[], &[]);
        assert!(
            [401, 403].contains(&answer.status),
            "{path}: {}",
            answer.status
        );
    }
    let refused = ask("GET", &format!("{url}{ws}"), &[], &[])
        .expect(401)
        .json();
    assert_eq!(refused["error"]["code"], "Unauthorized");
    let found = workspace.get("");
    let discovery = found["properties"]["discoveryUrl"].as_str().expect("a URL");
    assert_eq!(
        ask("GET", discovery, &[], &[]).expect(200).json()["api"],
        url
    );
}

#[test]
fn another_host_name_is_refused() {
    let workspace = Workspace::start();
    let bearer = format!("Bearer {}", workspace.token());
    let url = format!("{}{}", workspace.url(), scope());
    for (host, status) in [
        ("localhost:1", 200),
        ("127.0.0.1", 200),
        ("[::1]:80", 200),
        ("evil.example", 403),
        ("127.0.0.1.evil.example", 403),
        ("", 403),
    ] {
        let answer = ask(
            "GET",
            &url,
            &[("Authorization", &bearer), ("Host", host)],
            &[],
        );
        assert_eq!(answer.status, status, "{host}");
    }
}

#[test]
fn files_of_the_workspace_are_private() {
    let workspace = Workspace::start();
    let mode = |name: &str| {
        fs::metadata(workspace.home().join(name))
            .expect("it is there")
            .permissions()
            .mode()
            & 0o777
    };
    for name in ["server.json", "key", "lock"] {
        assert_eq!(mode(name), 0o600, "{name}");
    }
    let log = fs::read_to_string(workspace.home().join("server.log")).expect("a log");
    assert!(!log.contains(&workspace.token()));
}

#[test]
fn a_runs_token_opens_its_run_alone() {
    let workspace = Workspace::start();
    let gate = workspace.gate("gate");
    workspace.submit("other", "true", &json!({}));
    workspace.submit(
        "own",
        &format!("echo $AZUREML_RUN_TOKEN; {}", until(&gate)),
        &json!({}),
    );
    let token = end_to_end::wait_for("the token", || {
        let log = workspace.log("own");
        log.ends_with('\n').then(|| log.trim().to_owned())
    });
    workspace.complete("other");
    let as_run = |method: &str, path: &str, body: &Value| {
        workspace.ask_as(&token, method, path, body).status
    };
    let metric = |run: &str| json!({ "run_id": run, "key": "loss", "value": 0.5, "timestamp": 1, "step": 1 });
    let tags = json!({ "tags": { "a": "b" } });
    let upload = json!({ "paths": [{ "path": "outputs/x.txt" }] });
    for (run, status) in [("own", 200), ("other", 403)] {
        assert_eq!(
            as_run("POST", &scope().mlflow("runs/log-metric"), &metric(run)),
            status,
            "{run}"
        );
        assert_eq!(
            as_run(
                "GET",
                &format!("{}?run_id={run}", scope().mlflow("runs/get")),
                &Value::Null
            ),
            status
        );
        assert_eq!(
            as_run("GET", &scope().run_history(run, "/details"), &Value::Null),
            status
        );
        assert_eq!(
            as_run("PATCH", &scope().run_history(run, ""), &tags),
            status
        );
        assert_eq!(
            as_run("GET", &scope().artifacts("tests", run, ""), &Value::Null),
            status
        );
        assert_eq!(
            as_run(
                "POST",
                &scope().artifacts("tests", run, "/batch/metadata"),
                &upload
            ),
            status
        );
    }
    // SDK v1 reads the workspace resource with the token of a run. All other ARM resources are
    // denied.
    assert_eq!(as_run("GET", &scope().to_string(), &Value::Null), 200);
    assert_eq!(as_run("GET", &scope().path(["jobs"]), &Value::Null), 403);
    assert_eq!(
        as_run("GET", &scope().path(["jobs", "own"]), &Value::Null),
        403
    );
    assert_eq!(
        as_run("PUT", &scope().path(["jobs", "new"]), &json!({})),
        403
    );
    assert_eq!(
        as_run(
            "POST",
            &scope().mlflow("runs/create"),
            &json!({ "experiment_id": "0" })
        ),
        403
    );
    let child =
        json!({ "experiment_id": "0", "tags": [{ "key": "mlflow.parentRunId", "value": "own" }] });
    assert_eq!(as_run("POST", &scope().mlflow("runs/create"), &child), 200);

    // The requests of a training script that uploads an artifact.
    let place = workspace
        .ask_as(
            &token,
            "POST",
            &scope().artifacts("tests", "own", "/batch/metadata"),
            &json!({ "paths": [{ "path": "outputs/x.txt" }, { "path": "../x" }] }),
        )
        .expect(200)
        .json();
    assert!(place["errors"]["../x"].is_object(), "{place}");
    assert!(place["artifactContentInformation"]["../x"].is_null());
    let uri = place["artifactContentInformation"]["outputs/x.txt"]["contentUri"]
        .as_str()
        .expect("a URL");
    put_blob(uri, b"uploaded").expect(201);
    assert_eq!(
        workspace.artifact("own", "outputs/x.txt").text(),
        "uploaded"
    );
    // The URL is valid for that file only.
    let elsewhere = uri.replace("outputs/x.txt", "outputs/y.txt");
    put_blob(&elsewhere, b"uploaded").expect(403);

    fs::write(&gate, "").expect("the folder is ours");
    workspace.complete("own");
    assert_eq!(
        as_run("POST", &scope().mlflow("runs/log-metric"), &metric("own")),
        401
    );
    assert!(
        workspace
            .artifacts("own")
            .contains(&"outputs/x.txt".to_owned())
    );
}

#[test]
fn bodies_have_limits_and_nonsense_is_answered() {
    let workspace = Workspace::start();
    let bearer = format!("Bearer {}", workspace.token());
    let url = format!("{}{}/jobs/x", workspace.url(), scope());
    let headers = [
        ("Authorization", bearer.as_str()),
        ("Content-Type", "application/json"),
    ];
    let answer = ask("PUT", &url, &headers, &vec![b' '; 9 << 20]);
    assert_eq!(answer.status, 413);
    let answer = ask("PUT", &url, &headers, b"{ not json").expect(400).json();
    assert_eq!(answer["error"]["code"], "InvalidRequestContent");
    let answer = ask("PUT", &url, &headers, b"").expect(400).json();
    assert!(answer["error"]["message"].is_string());
    workspace.arm("PATCH", "/jobs/x", &json!({})).expect(405);
    for nowhere in [
        format!("/history/v1.0{}/toasters", scope()),
        "/toasters".to_owned(),
        "/-/arm/jobs".to_owned(),
    ] {
        workspace.ask("GET", &nowhere, &Value::Null).expect(404);
    }
    let other = scope()
        .to_string()
        .replace("workspaces/local", "workspaces/other");
    let answer = workspace
        .ask("GET", &other, &Value::Null)
        .expect(404)
        .json();
    assert!(
        answer["error"]["message"]
            .as_str()
            .expect("text")
            .contains("names another")
    );
    // ARM ids are case-insensitive.
    workspace
        .ask("GET", &scope().to_string().to_lowercase(), &Value::Null)
        .expect(200);
}
