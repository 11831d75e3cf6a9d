//! Jobs: their statuses, environment and results.

use crate::support::{Workspace, ask, put_blob, until};
use azureml_wire::local::scope;
use end_to_end::wait_for;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

#[test]
fn a_job_takes_the_whole_path_and_leaves_logs_and_outputs() {
    let workspace = Workspace::start();
    let gate = workspace.gate("gate");
    let answer = workspace.submit(
        "first",
        &format!(
            "echo one; mkdir -p outputs/model logs; echo weights > outputs/model/w.txt; echo l > logs/own.txt; {}; echo two >&2",
            until(&gate)
        ),
        &json!({ "displayName": "First", "tags": { "a": "b" } }),
    );
    assert_eq!(answer["properties"]["status"], "Starting");
    assert_eq!(answer["properties"]["displayName"], "First");

    // The log and the artifacts are visible while the job runs.
    workspace.reach("first", "Running");
    wait_for("the first line", || {
        (workspace.log("first") == "one\n").then_some(())
    });
    wait_for("a file that is not collected yet", || {
        let there = workspace
            .artifacts("first")
            .contains(&"outputs/model/w.txt".to_owned());
        // The file is listed before its content is written.
        (there && workspace.artifact("first", "outputs/model/w.txt").text() == "weights\n")
            .then_some(())
    });
    fs::write(&gate, "").expect("the folder is ours");

    let details = workspace.complete("first");
    assert_eq!(workspace.log("first"), "one\ntwo\n");
    assert_eq!(
        workspace.path("first"),
        ["Queued", "Preparing", "Running", "Finalizing", "Completed"]
    );
    assert!(details["error"].is_null());
    assert!(details["startTimeUtc"].as_str() < details["endTimeUtc"].as_str());
    assert_eq!(details["tags"]["a"], "b");
    assert_eq!(
        workspace.artifacts("first"),
        [
            "logs/own.txt",
            "outputs/model/w.txt",
            "user_logs/std_log.txt"
        ]
    );
    assert_eq!(
        workspace.artifact("first", "outputs/model/w.txt").text(),
        "weights\n"
    );
    let job = workspace.get("/jobs/first");
    assert_eq!(job["properties"]["status"], "Completed");
    assert_eq!(job["properties"]["experimentName"], "tests");
    // The working directory is removed.
    assert!(!workspace.home().join("jobs/first").exists());
}

#[test]
fn a_command_that_exits_3_fails_with_its_last_lines() {
    let workspace = Workspace::start();
    workspace.submit(
        "three",
        "echo fine so far; mkdir -p outputs; echo kept > outputs/checkpoint; echo not any more >&2; exit 3",
        &json!({}),
    );
    let message = workspace.fail("three");
    assert!(
        message.starts_with("the command exited with code 3\nhint: see user_logs/std_log.txt\n"),
        "{message}"
    );
    assert!(message.ends_with("fine so far\nnot any more"), "{message}");
    // The files that it wrote before the failure are kept.
    assert!(
        workspace
            .artifacts("three")
            .contains(&"outputs/checkpoint".to_owned())
    );

    workspace.submit("killed", "kill -SEGV $$", &json!({}));
    let message = workspace.fail("killed");
    assert!(message.contains("signal SIGSEGV (11)"), "{message}");
    assert!(message.contains("it wrote no output"), "{message}");
}

