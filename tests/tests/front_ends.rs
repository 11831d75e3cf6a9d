//! The kernel in its front ends: JupyterLab in a browser, papermill, nbgrader.

use end_to_end::notebook::KERNEL;
use end_to_end::{LocalWorkspace, env, python, root, sixth_of_mnist};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;
use tempfile::TempDir;

/// A folder of notebooks, with all files that Jupyter writes.
struct Desk {
    folder: TempDir,
    workspace: LocalWorkspace,
}

impl Desk {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let this = Self {
            folder,
            workspace: LocalWorkspace::new(),
        };
        for (file, settings) in [
            (
                "settings/@jupyterlab/apputils-extension/notification.jupyterlab-settings",
                json!({ "fetchNews": "false", "checkForUpdates": false }),
            ),
            (
                // Without windowing, cells outside the visible area exist in the page, too.
                "settings/@jupyterlab/notebook-extension/tracker.jupyterlab-settings",
                json!({ "windowingMode": "none" }),
            ),
            (
                // Extensions that users who only read notebooks do not have.
                "config/labconfig/page_config.json",
                json!({ "disabledExtensions": { "@jupyter/nbgrader": true, "@jupyter-notebook/lab-extension": true } }),
            ),
        ] {
            this.write(file, &settings.to_string());
        }
        fs::create_dir(this.path("notebooks")).expect("a folder");
        this
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a file is in a folder")).expect("a folder");
        fs::write(path, text).expect("a file");
    }

    fn read(&self, name: &str) -> Value {
        let text = fs::read(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        serde_json::from_slice(&text).expect("JSON")
    }

    /// Writes a notebook of code cells, each with its metadata.
    fn write_notebook(&self, name: &str, cells: &[(Value, &str)]) {
        let cells: Vec<Value> = (0..)
            .zip(cells)
            .map(|(number, (metadata, source))| {
                json!({
                    "cell_type": "code", "id": format!("cell-{number}"), "metadata": metadata,
                    "execution_count": null, "outputs": [], "source": source,
                })
            })
            .collect();
        let kernel =
            json!({ "name": KERNEL, "display_name": "Rust (Azure ML)", "language": "rust" });
        let notebook = json!({
            "cells": cells, "metadata": { "kernelspec": kernel }, "nbformat": 4, "nbformat_minor": 5,
        });
        self.write(name, &notebook.to_string());
    }

    /// Python with all front ends, run in this folder, with the lab's installed kernel.
    fn python(&self) -> Command {
        let lab = python(env::PYTHON_LAB);
        let prefix = lab.ancestors().nth(2).expect("an environment's bin/python");
        let python = python(env::PYTHON_FRONT_ENDS);
        let mut command = Command::new(&python);
        self.workspace.apply(&mut command);
        // nbgrader starts another program of its environment by name.
        let bin = python.parent().map(Path::to_owned);
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = std::env::join_paths(bin.into_iter().chain(std::env::split_paths(&path)));
        command
            .env("PATH", path.expect("folders without colons"))
            .current_dir(self.path("notebooks"))
            .env("JUPYTER_PATH", prefix.join("share/jupyter"))
            .env("PYTHONPATH", &*TOOLS)
            .env("JUPYTER_PLATFORM_DIRS", "0");
        for (variable, folder) in [
            ("JUPYTER_CONFIG_DIR", "config"),
            ("JUPYTER_DATA_DIR", "data"),
            ("JUPYTER_RUNTIME_DIR", "runtime"),
            ("JUPYTERLAB_SETTINGS_DIR", "settings"),
            ("JUPYTERLAB_WORKSPACES_DIR", "workspaces"),
            ("IPYTHONDIR", "ipython"),
            ("XDG_STATE_HOME", "state"),
        ] {
            command.env(variable, self.path(folder));
        }
        command
    }

    /// Runs a script in JupyterLab in a browser; see `tests/python/jupyterlab_page.py`.
    fn look(&self, scene: &str) {
        let pictures = root().join("target/test/jupyterlab");
        fs::create_dir_all(&pictures).expect("a folder");
        let output = self
            .python()
            .arg(root().join("tests/python/jupyterlab_page.py"))
            .arg(scene)
            .arg(self.path("notebooks"))
            .arg(&pictures)
            .output()
            .expect("Python starts");
        let seen = pictures.join(format!("{scene}-failed.png"));
        assert!(
            output.status.success(),
            "{}\nwhat was to be seen: {}",
            said(&output),
            seen.display()
        );
    }

    /// Runs a module of Python as a program.
    fn module(&self, module: &str, arguments: &[&str]) -> Output {
        let mut command = self.python();
        command.args(["-m", module]).args(arguments);
        command.output().expect("Python starts")
    }
}

