//! The official Python clients work with the local workspace and see the same as they would on
//! Azure.

use end_to_end::{LocalWorkspace, env, run_client};
use serde_json::{Value, json};

#[test]
fn azure_ai_ml_submits_streams_and_finds_everything() {
    let workspace = LocalWorkspace::start();
    let seen = run_client(env::PYTHON_AZURE_AI_ML, "azure_ai_ml_client.py", &workspace);
    insta::assert_snapshot!(pretty(&seen));
    assert!(workspace.validate_trace() > 40, "exchanges are recorded");
}

#[test]
fn a_training_script_of_sdk_v1_runs_in_a_job() {
    let workspace = LocalWorkspace::start();
    let seen = run_client(
        env::PYTHON_AZUREML_CORE,
        "azureml_core_client.py",
        &workspace,
    );
    let expected = json!({
        "status": "Completed",
        "error": null,
        "tags": { "kind": "v1" },
        "made": "by v1",
        "lines": [
            "run v1 of v1 in local",
            "accuracies [0.1, 0.2, 0.2]",
            "device cpu",
            "epoch {'note': ['epoch 0', 'epoch 1'], 'number': [0, 1]}",
            "loss [0.5, 0.25]",
            "once {'accuracy': 0.3, 'number': 1}",
            "steps 3",
            "table {'x': [1, 2], 'y': [0.5, 0.25]}",
            "by name {'epoch': {'note': ['epoch 0', 'epoch 1'], 'number': [0, 1]}}",
            "Running {'kind': 'v1'} True",
            "downloaded one.txt weights",
            "downloaded outputs/model.txt weights",
            "datastore workspaceblobstore AzureBlob azureml-blobstore",
            "refused upload_file True True",
            "refused upload_folder True True",
            "refused log_image True True",
            "again v1 in local",
        ],
        "losses": [0.5, 0.25],
    });
    assert_eq!(seen, expected, "{}", pretty(&seen));
}

#[test]
fn a_training_script_reads_data_by_azureml_fsspec_and_mltable() {
    if std::env::var_os(env::PYTHON_AZUREML_FSSPEC).is_none() {
        eprintln!("not tried: azureml-dataprep-rslex has no files for this Python");
        return;
    }
    let workspace = LocalWorkspace::start();
    let seen = run_client(
        env::PYTHON_AZUREML_FSSPEC,
        "azureml_fsspec_client.py",
        &workspace,
    );
    let table = json!({ "a": [1], "b": [2] });
    let expected = json!({
        "status": "Completed",
        "seen": {
            "list": ["data/a.csv", "data/deep/"],
            "glob": ["data/a.csv", "data/deep/b é.csv"],
            "exists": [true, false],
            "open": "c\n3\n",
            "download": "a,b\n1,2\n",
            "pandas": table,
            "short": table,
            "asset": "a,b\n1,2\n",
            // mltable reads 1 as a truth value.
            "mltable": { "a": [true], "b": [2] },
            "upload": true,
        },
    });
    assert_eq!(seen, expected, "{}", pretty(&seen));
}

#[test]
fn azure_ai_ml_downloads_archives_and_is_told_what_is_not_there() {
    let workspace = LocalWorkspace::start();
    let seen = run_client(
        env::PYTHON_AZURE_AI_ML,
        "azure_ai_ml_downloads.py",
        &workspace,
    );
    insta::assert_snapshot!(pretty(&seen));
}

#[test]
fn mlflow_tracks_searches_and_keeps_artifacts() {
    let workspace = LocalWorkspace::start();
    let mut seen = run_client(env::PYTHON_MLFLOW, "mlflow_client.py", &workspace);
    // The client's own version may change.
    seen.as_object_mut().expect("an object").remove("version");
    insta::assert_snapshot!(pretty(&seen));
}

#[test]
fn what_mlflow_expects_of_a_tracking_server_holds_case_by_case() {
    let workspace = LocalWorkspace::start();
    let seen = run_client(env::PYTHON_MLFLOW, "mlflow_cases.py", &workspace);
    assert_eq!(seen["failed"], json!({}), "{}", pretty(&seen));
    assert!(seen["passed"].as_array().is_some_and(|all| all.len() >= 52));
}

fn pretty(seen: &Value) -> String {
    serde_json::to_string_pretty(seen).expect("a value serializes")
}