#[test]
fn what_does_not_exist_is_reported_by_the_job() {
    let workspace = Workspace::start();
    for (name, more, said) in [
        (
            "no-compute",
            json!({ "computeId": scope().path(["computes", "gpu-farm"]) }),
            "there is no compute target \"gpu-farm\" in this workspace; there are: cc-aml-gpu, ci-aml-workshop, cpu-cluster\nhint:",
        ),
        (
            "no-environment",
            json!({ "environmentId": "azureml:rust-tch-cpu:1" }),
            "there is no environment \"rust-tch-cpu\" in this workspace; there are: AzureML-acpt-pytorch-2.11-cuda13, rust-tch-gpu\nhint:",
        ),
        (
            "no-version",
            json!({ "environmentId": "azureml:rust-tch-gpu:7" }),
            "there is no environment \"rust-tch-gpu:7\" in this workspace; there are: 1\nhint:",
        ),
        (
            "no-code",
            json!({ "codeId": scope().path(["codes", "gone", "versions", "1"]) }),
            "there is no code snapshot \"gone\"",
        ),
        (
            "no-input",
            json!({ "inputs": { "data": { "jobInputType": "uri_folder",
                "uri": "azureml://datastores/workspaceblobstore/paths/nothing/here/" } } }),
            "there is nothing at \"azureml://datastores/workspaceblobstore/paths/nothing/here/\", which the input \"data\" names\nhint:",
        ),
        (
            "no-datastore",
            json!({ "inputs": { "data": { "jobInputType": "uri_file",
                "uri": "azureml://datastores/lake/paths/x" } } }),
            "datastore \"lake\"",
        ),
        (
            "no-model",
            json!({ "inputs": { "data": { "jobInputType": "custom_model", "uri": "azureml:m:1" } } }),
            "is no model or data asset of this workspace\nhint:",
        ),
        (
            "too-wide",
            json!({ "resources": { "instanceCount": 3 } }),
            "the job asks for 3 nodes, and cpu-cluster has 2 at most\nhint:",
        ),
        (
            "too-wide-without-compute",
            json!({ "computeId": null, "resources": { "instanceCount": 2 } }),
            "the job asks for 2 nodes, and serverless compute has 1 at most\nhint:",
        ),
    ] {
        workspace.submit(name, "true", &more);
        let message = workspace.fail(name);
        assert!(message.contains(said), "{message}");
        assert_eq!(workspace.path(name), ["Queued", "Preparing", "Failed"]);
    }
}

#[test]
fn what_makes_no_sense_is_refused_at_once() {
    let workspace = Workspace::start();
    for (name, more, said) in [
        ("typo", json!({ "comand": "true" }), "properties.comand"),
        (
            "deep",
            json!({ "inputs": { "a": { "jobInputType": "literal", "value": "1", "mod": "x" } } }),
            "properties.inputs.a.mod",
        ),
        (
            "unbound",
            json!({ "command": "t ${{inputs.a}}" }),
            "${{inputs.a}}",
        ),
        ("empty", json!({ "command": " " }), "needs a command"),
        (
            "forever",
            json!({ "limits": { "jobLimitsType": "Command", "timeout": "5 minutes" } }),
            "5 minutes",
        ),
        (
            "crowd",
            json!({ "distribution": { "distributionType": "PyTorch", "processCountPerInstance": 4_000_000_000_u32 } }),
            "runs up to 64 processes of a job\nhint:",
        ),
        (
            "crowd-of-nodes",
            json!({ "computeId": null, "resources": { "instanceCount": 65 } }),
            "runs up to 64 processes of a job\nhint:",
        ),
        (
            "machines",
            json!({ "distribution": { "distributionType": "Mpi" }, "computeId": null, "resources": { "instanceCount": 2 } }),
            "the local workspace is one machine\nhint:",
        ),
        (
            "elsewhere",
            json!({ "outputs": { "o": { "jobOutputType": "uri_folder", "uri": "azureml://datastores/lake/paths/x" } } }),
            "the local workspace has one datastore\nhint:",
        ),
        (
            "no-asset-name",
            json!({ "outputs": { "o": { "jobOutputType": "uri_folder", "assetName": "a/b" } } }),
            "\"a/b\" is no name",
        ),
        ("-x", json!({}), "no name of a job"),
        (
            "spark",
            json!({ "jobType": "Spark" }),
            "command jobs and sweeps",
        ),
        (
            "inputs",
            json!({ "inputs": { "../a": { "jobInputType": "literal", "value": "1" } } }),
            "../a",
        ),
    ] {
        let answer = workspace.try_submit(name, "true", &more).expect(400).json();
        let message = answer["error"]["message"].as_str().expect("a message");
        assert_eq!(answer["error"]["code"], "UserError", "{answer}");
        assert!(message.contains(said), "{message}");
        workspace
            .arm("GET", &format!("/jobs/{name}"), &Value::Null)
            .expect(404);
    }
    let answer = workspace
        .ask(
            "PUT",
            &scope().path(["jobs", "bad"]),
            &Value::String("x".into()),
        )
        .expect(400);
    assert!(answer.json()["error"]["message"].is_string());
}

