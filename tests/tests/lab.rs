//! Lab 02 from the learner's view: the notebook runs from top to bottom, and other clients can use
//! its results.

use azureml_wire::local;
use end_to_end::notebook::KERNEL;
use end_to_end::{LocalWorkspace, binary, env, python, root, run_client};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

/// The lab, run once for all tests of this file with the command of the README.
static LAB: LazyLock<Lab> = LazyLock::new(Lab::run);

struct Lab {
    notebook: Value,
    workspace: LocalWorkspace,
    summary: String,
}

impl Lab {
    fn run() -> Self {
        let workspace = LocalWorkspace::new();
        let output = xtask(&workspace).arg("lab").output().expect("xtask starts");
        let summary = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success(),
            "{summary}\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
        Self {
            notebook: read(&executed("02-train-model.ipynb")),
            workspace,
            summary,
        }
    }

    fn outputs(&self) -> impl Iterator<Item = &Value> {
        let cells = self.notebook["cells"].as_array().into_iter().flatten();
        cells.flat_map(|cell| cell["outputs"].as_array().into_iter().flatten())
    }

    /// The text that the cells printed.
    fn printed(&self) -> String {
        let streams = self
            .outputs()
            .filter(|output| output["output_type"] == "stream");
        streams.map(|output| text(&output["text"])).collect()
    }

    /// The folder with the outputs of a finished run, among the files of the local workspace.
    fn model(&self) -> PathBuf {
        let model = root().join("target/lab/model");
        assert!(model.join("model.pt").is_file(), "{}", self.summary);
        model
    }
}

/// The `xtask` program, run in the root of the repository like the commands of the README.
fn xtask(workspace: &LocalWorkspace) -> Command {
    let mut command = Command::new(binary("xtask"));
    workspace.apply(&mut command);
    command.current_dir(root());
    command
}

/// A notebook with the outputs of its last run.
fn executed(name: &str) -> PathBuf {
    root().join("target/lab").join(name)
}

/// Writes a notebook with these cells.
fn write_notebook(path: &Path, cells: &[&str]) {
    let cells: Vec<Value> = (0..)
        .zip(cells)
        .map(|(number, source)| {
            json!({
                "cell_type": "code", "id": format!("cell-{number}"), "metadata": {},
                "execution_count": null, "outputs": [], "source": source,
            })
        })
        .collect();
    let kernel = json!({ "name": KERNEL, "display_name": "Rust (Azure ML)", "language": "rust" });
    let notebook = json!({
        "cells": cells, "metadata": { "kernelspec": kernel }, "nbformat": 4, "nbformat_minor": 5,
    });
    std::fs::write(path, notebook.to_string()).expect("a file");
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
    let cells = cells(&LAB.notebook);
    assert!(!cells.is_empty());
    for cell in cells.iter().filter(|cell| cell["cell_type"] == "code") {
        assert!(cell["execution_count"].is_u64(), "not run: {cell}");
    }
}

const STATUSES: [&str; 5] = ["Queued", "Preparing", "Running", "Finalizing", "Completed"];

/// The statuses of a sweep, which runs no command itself.
const OF_A_SWEEP: [&str; 3] = ["Queued", "Running", "Completed"];

#[test]
fn the_statuses_come_in_order() {
    let printed = LAB.printed();
    let statuses: Vec<&str> = printed
        .lines()
        .filter_map(|line| {
            let (status, rest) = line.split_once(' ')?;
            rest.trim_start().starts_with("after ").then_some(status)
        })
        .collect();
    // The training, the sweep, and the job that reads the drawings.
    let expected = [&STATUSES[..], &OF_A_SWEEP, &STATUSES].concat();
    assert_eq!(statuses, expected, "{printed}");
}

#[test]
fn what_the_network_mixes_up_is_shown() {
    let pictures: Vec<String> = LAB
        .outputs()
        .map(|output| text(&output["data"]["image/svg+xml"]))
        .filter(|svg| svg.starts_with("<svg"))
        .collect();
    for title in [
        "Confusion matrix",
        "The mistakes that the network was surest of",
    ] {
        let shown = pictures.iter().any(|svg| svg.contains(title));
        assert!(shown, "no cell shows {title:?}");
    }
}

#[test]
fn the_trials_of_the_sweep_are_compared() {
    let compared = LAB.outputs().any(|output| {
        let html = text(&output["data"]["text/html"]);
        ["lr", "gamma", "0.3", "0.9"]
            .iter()
            .all(|word| html.contains(word))
    });
    assert!(compared, "no cell shows a table of the trials");
}

