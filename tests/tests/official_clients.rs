//! The official Python clients judge the local workspace: what they see of it is what they would see of Azure.

use end_to_end::{LocalWorkspace, env, python, root};
use serde_json::Value;
use std::process::Command;

/// What a client's script saw, as it printed it.
fn judge(variable: &str, script: &str, workspace: &LocalWorkspace) -> String {
    let server = workspace.server().expect("it runs");
    let output = Command::new(python(variable))
        .arg(root().join("tests/python").join(script))
        .args([&server.url, &server.token])
        .output()
        .expect("Python starts");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let seen: Value = serde_json::from_slice(&output.stdout).expect("it prints JSON");
    serde_json::to_string_pretty(&seen).expect("a value serializes")
}

#[test]
fn azure_ai_ml_submits_streams_and_finds_everything() {
    let workspace = LocalWorkspace::start();
    let seen = judge(env::PYTHON_AZURE_AI_ML, "azure_ai_ml_client.py", &workspace);
    insta::assert_snapshot!(seen);
    assert!(workspace.validate_trace() > 40, "exchanges are recorded");
}

#[test]
fn mlflow_tracks_searches_and_keeps_artifacts() {
    let workspace = LocalWorkspace::start();
    let mut seen: Value =
        serde_json::from_str(&judge(env::PYTHON_MLFLOW, "mlflow_client.py", &workspace))
            .expect("JSON");
    // The client's own version may move on.
    seen.as_object_mut().expect("an object").remove("version");
    insta::assert_snapshot!(serde_json::to_string_pretty(&seen).expect("a value serializes"));
}