#[test]
fn a_job_is_canceled_while_it_runs_and_while_it_waits() {
    let workspace = Workspace::start();
    let more = json!({ "computeId": scope().path(["computes", "cc-aml-gpu"]) });
    // The only node is taken by a job that ends normally on SIGTERM.
    workspace.submit(
        "runs",
        "trap 'echo asked; exit 0' TERM; echo ready; while true; do sleep 0.05; done",
        &more,
    );
    wait_for("the trap", || {
        (workspace.log("runs") == "ready\n").then_some(())
    });
    workspace.reach("runs", "Running");
    workspace.submit("waits", "true", &more);
    assert_eq!(workspace.status("waits"), "Queued");
    let nodes = workspace.get("/computes/cc-aml-gpu");
    assert_eq!(
        nodes["properties"]["properties"]["nodeStateCounts"]["runningNodeCount"],
        1
    );

    for name in ["waits", "runs"] {
        let accepted = workspace
            .arm("POST", &format!("/jobs/{name}/cancel"), &Value::Null)
            .expect(202);
        assert!(accepted.header("retry-after").is_some());
        let location = accepted.header("location").expect("a location").to_owned();
        let bearer = format!("Bearer {}", workspace.token());
        ask("GET", &location, &[("Authorization", &bearer)], &[]).expect(200);
        workspace.reach(name, "Canceled");
    }
    assert_eq!(
        workspace.path("waits"),
        ["Queued", "CancelRequested", "Canceled"]
    );
    assert_eq!(
        workspace.path("runs"),
        [
            "Queued",
            "Preparing",
            "Running",
            "CancelRequested",
            "Canceled"
        ]
    );
    let log = workspace.log("runs");
    assert!(log.ends_with("asked\n"), "{log}");
    workspace
        .arm("POST", "/jobs/runs/cancel", &Value::Null)
        .expect(409);
    workspace
        .arm("POST", "/jobs/nobody/cancel", &Value::Null)
        .expect(404);
}

#[test]
fn a_job_that_does_not_want_to_end_is_ended() {
    let workspace = Workspace::start();
    workspace.submit(
        "stubborn",
        "trap '' TERM; echo ready; while true; do sleep 0.05; done",
        &json!({}),
    );
    wait_for("the trap", || {
        (workspace.log("stubborn") == "ready\n").then_some(())
    });
    workspace
        .arm("POST", "/jobs/stubborn/cancel", &Value::Null)
        .expect(202);
    workspace.reach("stubborn", "Canceled");
}

#[test]
fn a_job_that_takes_too_long_fails() {
    let workspace = Workspace::start();
    workspace.submit(
        "slow",
        "echo begun; sleep 600",
        &json!({ "limits": { "jobLimitsType": "Command", "timeout": "PT0.5S" } }),
    );
    let message = workspace.fail("slow");
    assert!(
        message.contains("longer than its limit of 0.5 seconds"),
        "{message}"
    );
    assert!(message.contains("hint:"), "{message}");
}

#[test]
fn jobs_run_in_the_order_of_submission() {
    let workspace = Workspace::start();
    let more = json!({ "computeId": scope().path(["computes", "cc-aml-gpu"]) });
    let gate = workspace.gate("gate");
    workspace.submit("a", &until(&gate), &more);
    for name in ["b", "c", "d"] {
        workspace.submit(name, "true", &more);
    }
    workspace.reach("a", "Running");
    assert_eq!(workspace.status("d"), "Queued");
    fs::write(&gate, "").expect("the folder is ours");
    let ended: Vec<String> = ["a", "b", "c", "d"]
        .iter()
        .map(|name| workspace.complete(name)["startTimeUtc"].to_string())
        .collect();
    assert!(ended.is_sorted(), "{ended:?}");
    let idle = workspace.get("/computes/cc-aml-gpu");
    assert_eq!(
        idle["properties"]["properties"]["nodeStateCounts"]["idleNodeCount"],
        1
    );
}

#[test]
fn idle_nodes_go() {
    let workspace = Workspace::start();
    let body = json!({ "location": "local", "properties": { "computeType": "AmlCompute", "properties": {
        "vmSize": "STANDARD_DS3_V2",
        "scaleSettings": { "minNodeCount": 0, "maxNodeCount": 4, "nodeIdleTimeBeforeScaleDown": "PT0S" },
    }}});
    workspace.arm("PUT", "/computes/brief", &body).expect(201);
    workspace.arm("PUT", "/computes/brief", &body).expect(200);
    let gate = workspace.gate("gate");
    let more = json!({ "computeId": scope().path(["computes", "brief"]) });
    workspace.submit("x", &until(&gate), &more);
    workspace.submit("y", &until(&gate), &more);
    workspace.reach("x", "Running");
    workspace.reach("y", "Running");
    let nodes = || {
        workspace.get("/computes/brief")["properties"]["properties"]["currentNodeCount"]
            .as_u64()
            .expect("a count")
    };
    assert_eq!(nodes(), 2);
    workspace
        .arm("DELETE", "/computes/brief", &Value::Null)
        .expect(409);
    fs::write(&gate, "").expect("the folder is ours");
    workspace.complete("x");
    workspace.complete("y");
    wait_for("the nodes to go", || (nodes() == 0).then_some(()));
    workspace
        .arm("DELETE", "/computes/brief", &Value::Null)
        .expect(202);
    workspace
        .arm("GET", "/computes/brief", &Value::Null)
        .expect(404);
}