/// Notebook text: a string or a list of lines.
fn text(value: &Value) -> String {
    match value {
        Value::Array(lines) => lines.iter().filter_map(Value::as_str).collect(),
        other => other.as_str().unwrap_or_default().to_owned(),
    }
}

fn said(output: &Output) -> String {
    let out = String::from_utf8_lossy(&output.stdout);
    let err = String::from_utf8_lossy(&output.stderr);
    format!("{out}\n{err}")
}

/// The package for papermill and nbgrader, installed as its README describes, but into a temporary
/// folder.
static TOOLS: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("azureml-kernel-tools");
    let _ = fs::remove_dir_all(&folder);
    let output = Command::new(python(env::PYTHON_FRONT_ENDS))
        .args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--no-build-isolation",
        ])
        .args([
            "--disable-pip-version-check",
            "--root-user-action",
            "ignore",
            "--target",
        ])
        .arg(&folder)
        .arg(root().join("kernel/python"))
        .output()
        .expect("Python starts");
    assert!(output.status.success(), "{}", said(&output));
    folder
});

/// The lab's own notebook, on a sixth of the images.
#[test]
fn the_lab_runs_in_jupyterlab_and_its_chart_moves_while_it_trains() {
    let desk = Desk::new();
    let lab = root().join("notebooks/02-train-model");
    for name in ["02-train-model.ipynb", "config.json"] {
        fs::copy(lab.join(name), desk.path("notebooks").join(name)).expect("a copy");
    }
    symlink(lab.join("script"), desk.path("notebooks/script")).expect("a link");
    sixth_of_mnist(&desk.path("notebooks/data"));
    desk.look("lab");
}

#[test]
fn a_compile_error_and_a_warning_are_readable_in_jupyterlab() {
    let desk = Desk::new();
    desk.write_notebook(
        "notebooks/errors-and-warnings.ipynb",
        &[
            (json!({}), "std::fs::remove_file(\"nothing\");\n40 + 2"),
            (
                json!({}),
                "let count: i32 = 6;\n\n// 한글 takes two columns.\nlet wrong: i32 = \"is not a number\";",
            ),
            (json!({}), "let count = 6;\ncount * 7"),
        ],
    );
    desk.look("errors_and_warnings");
}

#[test]
fn tools_papermill_gives_parameters_of_every_kind() {
    let desk = Desk::new();
    desk.write_notebook(
        "notebooks/in.ipynb",
        &[
            (
                json!({ "tags": ["parameters"] }),
                "let lr: f64 = 1.0; // learning rate\nlet epochs = 14;\nlet name = \"default\";\nlet kept: i64 = 7;",
            ),
            (
                json!({}),
                "let typed: (f64, i64, bool, String, Vec<f64>, Vec<Option<i64>>, Option<String>) =\n    (lr, epochs, fast, name, rates, layers, nothing);\ntyped",
            ),
            (json!({}), "sizes[\"large\"][1] + kept + r#type"),
        ],
    );
    desk.write(
        "notebooks/parameters.yaml",
        "name: \"한 \\\"q\\\"\\n\\\\\"\nrates: [1, 0.5]\nlayers: [1, null]\nnothing: null\nsizes: { small: [], large: [1, 2] }\ntype: 33\n",
    );
    let output = desk.module(
        "papermill",
        &[
            "in.ipynb",
            "out.ipynb",
            "-p",
            "lr",
            "0.5",
            "-p",
            "epochs",
            "2",
            "-p",
            "fast",
            "True",
            "-f",
            "parameters.yaml",
        ],
    );
    assert!(output.status.success(), "{}", said(&output));
    let cells = &desk.read("notebooks/out.ipynb")["cells"];
    assert_eq!(cells[1]["metadata"]["tags"], json!(["injected-parameters"]));
    let shown = |cell: usize| {
        let outputs = cells[cell]["outputs"].as_array().expect("outputs");
        let last = outputs.last().unwrap_or_else(|| panic!("{}", cells[cell]));
        text(&last["data"]["text/plain"])
    };
    let expected = r#"(0.5, 2, true, "한 \"q\"\n\\", [1.0, 0.5], [Some(1), None], None)"#;
    assert_eq!(shown(2), expected, "{}", cells[1]["source"]);
    assert_eq!(shown(3), "42");

    let help = desk.module("papermill", &["--help-notebook", "in.ipynb"]);
    let help = said(&help);
    assert!(help.contains("lr: f64 (default 1.0)"), "{help}");
    assert!(help.contains("learning rate"), "{help}");
}

