//! Sweeps: their trials, concurrency, best trial and final status.

use crate::support::{Workspace, until};
use azureml_wire::local::scope;
use end_to_end::{kill, wait_for};
use serde_json::{Value, json};
use std::fs;

/// The properties of a sweep over `lr` and `gamma`, whose trials run `command`.
fn sweep(command: &str, more: &Value) -> Value {
    let mut properties = json!({
        "jobType": "Sweep",
        "experimentName": "tests",
        "computeId": scope().path(["computes", "cpu-cluster"]),
        "trial": {
            "command": command,
            "environmentId": scope().path(["environments", "rust-tch-gpu", "versions", "1"]),
        },
        "searchSpace": { "lr": ["choice", [[0.5, 1.0]]], "gamma": ["choice", [[0.7, 0.9]]] },
        "samplingAlgorithm": { "samplingAlgorithmType": "Grid" },
        "objective": { "primaryMetric": "Accuracy", "goal": "Maximize" },
    });
    for (name, value) in more.as_object().into_iter().flatten() {
        properties[name] = value.clone();
    }
    json!({ "properties": properties })
}

fn submit(workspace: &Workspace, name: &str, command: &str, more: &Value) -> Value {
    workspace
        .arm("PUT", &format!("/jobs/{name}"), &sweep(command, more))
        .expect(201)
        .json()
}

/// The names and statuses of a sweep's trials.
fn trials(workspace: &Workspace, name: &str) -> Vec<(String, String)> {
    let page = workspace
        .ask("GET", &scope().run_history(name, "/children"), &Value::Null)
        .expect(200)
        .json();
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    page["value"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|run| {
            assert_eq!(run["parentRunId"], name);
            (text(&run["runId"]), text(&run["status"]))
        })
        .collect()
}

/// Waits until a trial of the sweep `s` runs.
fn begun(workspace: &Workspace, trial: &str) {
    wait_for(&format!("{trial} to run"), || {
        let trials = trials(workspace, "s");
        let found = trials.iter().find(|(name, _)| name == trial)?;
        assert_ne!(found.1, "Failed", "{trial}");
        (found.1 == "Running").then_some(())
    });
}

fn count(trials: &[(String, String)], status: &str) -> usize {
    trials.iter().filter(|(_, have)| have == status).count()
}

fn log(workspace: &Workspace, run: &str, value: f64, step: u32) {
    let batch = json!({
        "run_id": run,
        "metrics": [{ "key": "Accuracy", "value": value, "timestamp": 1, "step": step }],
    });
    workspace
        .ask("POST", &scope().mlflow("runs/log-batch"), &batch)
        .expect(200);
}