#[test]
fn a_cluster_is_no_larger_than_a_machine_can_stand() {
    let workspace = Workspace::start();
    let cluster = |least: u32, most: u32| {
        let body = json!({ "location": "local", "properties": { "computeType": "AmlCompute", "properties": {
            "vmSize": "STANDARD_DS3_V2", "scaleSettings": { "minNodeCount": least, "maxNodeCount": most },
        }}});
        workspace.arm("PUT", "/computes/large", &body)
    };
    let refused = cluster(4_000_000_000, 4_000_000_000).expect(400).json();
    let message = refused["error"]["message"].as_str().expect("text");
    assert!(
        message.contains("up to 100 nodes") && message.contains("\nhint: "),
        "{message}"
    );
    cluster(1, 100).expect(201);
}

#[test]
fn outputs_are_registered_when_the_job_ends_well() {
    let workspace = Workspace::start();
    let outputs = json!({ "outputs": {
        "folder": { "jobOutputType": "uri_folder", "assetName": "digits" },
        "file": { "jobOutputType": "uri_file", "assetName": "labels" },
        "placed": { "jobOutputType": "uri_file", "uri": "azureml://datastores/workspaceblobstore/paths/kept/here.txt" },
        "model": { "jobOutputType": "custom_model", "assetName": "net" },
    }});
    let command = "echo d > ${{outputs.folder}}/d.txt; echo l > ${{outputs.file}}; echo p > ${{outputs.placed}}; \
                   echo m > ${{outputs.model}}/m.pt";
    workspace.submit("makes", command, &outputs);
    workspace.complete("makes");
    workspace.submit("makes-again", command, &outputs);
    workspace.complete("makes-again");
    workspace.submit("fails", &format!("{command}; exit 3"), &outputs);
    workspace.fail("fails");
    let data = workspace.get("/data/digits/versions?$orderBy=createdtime%20desc");
    let names: Vec<&str> = data["value"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|version| version["name"].as_str())
        .collect();
    assert_eq!(names, ["2", "1"], "what failed is not registered");
    assert_eq!(
        data["value"][1]["properties"]["dataUri"],
        "azureml://datastores/workspaceblobstore/paths/azureml/makes/folder/"
    );
    let model = workspace.get("/models/net/versions/1");
    assert_eq!(model["properties"]["jobName"], "makes");

    let input = |kind: &str, uri: &str| json!({ "jobInputType": kind, "uri": uri });
    workspace.submit(
        "reads",
        "cat ${{inputs.a}}/d.txt ${{inputs.b}} ${{inputs.c}}/m.pt ${{inputs.d}}",
        &json!({ "inputs": {
            "a": input("uri_folder", &scope().path(["data", "digits", "versions", "1"])),
            "b": input("uri_file", "azureml:labels@latest"),
            "c": input("custom_model", "azureml:net:1"),
            "d": input("uri_file", "azureml://datastores/workspaceblobstore/paths/kept/here.txt"),
        }}),
    );
    workspace.complete("reads");
    assert_eq!(workspace.log("reads"), "d\nl\nm\np\n");
}

#[test]
fn a_stopped_instance_lets_jobs_wait() {
    let workspace = Workspace::start();
    workspace
        .arm("POST", "/computes/ci-aml-workshop/stop", &Value::Null)
        .expect(202);
    let more = json!({ "computeId": scope().path(["computes", "ci-aml-workshop"]) });
    workspace.submit("patient", "true", &more);
    let state = workspace.get("/computes/ci-aml-workshop");
    assert_eq!(state["properties"]["properties"]["state"], "Stopped");
    assert_eq!(workspace.status("patient"), "Queued");
    workspace
        .arm("POST", "/computes/ci-aml-workshop/start", &Value::Null)
        .expect(202);
    workspace.complete("patient");
    workspace
        .arm("POST", "/computes/cpu-cluster/stop", &Value::Null)
        .expect(400);
}

