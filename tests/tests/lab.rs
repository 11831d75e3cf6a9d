//! Lab 02 as a learner meets it: the notebook runs from top to bottom, and what it made can be used by others.

use end_to_end::{LocalWorkspace, binary, env, judge, python, root};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

/// The lab, run once for all tests of this file, by the command that the README names.
static LAB: LazyLock<Lab> = LazyLock::new(Lab::run);

struct Lab {
    notebook: Value,
    workspace: LocalWorkspace,
    summary: String,
}

impl Lab {
    fn run() -> Self {
        let workspace = LocalWorkspace::new();
        let mut command = Command::new(binary("xtask"));
        workspace.apply(&mut command);
        let output = command
            .arg("lab")
            .current_dir(root())
            .output()
            .expect("xtask starts");
        let summary = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success(),
            "{summary}\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let path = root().join("target/lab/02-train-model.ipynb");
        Self {
            notebook: read(&path),
            workspace,
            summary,
        }
    }

    fn outputs(&self) -> impl Iterator<Item = &Value> {
        let cells = self.notebook["cells"].as_array().into_iter().flatten();
        cells.flat_map(|cell| cell["outputs"].as_array().into_iter().flatten())
    }

    /// All text that the cells printed.
    fn printed(&self) -> String {
        let streams = self
            .outputs()
            .filter(|output| output["output_type"] == "stream");
        streams.map(|output| text(&output["text"])).collect()
    }

    /// The folder of a finished run's outputs, in the local workspace's files.
    fn model(&self) -> PathBuf {
        let model = root().join("target/lab/model");
        assert!(model.join("model.pt").is_file(), "{}", self.summary);
        model
    }
}

/// Notebook text: a string or a list of lines.
fn text(value: &Value) -> String {
    match value {
        Value::Array(lines) => lines.iter().filter_map(Value::as_str).collect(),
        other => other.as_str().unwrap_or_default().to_owned(),
    }
}

fn read(path: &Path) -> Value {
    let text = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&text).expect("a notebook is JSON")
}

#[test]
fn every_cell_ends_well() {
    let errors: Vec<_> = LAB
        .outputs()
        .filter(|output| output["output_type"] == "error")
        .collect();
    assert!(errors.is_empty(), "{errors:?}");
    let cells = LAB.notebook["cells"].as_array().expect("cells");
    for cell in cells.iter().filter(|cell| cell["cell_type"] == "code") {
        assert!(cell["execution_count"].is_u64(), "not run: {cell}");
    }
}

#[test]
fn the_statuses_come_in_order() {
    let printed = LAB.printed();
    let mut from = 0;
    for status in ["Queued", "Preparing", "Running", "Finalizing", "Completed"] {
        let found = printed[from..].find(status);
        from += found.unwrap_or_else(|| panic!("{status} after byte {from} of:\n{printed}"));
    }
}

#[test]
fn two_epochs_reach_98_percent() {
    let printed = LAB.printed();
    let accuracies: Vec<f64> = printed
        .lines()
        .filter(|line| line.starts_with("Test set:"))
        .filter_map(|line| {
            let (correct, total) = line.split_once("Accuracy: ")?.1.split_once('/')?;
            let total = total.split(' ').next()?;
            Some(100.0 * correct.parse::<f64>().ok()? / total.parse::<f64>().ok()?)
        })
        .collect();
    assert_eq!(accuracies.len(), 2, "one line an epoch in:\n{printed}");
    assert!(accuracies[1] >= 98.0, "{accuracies:?}");
    for epoch in ["Train Epoch: 1 ", "Train Epoch: 2 "] {
        assert!(printed.contains(epoch), "{epoch} in:\n{printed}");
    }
}

#[test]
fn mlflow_reads_what_the_training_logged() {
    let seen = judge(env::PYTHON_MLFLOW, "mlflow_client.py", &LAB.workspace);
    let jobs = seen["jobs"].as_object().expect("runs by id");
    let accuracies: Vec<f64> = jobs
        .iter()
        .filter(|(id, _)| id.starts_with("train-model"))
        .flat_map(|(_, run)| {
            run["histories"]["Accuracy"]
                .as_array()
                .into_iter()
                .flatten()
        })
        .filter_map(|step_and_value| step_and_value[1].as_f64())
        .collect();
    assert_eq!(accuracies.len(), 2, "one value an epoch: {jobs:?}");
    assert!(accuracies[1] >= 98.0, "{accuracies:?}");
}

#[test]
fn nothing_of_this_machine_is_stored() {
    let notebook = LAB.notebook.to_string();
    let home = LAB.workspace.home().display().to_string();
    for path in [root().display().to_string(), home] {
        assert!(!notebook.contains(&path), "{path} is in the notebook");
    }
    let token = LAB.workspace.server().map(|server| server.token);
    let token = token.expect("the local workspace still runs");
    assert!(!notebook.contains(&token), "a token is in the notebook");
}

#[test]
fn every_exchange_follows_the_schema() {
    // Only the lab's own test knows that there were exchanges at all; dropping a workspace validates silently.
    LazyLock::force(&LAB);
    assert!(LAB.workspace.validate_trace() > 10);
}

#[test]
fn both_languages_run_the_same_cells() {
    let code = |name: &str| -> Vec<String> {
        let notebook = read(&root().join("notebooks/02-train-model").join(name));
        let cells = notebook["cells"].as_array().cloned().unwrap_or_default();
        let code = cells.iter().filter(|cell| cell["cell_type"] == "code");
        code.map(|cell| without_comments(&text(&cell["source"])))
            .collect()
    };
    let english = code("02-train-model.ipynb");
    assert!(english.len() > 8, "the notebook has cells");
    assert_eq!(english, code("02-train-model.ko.ipynb"));
}

/// Comments are translated, too.
fn without_comments(source: &str) -> String {
    let lines = source
        .lines()
        .map(|line| line.split("//").next().unwrap_or("").trim_end());
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn python_opens_the_model_and_gives_the_same_logits() {
    let output = Command::new(python(env::PYTHON_TORCH))
        .arg(root().join("tests/python/torch_judge.py"))
        .arg("model")
        .arg(LAB.model())
        .output()
        .expect("Python starts");
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