#[test]
fn every_combination_is_a_job_and_the_best_is_named() {
    let workspace = Workspace::start();
    let gate = workspace.gate("gate");
    let command = format!(
        "echo lr=${{{{search_space.lr}}}} gamma=${{{{search_space.gamma}}}} $AZUREML_PARAMETER_lr $AZUREML_ROOT_RUN_ID; {}",
        until(&gate)
    );
    let limits = json!({ "limits": { "jobLimitsType": "Sweep", "maxConcurrentTrials": 1 } });
    let made = submit(&workspace, "s", &command, &limits);
    assert_eq!(made["properties"]["status"], "Starting");
    begun(&workspace, "s_0");
    assert_eq!(workspace.status("s"), "Running");
    // The cluster has two nodes, but the sweep limits its concurrency to one trial.
    assert_eq!(trials(&workspace, "s").len(), 1);
    log(&workspace, "s_0", 0.5, 1);
    fs::write(&gate, "").expect("the folder is ours");
    wait_for("the second to run", || {
        (trials(&workspace, "s").len() > 1).then_some(())
    });
    log(&workspace, "s_1", 0.75, 1);
    log(&workspace, "s_1", 0.25, 2);
    let details = workspace.complete("s");

    let trials = trials(&workspace, "s");
    assert_eq!(trials.len(), 4);
    assert_eq!(count(&trials, "Completed"), 4, "{trials:?}");
    // The score is the best value, not the last one.
    assert_eq!(details["properties"]["best_child_run_id"], "s_1");
    assert_eq!(details["properties"]["score"], "0.75");
    assert_eq!(workspace.path("s"), ["Queued", "Running", "Completed"]);
    for (name, lr, gamma) in [
        ("s_0", "0.5", "0.7"),
        ("s_1", "1.0", "0.7"),
        ("s_2", "0.5", "0.9"),
        ("s_3", "1.0", "0.9"),
    ] {
        assert_eq!(
            workspace.log(name),
            format!("lr={lr} gamma={gamma} {lr} s\n")
        );
        let job = workspace.get(&format!("/jobs/{name}"));
        assert_eq!(job["properties"]["jobType"], "Command");
        assert_eq!(job["properties"]["parameters"]["lr"].to_string(), lr);
        let tag = job["properties"]["tags"]["hyperparameters"].as_str();
        let values: Value = serde_json::from_str(tag.expect("a tag")).expect("JSON text");
        assert_eq!(values["gamma"].to_string(), gamma);
    }
    // Job listings contain the sweep without its trials.
    let jobs = workspace.get("/jobs");
    assert_eq!(jobs["value"].as_array().map(Vec::len), Some(1), "{jobs}");
    let none = workspace.get("/jobs?jobType=Command");
    assert_eq!(none["value"], json!([]));
    // MLflow finds the trials by their parent.
    let search = json!({
        "experiment_ids": [details["experimentId"]],
        "filter": "tags.mlflow.parentRunId = 's' and metrics.Accuracy > 0.4",
    });
    let found = workspace
        .ask("POST", &scope().mlflow("runs/search"), &search)
        .expect(200)
        .json();
    assert_eq!(found["runs"].as_array().map(Vec::len), Some(1), "{found}");
}

#[test]
fn as_many_trials_run_at_once_as_the_cluster_has_room_for() {
    let workspace = Workspace::start();
    let gate = workspace.gate("gate");
    submit(&workspace, "s", &until(&gate), &json!({}));
    begun(&workspace, "s_0");
    begun(&workspace, "s_1");
    let trials = trials(&workspace, "s");
    assert_eq!((trials.len(), count(&trials, "Queued")), (4, 2));
    fs::write(&gate, "").expect("the folder is ours");
    workspace.complete("s");
}

#[test]
fn a_sweep_whose_experiment_is_deleted_fails_instead_of_running_for_ever() {
    let workspace = Workspace::start();
    let gate = workspace.gate("gate");
    let limits = json!({ "limits": { "jobLimitsType": "Sweep", "maxConcurrentTrials": 1 } });
    submit(&workspace, "s", &until(&gate), &limits);
    begun(&workspace, "s_0");
    let run = workspace
        .ask("GET", &scope().mlflow("runs/get?run_id=s"), &Value::Null)
        .expect(200)
        .json();
    let id = &run["run"]["info"]["experiment_id"];
    let delete = scope().mlflow("experiments/delete");
    workspace
        .ask("POST", &delete, &json!({ "experiment_id": id }))
        .expect(200);
    fs::write(&gate, "").expect("the folder is ours");
    workspace.reach("s", "Failed");
    let details = scope().run_history("s", "/details");
    let details = workspace.ask("GET", &details, &Value::Null).expect(200);
    assert!(details.text().contains("must be in the 'active' state"));
}

#[test]
fn cancel_ends_the_trials_and_begins_no_more() {
    let workspace = Workspace::start();
    let gate = workspace.gate("gate");
    let limits = json!({ "limits": { "jobLimitsType": "Sweep", "maxConcurrentTrials": 3 } });
    submit(&workspace, "s", &until(&gate), &limits);
    begun(&workspace, "s_1");
    wait_for("the third", || {
        (trials(&workspace, "s").len() == 3).then_some(())
    });
    workspace
        .arm("POST", "/jobs/s/cancel", &Value::Null)
        .expect(202);
    workspace.reach("s", "Canceled");
    let trials = trials(&workspace, "s");
    assert_eq!((trials.len(), count(&trials, "Canceled")), (3, 3));
    workspace
        .arm("POST", "/jobs/s/cancel", &Value::Null)
        .expect(409);
}