#[test]
fn code_and_inputs_are_there_and_are_copies() {
    let workspace = Workspace::start();
    let code = workspace.code(
        "11111111-1111-1111-1111-111111111111",
        "aa",
        &[
            (
                "run.sh",
                "#!/bin/sh\n. ./lib/words.sh\nsay\ncat \"$1/numbers.txt\" \"$2\"\necho \"$3\"\n",
            ),
            ("lib/words.sh", "say() { echo from the library; }\n"),
        ],
    );
    let store = workspace.get("/datastores?isDefault=true")["value"][0]["properties"].clone();
    let text = |name: &str| store[name].as_str().expect("text").to_owned();
    let root = format!(
        "{}://{}/{}/{}",
        text("protocol"),
        text("endpoint"),
        text("accountName"),
        text("containerName")
    );
    let query = workspace.datastore_signature();
    put_blob(&format!("{root}/data/numbers.txt?{query}"), b"1 2 3\n").expect(201);
    put_blob(
        &format!("{root}/data/deeper/one%20file.txt?{query}"),
        b"one file\n",
    )
    .expect(201);

    let job = json!({
        "codeId": code,
        "inputs": {
            "folder": { "jobInputType": "uri_folder", "uri": "azureml://datastores/workspaceblobstore/paths/data/" },
            "file": { "jobInputType": "uri_file", "uri": format!("{root}/data/deeper/one%20file.txt"), "mode": "Download" },
            "word": { "jobInputType": "literal", "value": "literally" },
        },
        "outputs": { "made": { "jobOutputType": "uri_folder" } },
        "environmentVariables": { "MINE": "my own" },
    });
    workspace.submit(
        "with-files",
        "./run.sh ${{inputs.folder}} ${{inputs.file}} ${{inputs.word}} && echo $AZURE_ML_INPUT_word $MINE && \
         echo named > ${{outputs.made}}/n.txt && (echo spoiled > ${{inputs.folder}}/numbers.txt) 2>/dev/null; \
         echo spoiled > run.sh; [ \"$PWD\" != / ]",
        &job,
    );
    workspace.complete("with-files");
    assert_eq!(
        workspace.log("with-files"),
        "from the library\n1 2 3\none file\nliterally\nliterally my own\n"
    );
    // The job has changed its own copy of the input only.
    let kept = ask("GET", &format!("{root}/data/numbers.txt?{query}"), &[], &[]);
    assert_eq!(kept.expect(200).text(), "1 2 3\n");
    assert_eq!(
        workspace
            .artifact("with-files", "named-outputs/made/n.txt")
            .text(),
        "named\n"
    );
    let job_answer = workspace.get("/jobs/with-files");
    assert_eq!(
        job_answer["properties"]["outputs"]["made"]["uri"],
        "azureml://datastores/workspaceblobstore/paths/azureml/with-files/made/"
    );

    // Another job reads the output of the first, by the job's name and through a model.
    let model =
        json!({ "properties": { "modelUri": "azureml://jobs/with-files/outputs/made/paths/" } });
    let model = workspace
        .arm("PUT", "/models/words/versions/1", &model)
        .expect(201)
        .json();
    for member in ["tags", "properties", "flavors"] {
        assert_eq!(model["properties"][member], json!({}), "{member}");
    }
    workspace.submit(
        "reads",
        "cat ${{inputs.log}} ${{inputs.model}}/n.txt",
        &json!({ "inputs": {
            "log": { "jobInputType": "uri_file", "uri": "azureml://jobs/with-files/outputs/artifacts/paths/user_logs/std_log.txt" },
            "model": { "jobInputType": "custom_model", "uri": "azureml:words:1" },
        }}),
    );
    workspace.complete("reads");
    assert!(
        workspace
            .log("reads")
            .ends_with("literally my own\nnamed\n")
    );
}