#[test]
fn tools_papermill_fails_with_the_cell_that_fails() {
    let desk = Desk::new();
    desk.write_notebook(
        "notebooks/in.ipynb",
        &[
            (json!({ "tags": ["parameters"] }), "let limit = 3;"),
            (json!({}), "assert!(limit < 5, \"too many\");"),
            (json!({}), "println!(\"never\");"),
        ],
    );
    let run = |parameters: &[&str]| {
        desk.module(
            "papermill",
            &[&["in.ipynb", "out.ipynb"], parameters].concat(),
        )
    };
    assert!(run(&["-p", "limit", "4"]).status.success());
    let failed = run(&["-p", "limit", "7"]);
    assert_eq!(failed.status.code(), Some(1), "{}", said(&failed));
    assert!(said(&failed).contains("too many"), "{}", said(&failed));
    let refused = run(&["-y", "limit: [1, two]"]);
    assert_eq!(refused.status.code(), Some(1), "{}", said(&refused));
    let told =
        "parameter `limit`: i64 and String in one list or map have no Rust type in common\nhint: ";
    assert!(said(&refused).contains(told), "{}", said(&refused));
}

#[test]
fn tools_nbgrader_makes_stubs_and_grades_rust() {
    let desk = Desk::new();
    let grading = |id: &str, points: u32, solution: bool| {
        json!({ "nbgrader": {
            "grade": points > 0, "solution": solution, "locked": !solution, "task": false,
            "grade_id": id, "points": points, "schema_version": 3, "cell_type": "code",
        } })
    };
    desk.write_notebook(
        "notebooks/source/rust/twice.ipynb",
        &[
            (
                grading("twice", 0, true),
                "fn twice(n: i32) -> i32 {\n    // BEGIN SOLUTION\n    2 * n\n    // END SOLUTION\n}",
            ),
            (grading("of-two", 2, false), "assert_eq!(twice(2), 4);"),
            (grading("of-three", 3, false), "assert_eq!(twice(3), 6);"),
        ],
    );
    desk.write(
        "notebooks/nbgrader_config.py",
        "import azureml_kernel_tools.nbgrader\n\nc = get_config()\nazureml_kernel_tools.nbgrader.configure(c)\n\
         c.CourseDirectory.course_id = 'rust'\n",
    );
    let nbgrader = |arguments: &[&str]| {
        let output = desk.module("nbgrader", arguments);
        assert!(output.status.success(), "{arguments:?}\n{}", said(&output));
    };
    nbgrader(&["generate_assignment", "rust"]);
    let release = desk.read("notebooks/release/rust/twice.ipynb");
    let stub = "fn twice(n: i32) -> i32 {\n    // YOUR CODE HERE\n    todo!()\n}";
    assert_eq!(text(&release["cells"][0]["source"]), stub);

    // The first student submits a solution, the second a partly correct one, and the third the
    // unchanged stub.
    for (student, answer) in [
        ("ada", "fn twice(n: i32) -> i32 { n + n }"),
        ("bob", "fn twice(n: i32) -> i32 { n * n }"),
        ("eve", stub),
    ] {
        let mut submitted = release.clone();
        submitted["cells"][0]["source"] = json!(answer);
        let name = format!("notebooks/submitted/{student}/rust/twice.ipynb");
        desk.write(&name, &submitted.to_string());
    }
    nbgrader(&["autograde", "rust"]);
    nbgrader(&["export", "--to", "grades.csv"]);
    let grades = fs::read_to_string(desk.path("notebooks/grades.csv")).expect("grades");
    let mut rows = grades.lines().map(|row| row.split(',').collect::<Vec<_>>());
    let names = rows.next().expect("a head");
    let column = |name: &str| {
        let found = names.iter().position(|column| *column == name);
        found.unwrap_or_else(|| panic!("{name} in {grades}"))
    };
    let (student, score) = (column("student_id"), column("score"));
    let mut scores: Vec<(String, f64)> = rows
        .map(|row| (row[student].to_owned(), row[score].parse().expect("points")))
        .collect();
    scores.sort_by(|one, other| one.0.cmp(&other.0));
    let expected = [("ada", 5.0), ("bob", 2.0), ("eve", 0.0)];
    assert_eq!(
        scores,
        expected.map(|(name, points)| (name.to_owned(), points))
    );
}