#[test]
fn one_that_fails_leaves_the_others_and_all_that_fail_are_the_sweeps_failure() {
    let workspace = Workspace::start();
    submit(
        &workspace,
        "some",
        "[ ${{search_space.lr}} != 1.0 ]",
        &json!({}),
    );
    workspace.complete("some");
    let some = trials(&workspace, "some");
    assert_eq!((count(&some, "Completed"), count(&some, "Failed")), (2, 2));
    submit(&workspace, "all", "exit 3", &json!({}));
    let message = workspace.fail("all");
    assert!(
        message.starts_with("all of its 4 trials failed; all_0: ") && message.contains("code 3"),
        "{message}"
    );
}

#[test]
fn a_sweep_and_its_trials_have_their_time() {
    let workspace = Workspace::start();
    let limits = json!({ "limits": {
        "jobLimitsType": "Sweep", "maxTotalTrials": 2, "timeout": "PT1S",
    }});
    submit(&workspace, "whole", "sleep 600", &limits);
    let details = workspace.reach("whole", "Canceled");
    let warning = details["warnings"][0]["message"].as_str().expect("a text");
    assert!(warning.contains("longer than its timeout"), "{warning}");
    assert_eq!(count(&trials(&workspace, "whole"), "Canceled"), 2);
    let limits = json!({ "limits": {
        "jobLimitsType": "Sweep", "maxTotalTrials": 1, "trialTimeout": "PT0.5S",
    }});
    submit(&workspace, "each", "sleep 600", &limits);
    let message = workspace.fail("each");
    assert!(message.contains("longer than its limit"), "{message}");
}

#[test]
fn a_trial_without_prospects_is_ended_early() {
    let workspace = Workspace::start();
    let gate = workspace.gate("gate");
    let more = json!({
        "limits": { "jobLimitsType": "Sweep", "maxTotalTrials": 2 },
        "earlyTermination": { "policyType": "Bandit", "slackFactor": 0.1, "evaluationInterval": 1, "delayEvaluation": 2 },
    });
    submit(&workspace, "s", &until(&gate), &more);
    begun(&workspace, "s_0");
    begun(&workspace, "s_1");
    for step in 1..=2 {
        log(&workspace, "s_0", 0.9, step);
        log(&workspace, "s_1", 0.5, step);
    }
    workspace.reach("s_1", "Canceled");
    assert_eq!(workspace.status("s_0"), "Running");
    fs::write(&gate, "").expect("the folder is ours");
    let details = workspace.complete("s");
    assert_eq!(details["properties"]["best_child_run_id"], "s_0");
}

#[test]
fn a_sweep_goes_on_with_the_same_values_after_a_kill() {
    let mut workspace = Workspace::start();
    let gate = workspace.gate("gate");
    let command = format!("echo ${{{{search_space.lr}}}}; {}", until(&gate));
    let more = json!({
        "searchSpace": { "lr": ["uniform", [0.0, 1.0]] },
        "samplingAlgorithm": { "samplingAlgorithmType": "Random" },
        "limits": { "jobLimitsType": "Sweep", "maxTotalTrials": 3, "maxConcurrentTrials": 1 },
    });
    let made = submit(&workspace, "s", &command, &more);
    let seed = made["properties"]["samplingAlgorithm"]["seed"].clone();
    begun(&workspace, "s_0");
    workspace.kill();
    let mut server = workspace.serve(&[]);
    // A repeated submission is idempotent.
    let body = sweep(&command, &more);
    workspace.arm("PUT", "/jobs/s", &body).expect(200);
    assert_eq!(workspace.status("s"), "Running");
    fs::write(&gate, "").expect("the folder is ours");
    workspace.complete("s");
    assert_eq!(trials(&workspace, "s").len(), 3);
    let values =
        |name: &str| ["0", "1", "2"].map(|number| workspace.log(&format!("{name}_{number}")));
    let first = values("s");
    assert!(first[0] != first[1] && first[1] != first[2], "{first:?}");

    // The same seed draws the same values.
    let mut again = more.clone();
    again["samplingAlgorithm"]["seed"] = seed;
    submit(&workspace, "t", &command, &again);
    workspace.complete("t");
    assert_eq!(values("t"), first);
    kill(server.id());
    server.wait().expect("it was ours");
}