#[test]
fn a_job_knows_its_run_and_nothing_that_opens_the_workspace() {
    let workspace = Workspace::start();
    workspace.submit("env", "env", &json!({}));
    workspace.complete("env");
    let log = workspace.log("env");
    for line in [
        "AZUREML_RUN_ID=env".to_owned(),
        "AZUREML_ROOT_RUN_ID=env".to_owned(),
        "MLFLOW_RUN_ID=env".to_owned(),
        "MLFLOW_EXPERIMENT_NAME=tests".to_owned(),
        "AZUREML_ARM_WORKSPACE_NAME=local".to_owned(),
        format!(
            "MLFLOW_TRACKING_URI={}/mlflow/v2.0{}",
            workspace.url(),
            scope()
        ),
    ] {
        assert!(log.lines().any(|have| have == line), "{line} in {log}");
    }
    assert!(!log.contains(&workspace.token()));
    assert!(!log.contains("AZUREML_LOCAL_"), "{log}");
    assert!(!log.lines().any(|line| line.starts_with("RANK=")), "{log}");
}

#[test]
fn processes_know_their_ranks_and_fail_together() {
    let workspace = Workspace::start();
    let more =
        json!({ "distribution": { "distributionType": "PyTorch", "processCountPerInstance": 3 } });
    workspace.submit(
        "ranks",
        "echo $RANK/$LOCAL_RANK/$WORLD_SIZE/$MASTER_ADDR",
        &more,
    );
    let details = workspace.complete("ranks");
    assert_eq!(
        details["logFiles"].as_object().map(serde_json::Map::len),
        Some(3)
    );
    for rank in 0..3 {
        let file = format!("user_logs/std_log_process_0{rank}.txt");
        assert_eq!(
            workspace.log_file("ranks", &file).as_deref(),
            Some(format!("{rank}/{rank}/3/127.0.0.1\n").as_str())
        );
    }
    workspace.submit(
        "one-fails",
        "if [ $RANK = 1 ]; then echo oh no; exit 5; fi; sleep 600",
        &more,
    );
    let message = workspace.fail("one-fails");
    assert!(
        message.starts_with("the command exited with code 5 (process 1)"),
        "{message}"
    );
    assert!(message.ends_with("oh no"), "{message}");
}

/// A job of two processes, started by `mpirun` from the job's `PATH`.
fn joined_by_mpi(path: &str) -> Value {
    json!({
        "distribution": { "distributionType": "Mpi", "processCountPerInstance": 2 },
        "environmentVariables": { "PATH": path },
    })
}

/// A `PATH` with Open MPI.
fn path_with_mpi() -> String {
    let python = end_to_end::python(end_to_end::env::PYTHON_MPI);
    let folder = python.parent().expect("a folder").display();
    format!("{folder}:/usr/bin:/bin")
}

#[test]
fn mpi_starts_processes_that_fail_together() {
    let workspace = Workspace::start();
    let more = joined_by_mpi(&path_with_mpi());
    workspace.submit(
        "joined",
        "echo $OMPI_COMM_WORLD_RANK/$OMPI_COMM_WORLD_SIZE \"it's\" '$HOME'",
        &more,
    );
    let details = workspace.complete("joined");
    assert_eq!(
        details["logFiles"].as_object().map(serde_json::Map::len),
        Some(2)
    );
    for rank in 0..2 {
        let file = format!("user_logs/std_log_process_0{rank}.txt");
        assert_eq!(
            workspace.log_file("joined", &file).as_deref(),
            Some(format!("{rank}/2 it's $HOME\n").as_str())
        );
    }
    workspace.submit(
        "one-of-them-fails",
        "if [ $OMPI_COMM_WORLD_RANK = 1 ]; then echo oh no; exit 5; fi; sleep 600",
        &more,
    );
    let message = workspace.fail("one-of-them-fails");
    assert!(
        message.starts_with("the command exited with code 5 (process 1)"),
        "{message}"
    );
    assert!(message.ends_with("oh no"), "{message}");
}

#[test]
fn processes_that_mpi_started_end_with_their_job() {
    let workspace = Workspace::start();
    let command = format!(
        "echo $$ > '{}'$OMPI_COMM_WORLD_RANK; exec sleep 600",
        workspace.gate("process-").display()
    );
    workspace.submit("joined", &command, &joined_by_mpi(&path_with_mpi()));
    let processes = [0, 1].map(|rank| {
        wait_for("a process", || {
            let number = fs::read_to_string(workspace.gate(&format!("process-{rank}"))).ok()?;
            number.trim().parse::<u32>().ok()
        })
    });
    workspace
        .arm("POST", "/jobs/joined/cancel", &Value::Null)
        .expect(202);
    workspace.reach("joined", "Canceled");
    for process in processes {
        // `mpirun` does not wait for the processes that it kills.
        wait_for("a process's end", || {
            (!Path::new(&format!("/proc/{process}")).exists()).then_some(())
        });
    }
}

