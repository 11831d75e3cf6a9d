//! The kernel in Jupyter's own programs: nbclient, which runs notebooks, and Jupyter's conformance
//! suite for kernels.

use end_to_end::notebook::KERNEL;
use end_to_end::{binary, env, python, root};
use serde_json::{Value, json};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

/// The kernel, installed for Jupyter into a private folder.
struct Installed {
    prefix: TempDir,
}

impl Installed {
    fn new() -> Self {
        let prefix = tempfile::tempdir().expect("a temporary folder can be made");
        let output = Command::new(binary("azureml-kernel"))
            .args(["install", "--no-crates", "--prefix"])
            .arg(prefix.path())
            .output()
            .expect("the kernel's binary starts");
        assert!(output.status.success(), "{}", said(&output));
        Self { prefix }
    }

    /// Runs one of the scripts in `tests/python` on the kernel.
    fn run(&self, script: &str, argument: &Path, input: &str) -> Output {
        self.run_on("rustc", script, argument, input)
    }

    /// Like [`Installed::run`], with another engine.
    fn run_on(&self, engine: &str, script: &str, argument: &Path, input: &str) -> Output {
        let mut child = Command::new(python(env::PYTHON_LAB))
            .arg(root().join("tests/python").join(script))
            .arg(KERNEL)
            .arg(argument)
            .env("JUPYTER_PATH", self.prefix.path().join("share/jupyter"))
            // A private history.
            .env("XDG_STATE_HOME", self.prefix.path().join("state"))
            .env("AZUREML_KERNEL_CACHE", env!("CARGO_TARGET_TMPDIR"))
            .env("LIBTORCH", root().join("target/libtorch/torch"))
            .env("AZUREML_KERNEL_ENGINE", engine)
            .current_dir(self.prefix.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("Python starts");
        let mut stdin = child.stdin.take().expect("it is piped");
        stdin.write_all(input.as_bytes()).expect("it reads");
        drop(stdin);
        child.wait_with_output().expect("it ends")
    }
}

fn said(output: &Output) -> String {
    let out = String::from_utf8_lossy(&output.stdout);
    let err = String::from_utf8_lossy(&output.stderr);
    format!("{out}\n{err}")
}

#[test]
fn nbclient_stops_at_a_cell_that_fails() {
    let kernel = Installed::new();
    for (code, ename, evalue) in [
        ("panic!(\"on purpose\");", "Panic", "on purpose"),
        ("Err::<(), _>(\"on purpose\")?;", "Error", "on purpose"),
        (
            "std::process::abort();",
            "ProcessDied",
            "the cell's process was ended by",
        ),
        (
            "std::process::exit(3);",
            "ProcessDied",
            "the cell ended its process with exit code 3",
        ),
        (
            "let wrong: i32 = \"text\";",
            "CompileError",
            "mismatched types",
        ),
    ] {
        let cells = json!(["let before = 1;", code, "println!(\"never\");"]);
        let output = kernel.run("nbclient_stops.py", Path::new(""), &cells.to_string());
        assert!(output.status.success(), "{code}\n{}", said(&output));
        let told: Value = serde_json::from_slice(&output.stdout).expect("it prints JSON");
        assert_eq!(told["counts"], json!([1, 2, null]), "{code}\n{told}");
        assert_eq!(told["stopped"]["ename"], ename, "{code}\n{told}");
        let told = told["stopped"]["evalue"].as_str().unwrap_or_default();
        assert!(told.contains(evalue), "{code}\n{told}");
    }
}

#[test]
fn a_notebook_without_errors_runs_to_its_end() {
    let kernel = Installed::new();
    let cells = json!(["let before = 1;", "assert_eq!(before, 1);", "before + 1"]);
    let output = kernel.run("nbclient_stops.py", Path::new(""), &cells.to_string());
    let told: Value = serde_json::from_slice(&output.stdout).expect("it prints JSON");
    assert_eq!(told, json!({ "stopped": null, "counts": [1, 2, 3] }));
}

#[test]
fn tch_is_a_dependency_of_cells() {
    let kernel = Installed::new();
    let cells = json!([
        ":dep tch = \"0.24\"",
        "use tch::{Kind, Tensor};\nlet sum = Tensor::from_slice(&[1.5f64, 2.5]).sum(Kind::Double);",
        "assert_eq!(sum.double_value(&[]), 4.0);",
    ]);
    // The second kernel finds the crate in the cache.
    for _ in 0..2 {
        let output = kernel.run("nbclient_stops.py", Path::new(""), &cells.to_string());
        assert!(output.status.success(), "{}", said(&output));
        let told: Value = serde_json::from_slice(&output.stdout).expect("it prints JSON");
        assert_eq!(told, json!({ "stopped": null, "counts": [1, 2, 3] }));
    }
}

#[test]
fn jupyters_own_tests_of_a_kernel_pass_and_none_is_skipped() {
    let kernel = Installed::new();
    let output = kernel.run("kernel_test.py", &root().join("crates/notebook"), "");
    assert!(output.status.success(), "{}", said(&output));
}

#[test]
fn comms_and_widgets_work_both_ways() {
    let kernel = Installed::new();
    let output = kernel.run("comms_client.py", &root().join("crates/notebook"), "");
    assert!(output.status.success(), "{}", said(&output));
}

#[test]
fn every_feature_works_in_a_real_client() {
    let kernel = Installed::new();
    let output = kernel.run("features_client.py", &root().join("crates/notebook"), "");
    assert!(output.status.success(), "{}", said(&output));
}

#[test]
fn comms_and_widgets_work_both_ways_with_evcxr_as_the_engine() {
    let kernel = Installed::new();
    let notebook = root().join("crates/notebook");
    let output = kernel.run_on("evcxr", "comms_client.py", &notebook, "");
    assert!(output.status.success(), "{}", said(&output));
}