#[test]
fn what_makes_no_sense_is_refused_at_once() {
    let workspace = Workspace::start();
    for (more, said) in [
        (json!({ "searchSpace": {} }), "at least one hyperparameter"),
        (
            json!({ "searchSpace": { "lr": ["beta", [1, 2]] } }),
            "no distribution",
        ),
        (
            json!({ "searchSpace": { "lr": ["uniform", [0, 1]] } }),
            "no end of values",
        ),
        (
            json!({ "samplingAlgorithm": { "samplingAlgorithmType": "Bayesian" } }),
            "not by Bayesian",
        ),
        (
            json!({ "limits": { "jobLimitsType": "Sweep", "maxTotalTrials": 0 } }),
            "at least one trial",
        ),
        (
            json!({ "limits": { "jobLimitsType": "Sweep", "maxTotalTrials": 5000 } }),
            "up to 1000 trials",
        ),
        (
            json!({ "earlyTermination": { "policyType": "TruncationSelection" } }),
            "truncationPercentage",
        ),
        (
            json!({ "outputs": { "o": { "jobOutputType": "uri_folder", "uri": "azureml://datastores/workspaceblobstore/paths/x" } } }),
            "to the same place",
        ),
        (json!({ "samplin": 1 }), "properties.samplin"),
    ] {
        let answer = workspace
            .arm("PUT", "/jobs/s", &sweep("true", &more))
            .expect(400)
            .json();
        let message = answer["error"]["message"].as_str().expect("a message");
        assert!(message.contains(said), "{message}");
    }
    let unknown = workspace
        .arm(
            "PUT",
            "/jobs/s",
            &sweep("t ${{search_space.rate}}", &json!({})),
        )
        .expect(400);
    assert!(
        unknown.text().contains("search_space.rate"),
        "{}",
        unknown.text()
    );
    workspace.arm("GET", "/jobs/s", &Value::Null).expect(404);
}

#[test]
fn runs_that_a_program_begins_within_its_own_are_children_too() {
    let workspace = Workspace::start();
    workspace.submit("parent", "true", &json!({}));
    let details = workspace.complete("parent");
    let create = |name: &str| {
        let body = json!({
            "experiment_id": details["experimentId"],
            "run_name": name,
            "tags": [{ "key": "mlflow.parentRunId", "value": "parent" }, { "key": "fold", "value": name }],
        });
        let made = workspace
            .ask("POST", &scope().mlflow("runs/create"), &body)
            .expect(200)
            .json();
        made["run"]["info"]["run_id"]
            .as_str()
            .expect("an id")
            .to_owned()
    };
    let made = [create("one"), create("two")];
    let first = workspace
        .ask(
            "GET",
            &format!("{}?$top=1", scope().run_history("parent", "/children")),
            &Value::Null,
        )
        .expect(200)
        .json();
    assert_eq!(first["value"][0]["runId"], made[0].as_str());
    assert_eq!(first["value"][0]["tags"]["fold"], "one");
    let next = first["nextLink"].as_str().expect("there is more");
    let path = next.strip_prefix(&workspace.url()).expect("it is ours");
    let second = workspace.ask("GET", path, &Value::Null).expect(200).json();
    assert_eq!(second["value"][0]["runId"], made[1].as_str());
    assert_eq!(second["value"][0]["status"], "Running");
    assert!(second.get("nextLink").is_none(), "{second}");
}