#[test]
fn without_mpi_a_job_for_it_fails_with_a_hint() {
    let workspace = Workspace::start();
    workspace.submit("joined", "true", &joined_by_mpi("/nowhere"));
    let message = workspace.fail("joined");
    assert!(message.contains("no mpirun on the PATH"), "{message}");
    assert!(message.contains("hint: install Open MPI"), "{message}");
}

#[test]
fn a_job_for_mpi_with_one_process_knows_that_it_is_alone() {
    let workspace = Workspace::start();
    for (name, distribution) in [
        (
            "one",
            json!({ "distributionType": "Mpi", "processCountPerInstance": 1 }),
        ),
        ("none", json!({ "distributionType": "Mpi" })),
    ] {
        workspace.submit(
            name,
            "echo $OMPI_COMM_WORLD_RANK/$OMPI_COMM_WORLD_SIZE $OMPI_COMM_WORLD_LOCAL_RANK/$OMPI_COMM_WORLD_LOCAL_SIZE",
            &json!({ "distribution": distribution, "environmentVariables": { "PATH": "/nowhere" } }),
        );
        workspace.complete(name);
        assert_eq!(workspace.log(name), "0/1 0/1\n");
    }
}

#[test]
fn curated_environments_run_on_this_machine_with_a_warning() {
    let workspace = Workspace::start();
    for (number, id) in [
        "azureml:AzureML-sklearn-1.5@latest",
        "azureml:AzureML-sklearn-1.5:3",
        "AzureML-sklearn-1.5",
        "azureml:AzureML-acpt-pytorch-2.11-cuda13:33",
        "azureml://registries/azureml/environments/sklearn-1.5/labels/latest",
        "azureml://registries/azureml/environments/acpt-pytorch-2.2-cuda12.1/versions/40",
        "azureml://registries/azureml/environments/rust-tch-gpu/versions/1",
        &scope().path(["environments", "AzureML-tensorflow-2.16", "versions", "9"]),
    ]
    .iter()
    .enumerate()
    {
        let name = format!("curated-{number}");
        workspace.submit(
            &name,
            "echo ran; ln -s / outputs/root",
            &json!({ "environmentId": id }),
        );
        let details = workspace.complete(&name);
        let warnings = details["warnings"].to_string();
        assert!(
            warnings.contains("runs on this machine as it is"),
            "{id}: {warnings}"
        );
        assert!(
            warnings.contains("outputs/root was not kept"),
            "{id}: {warnings}"
        );
        let log = workspace.log(&name);
        assert!(
            log.starts_with("azureml-local: warning: the environment \""),
            "{id}: {log}"
        );
        assert!(log.contains("\nran\n"), "{id}: {log}");
        assert!(log.contains("outputs/root was not kept"), "{id}: {log}");
    }
    // Clients look up the environment before they submit a job.
    let found = workspace.get("/environments/AzureML-sklearn-1.5");
    assert_eq!(found["properties"]["latestVersion"], "1");
    let found = workspace.get("/environments/AzureML-sklearn-1.5/versions/7");
    assert_eq!(found["properties"]["environmentType"], "Curated");
    workspace.get("/environments/AzureML-sklearn-1.5/versions");
    // Other environments must exist.
    workspace.submit(
        "own",
        "true",
        &json!({ "environmentId": "azureml:sklearn:1" }),
    );
    let message = workspace.fail("own");
    assert!(
        message.contains("there is no environment \"sklearn\""),
        "{message}"
    );
    assert!(
        workspace.details("own")["warnings"]
            .as_array()
            .is_some_and(Vec::is_empty)
    );
    workspace
        .arm("GET", "/environments/sklearn/versions/1", &Value::Null)
        .expect(404);
}