#[test]
fn the_drawn_digits_are_recognised() {
    let recognised = "Recognised: 2 7 9 8";
    let printed = LAB.printed();
    assert!(printed.lines().any(|line| line == recognised), "{printed}");
    let shown = LAB.outputs().any(|output| {
        let data = &output["data"];
        text(&data["text/plain"]) == recognised
            && text(&data["text/html"]).matches("<figcaption>").count() == 4
    });
    assert!(shown, "no cell shows the drawings with the answers");
}

#[test]
fn the_summary_tells_what_came_out() {
    let from = LAB.summary.find("\nrun         train-model_");
    let summary = &LAB.summary[from.expect("a summary")..];
    let values = |name: &str| -> Vec<&str> {
        let name = format!("{name:<12}");
        let lines = summary.lines();
        lines.filter_map(|line| line.strip_prefix(&name)).collect()
    };
    let paths = [&STATUSES[..], &OF_A_SWEEP, &STATUSES].map(|path| path.join(" → "));
    assert_eq!(values("status"), paths, "{summary}");
    let phases = values("");
    assert_eq!(phases.len(), 3, "{summary}");
    for phase in phases {
        assert!(
            phase.starts_with("Queued ") && phase.ends_with(" in all"),
            "{phase}"
        );
        assert!(phase.contains(", Running "), "{phase}");
    }
    for (epoch, least) in [("epoch 1", 95.0), ("epoch 2", 98.0)] {
        let [accuracy] = values(epoch)[..] else {
            panic!("one line of {epoch} in {summary}");
        };
        let percent = accuracy
            .strip_prefix("accuracy ")
            .and_then(|rest| rest.strip_suffix(" %"));
        let percent: f64 = percent
            .and_then(|number| number.parse().ok())
            .expect(accuracy);
        assert!(percent >= least, "{epoch}: {accuracy}");
    }
    assert_eq!(values("model"), ["target/lab/model"]);
    assert_eq!(values("notebook"), ["target/lab/02-train-model.ipynb"]);
    for times in ["set-up", "cells"] {
        assert_eq!(values(times).len(), 1, "{times} in {summary}");
    }
}

#[test]
fn a_cell_that_fails_is_told_and_stops_the_notebook() {
    let workspace = LocalWorkspace::new();
    let folder = tempfile::tempdir().expect("a folder");
    let notebook = folder.path().join("failing.ipynb");
    write_notebook(
        &notebook,
        &[
            "use azureml::prelude::*;\nlet ws = Workspace::local()?;",
            "ComputeTarget::get(&ws, \"cc-aml-gpus\")?",
            "println!(\"too far\");",
        ],
    );
    let kernel = root().join("target/venv/lab/share/jupyter/kernels/rust-azureml/kernel.json");
    let installed = || {
        std::fs::metadata(&kernel)
            .and_then(|file| file.modified())
            .expect("the installed kernel")
    };
    let before = installed();
    let output = xtask(&workspace)
        .arg("lab")
        .arg(&notebook)
        .output()
        .expect("xtask starts");
    assert_eq!(
        installed(),
        before,
        "a kernel that is current is not installed again"
    );
    let told = String::from_utf8_lossy(&output.stderr);
    let printed = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{told}");
    for line in [
        "compute target `cc-aml-gpus` is not in workspace `local`",
        "hint: did you mean `cc-aml-gpu`?",
    ] {
        assert!(printed.contains(line), "{line} in\n{printed}");
    }
    assert!(!printed.contains("too far"), "{printed}");
    let (_, last) = told.rsplit_once("\nerror: ").expect("an error");
    let path = executed("failing.ipynb");
    assert_eq!(
        last,
        format!(
            "failing.ipynb stopped in a cell\nhint: the notebook as far as it came is {}; after the cause is gone, run this command again\n",
            path.display()
        )
    );
    // The executed notebook contains the cells before the error and the error.
    let cells = read(&path);
    assert_eq!(cells["cells"][1]["outputs"][0]["output_type"], "error");
    assert_eq!(cells["cells"][2]["execution_count"], Value::Null);
}