#[test]
fn stop_while_a_cell_waits_for_a_run_keeps_the_run() {
    let desk = Desk::new();
    let submit = "use azureml::prelude::*;
let ws = Workspace::local()?;
let env = Environment::get(&ws, \"rust-tch-gpu\")?;
std::fs::create_dir_all(\"job\")?;
std::fs::write(\"job/wait.sh\", \"echo begun; exec sleep 600\")?;
let src = ScriptRunConfig::new(\"job\").command(\"sh wait.sh\").compute_target(\"cpu-cluster\").environment(&env);
let run = Experiment::new(&ws, \"interrupted\").submit(&src)?;";
    desk.write_notebook(
        "notebooks/interrupt.ipynb",
        &[
            (json!({}), submit),
            (json!({}), "run.wait_for_completion(true)?;"),
            (
                json!({}),
                "run.cancel()?;\nprintln!(\"still the same run: {}\", run.id());",
            ),
        ],
    );
    desk.look("interrupt");
}

#[test]
fn a_slider_that_is_dragged_reaches_rust() {
    let desk = Desk::new();
    desk.write_notebook(
        "notebooks/slider.ipynb",
        &[
            (
                json!({}),
                "use notebook::MimeBundle;\nuse notebook::widget::Slider;\n\
                 fn heard(rate: i64) -> MimeBundle { MimeBundle::new().text(format!(\"Rust heard {rate}\")) }\n\
                 let shown = notebook::display_live(&heard(1));\n\
                 let rate = Slider::new(\"rate\", 1..=20);\n\
                 rate.on_change(move |rate| shown.update(&heard(rate)));\nrate.clone()",
            ),
            (json!({}), "rate.value()"),
        ],
    );
    desk.look("slider");
}

#[test]
fn a_bar_a_choice_a_button_and_a_chart_reach_rust_and_the_page() {
    let desk = Desk::new();
    desk.write_notebook(
        "notebooks/widgets.ipynb",
        &[
            (
                json!({}),
                "use notebook::MimeBundle;\nuse notebook::widget::{Button, LiveChart, Progress, Select};\n\
                 fn says(text: String) -> MimeBundle { MimeBundle::new().text(text) }\n\
                 let heard = notebook::display_live(&says(\"Rust heard nothing\".into()));\n\
                 let pushed = notebook::display_live(&says(\"pushed 0\".into()));\n\
                 let bar = Progress::new(\"steps\", 60);\nbar.clone()",
            ),
            (
                json!({}),
                "let optimizer = Select::new(\"optimizer\", [\"sgd\", \"adam\", \"lbfgs\"]);\n\
                 optimizer.on_change(move |name| heard.update(&says(format!(\"Rust heard {name}\"))));\n\
                 optimizer.clone()",
            ),
            (
                json!({}),
                "let chart = LiveChart::new(\"loss\");\nchart.clone()",
            ),
            (
                json!({}),
                "let button = Button::new(\"push\");\nlet (to_bar, to_chart) = (bar.clone(), chart.clone());\n\
                 let mut count = 0;\nbutton.on_click(move || {\n    count += 1;\n    to_bar.add(1);\n    \
                 to_chart.push(\"by hand\", f64::from(count), 0.5);\n    \
                 pushed.update(&says(format!(\"pushed {count}\")));\n});\nbutton.clone()",
            ),
            (
                json!({}),
                "for step in 1.. {\n    if optimizer.value() == \"lbfgs\" { break; }\n    \
                 if step <= 40 { bar.add(1); }\n    chart.push(\"train\", f64::from(step), 1.0 / f64::from(step));\n    \
                 std::thread::sleep(std::time::Duration::from_millis(100));\n}\n\
                 println!(\"the cell saw {}\", optimizer.value());",
            ),
        ],
    );
    desk.look("widgets");
}

#[test]
fn the_variable_panel_shows_rusts_variables() {
    let desk = Desk::new();
    let code = "let epochs = 14;\nlet names = vec![String::from(\"ada\")];";
    desk.write_notebook("notebooks/variables.ipynb", &[(json!({}), code)]);
    desk.look("variables");
}