#[test]
fn outputs_do_not_lead_out_of_the_job() {
    let workspace = Workspace::start();
    fs::write(workspace.gate("private.txt"), "private").expect("the folder is ours");
    workspace.submit(
        "links",
        &format!(
            "mkdir -p outputs real; echo r > real/r.txt; ln -s ../real outputs/inside; ln -s '{}' outputs/outside; \
             ln -s / outputs/root; ln -s nowhere outputs/dangling; mkfifo outputs/pipe; ln -s . outputs/loop; echo f > outputs/file",
            workspace.gate("private.txt").display()
        ),
        &json!({}),
    );
    let details = workspace.complete("links");
    let artifacts = workspace.artifacts("links");
    assert!(artifacts.contains(&"outputs/file".to_owned()));
    assert!(artifacts.contains(&"outputs/inside/r.txt".to_owned()));
    for path in ["outputs/outside", "outputs/dangling", "outputs/pipe"] {
        assert!(!artifacts.contains(&path.to_owned()), "{path}");
    }
    assert!(
        !artifacts
            .iter()
            .any(|path| path.starts_with("outputs/root"))
    );
    let warnings = details["warnings"].to_string();
    for word in [
        "outputs/outside",
        "outputs/root",
        "outputs/dangling",
        "outputs/pipe",
    ] {
        assert!(warnings.contains(word), "{word} in {warnings}");
    }
}

#[test]
fn a_full_disk_fails_the_job_and_keeps_nothing_by_halves() {
    let workspace = Workspace::start();
    // The error message of a program whose write fails on a full disk.
    workspace.submit(
        "full",
        "mkdir -p outputs; head -c 1000 /dev/zero > outputs/half; cat outputs/half > /dev/full",
        &json!({}),
    );
    let message = workspace.fail("full");
    assert!(
        message.contains("no space is left on the disk"),
        "{message}"
    );
    assert!(message.contains("hint: free some space"), "{message}");
    assert_eq!(workspace.artifacts("full"), ["user_logs/std_log.txt"]);
    // A write beyond the file size limit is reported like a full disk.
    workspace.submit(
        "limited",
        "mkdir -p outputs; ulimit -f 8; head -c 1000000 /dev/zero > outputs/half",
        &json!({}),
    );
    let message = workspace.fail("limited");
    assert!(message.contains("hint: free some space"), "{message}");
    assert_eq!(workspace.artifacts("limited"), ["user_logs/std_log.txt"]);
    workspace.submit("next", "true", &json!({}));
    workspace.complete("next");
}

#[test]
fn lists_come_in_pages_and_hide_what_is_archived() {
    let workspace = Workspace::start();
    // The compute is stopped, so the jobs stay queued.
    workspace
        .arm("POST", "/computes/ci-aml-workshop/stop", &Value::Null)
        .expect(202);
    let more = json!({ "computeId": scope().path(["computes", "ci-aml-workshop"]), "tags": { "kind": "many" } });
    for number in 0..7 {
        workspace.submit(&format!("job{number}"), "true", &more);
    }
    let mut names = Vec::new();
    let mut url = format!(
        "{}{}?$top=3&listViewType=ActiveOnly",
        workspace.url(),
        scope().path(["jobs"])
    );
    let bearer = format!("Bearer {}", workspace.token());
    loop {
        let page = ask("GET", &url, &[("Authorization", &bearer)], &[])
            .expect(200)
            .json();
        names.extend(
            page["value"]
                .as_array()
                .expect("a list")
                .iter()
                .filter_map(|job| job["name"].as_str().map(str::to_owned)),
        );
        match page["nextLink"].as_str() {
            Some(next) => next.clone_into(&mut url),
            None => break,
        }
    }
    assert_eq!(
        names,
        ["job6", "job5", "job4", "job3", "job2", "job1", "job0"]
    );

    let archive = json!({ "hidden": true, "tags": { "added": "1" } });
    workspace
        .ask("PATCH", &scope().run_history("job3", ""), &archive)
        .expect(200);
    let count = |query: &str| {
        workspace.get(&format!("/jobs?{query}"))["value"]
            .as_array()
            .map(Vec::len)
    };
    assert_eq!(count("listViewType=ActiveOnly"), Some(6));
    assert_eq!(count("listViewType=ArchivedOnly"), Some(1));
    assert_eq!(count("listViewType=All"), Some(7));
    assert_eq!(count("listViewType=All&tag=added"), Some(1));
    assert_eq!(count("listViewType=All&tag=kind=many"), Some(7));
    let job = workspace.get("/jobs/job3");
    assert_eq!(
        job["properties"]["tags"],
        json!({ "kind": "many", "added": "1" })
    );

    // A repeated submission changes the mutable properties; another command is a conflict.
    let mut again = more.clone();
    again["displayName"] = json!("Renamed");
    again["experimentName"] = json!("tests");
    let changed = workspace
        .try_submit("job1", "true", &again)
        .expect(200)
        .json();
    assert_eq!(changed["properties"]["displayName"], "Renamed");
    workspace.try_submit("job1", "false", &more).expect(409);
}