#[test]
fn jobs_get_the_libtorch_that_the_user_names() {
    let workspace = LocalWorkspace::new();
    let folder = tempfile::tempdir().expect("a folder");
    let notebook = folder.path().join("own-libtorch.ipynb");
    let lab = root().join("notebooks/02-train-model");
    let submit = format!(
        "use azureml::prelude::*;
let ws = Workspace::local()?;
let env = Environment::get(&ws, \"rust-tch-gpu\")?;
let src = ScriptRunConfig::new({:?})
    .script(\"train.rs\")
    .arguments([\"--dry-run\", \"--epochs\", \"1\", \"--data\", {:?}])
    .compute_target(\"cpu-cluster\")
    .environment(&env);
Experiment::new(&ws, \"own-libtorch\").submit(&src)?.wait_for_completion(true)?;",
        lab.join("script"),
        lab.join("data"),
    );
    write_notebook(&notebook, &[&submit]);
    let cache = folder.path().join("cache");
    let kernel_cache = local::cache()
        .expect("HOME is set")
        .with_file_name("azureml-kernel");
    let output = xtask(&workspace)
        .arg("lab")
        .arg(&notebook)
        // Relative to the command's working directory. This cache is empty and must stay empty.
        .env("LIBTORCH", "target/libtorch/torch")
        .env_remove(local::env::LIBTORCH)
        .env("XDG_CACHE_HOME", &cache)
        .env("AZUREML_KERNEL_CACHE", kernel_cache)
        .output()
        .expect("xtask starts");
    let printed = String::from_utf8_lossy(&output.stdout);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{printed}\n{told}");
    assert!(printed.contains("Test set: Average loss"), "{printed}");
    let link = cache.join("azureml/libtorch");
    let named = root().join("target/libtorch/torch").canonicalize();
    assert_eq!(
        std::fs::read_link(&link).expect("a link"),
        named.expect("libtorch")
    );
    let entries = std::fs::read_dir(cache.join("azureml")).expect("a folder");
    assert_eq!(entries.count(), 1, "nothing was fetched");
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
    let seen = run_client(env::PYTHON_MLFLOW, "mlflow_client.py", &LAB.workspace);
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
    let user = std::env::home_dir().expect("HOME is set");
    for path in [
        root().display().to_string(),
        home,
        format!("{}/", user.display()),
    ] {
        assert!(!notebook.contains(&path), "{path} is in the notebook");
    }
    let token = LAB.workspace.server().map(|server| server.token);
    let token = token.expect("the local workspace still runs");
    assert!(!notebook.contains(&token), "a token is in the notebook");
}

#[test]
fn every_exchange_follows_the_schema() {
    // Only the lab's own test can require exchanges; the validation on drop also passes without
    // any.
    LazyLock::force(&LAB);
    assert!(LAB.workspace.validate_trace() > 10);
}

/// The lab's notebooks as they are in the repository.
fn stored() -> [Value; 2] {
    ["02-train-model.ipynb", "02-train-model.ko.ipynb"]
        .map(|name| read(&root().join("notebooks/02-train-model").join(name)))
}

fn cells(notebook: &Value) -> &[Value] {
    notebook["cells"].as_array().map_or(&[], Vec::as_slice)
}

#[test]
fn both_languages_run_the_same_cells() {
    let [english, korean] = stored();
    let code = |notebook: &Value| -> Vec<String> {
        let code = cells(notebook)
            .iter()
            .filter(|cell| cell["cell_type"] == "code");
        code.map(|cell| without_comments(&text(&cell["source"])))
            .collect()
    };
    let ids = |notebook: &Value| -> Vec<Value> {
        cells(notebook)
            .iter()
            .map(|cell| cell["id"].clone())
            .collect()
    };
    assert!(code(&english).len() > 8, "the notebook has cells");
    assert_eq!(code(&english), code(&korean));
    assert_eq!(ids(&english), ids(&korean));
}

/// JupyterLab saves the outputs of cells. Paths and addresses of the author's machine must not be
/// published.
#[test]
fn the_stored_notebooks_hold_no_outputs() {
    for notebook in stored() {
        let kernel = &notebook["metadata"]["kernelspec"];
        assert_eq!(kernel["language"], "rust", "{kernel}");
        assert_eq!(kernel["name"], KERNEL, "{kernel}");
        for cell in cells(&notebook) {
            let way_out = "in JupyterLab: Edit, Clear Outputs of All Cells, and save";
            let id = &cell["id"];
            assert!(id.is_string(), "a cell without an id: {cell}");
            if cell["cell_type"] == "code" {
                assert_eq!(cell["outputs"], json!([]), "{id}; {way_out}");
                assert_eq!(cell["execution_count"], Value::Null, "{id}; {way_out}");
            }
        }
    }
}

/// Comments are translated and thus differ.
fn without_comments(source: &str) -> String {
    let lines = source
        .lines()
        .map(|line| line.split("//").next().unwrap_or("").trim_end());
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn python_opens_the_model_and_gives_the_same_logits() {
    let output = Command::new(python(env::PYTHON_TORCH))
        .arg(root().join("tests/python/torch_reference.py"))
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
