//! `cargo xtask lab`: installs the prerequisites of the lab, then runs its notebook or opens it in
//! JupyterLab.

use crate::error::{Error, Result};
use crate::notebook::{self, Executed};
use crate::python::{self, Environment};
use crate::report::{Report, seconds};
use crate::running::Running;
use crate::tools::{self, Tools};
use crate::{build, libtorch, place, process, remove, rust_src};
use clap::{Args, ValueEnum};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Disables prompts about news and checks for updates, which would distract in a class.
const SETTINGS: &str = r#"{"@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": false}}
"#;

/// Options of the lab.
#[derive(Args)]
pub struct Options {
    /// Another notebook than that of the lab
    #[arg(conflicts_with = "lang")]
    notebook: Option<PathBuf>,
    /// Open the notebook in JupyterLab instead of running it here
    #[arg(long)]
    open: bool,
    /// The language of the notebook's explanations
    #[arg(long, value_enum, default_value_t = Language::En)]
    lang: Language,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Language {
    /// English
    En,
    /// Korean
    Ko,
}

impl Language {
    fn notebook(self) -> &'static str {
        match self {
            Self::En => "02-train-model.ipynb",
            Self::Ko => "02-train-model.ko.ipynb",
        }
    }
}

impl Options {
    /// Returns the notebook to run or to open.
    fn notebook(&self) -> Result<PathBuf> {
        match &self.notebook {
            Some(named) => fs::canonicalize(named).map_err(Error::io("open", named)),
            None => Ok(place::lab().join(self.lang.notebook())),
        }
    }
}

/// Runs the command.
pub fn run(options: &Options) -> Result<ExitCode> {
    let started = Instant::now();
    let report = Report::new();
    let environment = if options.open {
        python::JUPYTERLAB
    } else {
        python::LAB
    };
    let notebook = options.notebook()?;
    let tools = find_tools(&report)?;
    let rust_src = provide_rust_src(&report)?;
    // In parallel: pip waits for the network, the compiler uses the processors.
    both(
        report.running(),
        || provide_python(&report, environment, &tools),
        || build_kernel(&report),
    )?;
    build_trainer(&report)?;
    install_kernel(&report, environment, &tools, rust_src.as_deref())?;
    let ready = started.elapsed();

    if options.open {
        return open(&report, environment, &notebook, rust_src.as_deref());
    }
    let executed = notebook::execute(&report, environment, &notebook, rust_src.as_deref())?;
    let model = keep_model(&notebook)?;
    summarize(&report, &executed, ready, model.as_deref());
    println!();
    add_completion(&report, environment)?;
    Ok(ExitCode::SUCCESS)
}

/// Finds Rust, Python and a C++ compiler.
pub fn find_tools(report: &Report) -> Result<Tools> {
    let step = report.step(
        "tools",
        "Rust, Python and a C++ compiler must be there already",
    );
    let tools = tools::find()?;
    let rustc = tools.rustc_version.split(" (").next().unwrap_or_default();
    step.done(&format!("{rustc}, {}", tools.python_version));
    Ok(tools)
}

/// Provides the standard library's sources; returns their folder if the kernel does not find it
/// without a variable.
pub fn provide_rust_src(report: &Report) -> Result<Option<PathBuf>> {
    let step = report.step(
        "rust-src",
        "completion and documentation read the standard library's sources",
    );
    let found = rust_src::provide(&step)?;
    step.done("");
    Ok(found)
}

/// Provides a Python environment with Jupyter's client, and libtorch through its pip.
pub fn provide_python(report: &Report, environment: Environment, tools: &Tools) -> Result<()> {
    provide_environment(report, environment, tools)?;
    let step = report.step(
        "libtorch",
        "PyTorch's C++ library, which the training program uses",
    );
    let folder = libtorch::provide(&step, &environment.program("python"))?;
    step.done(&format!(
        "{} in {}",
        libtorch::version(&folder).unwrap_or_default(),
        place::shown(&folder)
    ));
    Ok(())
}

/// Provides a Python environment.
pub fn provide_environment(report: &Report, environment: Environment, tools: &Tools) -> Result<()> {
    let step = report.step(
        &format!("Python environment {}", environment.name),
        environment.why,
    );
    environment.provide(&step, tools)?;
    step.done("");
    Ok(())
}

/// Builds the kernel and the local workspace.
pub fn build_kernel(report: &Report) -> Result<()> {
    let step = report.step("build", "the kernel and the local workspace");
    build::kernel(&step)?;
    step.done("");
    Ok(())
}

/// Installs the kernel for a Python environment.
pub fn install_kernel(
    report: &Report,
    environment: Environment,
    tools: &Tools,
    rust_src: Option<&Path>,
) -> Result<()> {
    let step = report.step(
        &format!("kernel in {}", environment.name),
        "`Rust (Azure ML)`, with the SDK compiled ahead so that no cell waits for it",
    );
    build::install_kernel(&step, environment, tools, rust_src)?;
    step.done("");
    Ok(())
}

/// Builds the program that completes code, and adds it to the installed kernel. Cells run without
/// it, so it comes last.
pub fn add_completion(report: &Report, environment: Environment) -> Result<()> {
    let step = report.step(
        "completion",
        "rust-analyzer, which completes and explains code in cells; cells run without it",
    );
    build::evcxr(&step)?;
    build::add_evcxr(&step, environment)?;
    step.done("");
    Ok(())
}

/// Builds the training program.
pub fn build_trainer(report: &Report) -> Result<()> {
    let step = report.step(
        "training program",
        "train.rs, compiled ahead of its first submission",
    );
    build::training(&step)?;
    step.done("");
    Ok(())
}

/// Runs both functions in parallel. The first failure stops the other one's programs and is the one
/// that is returned.
pub fn both(
    running: &Running,
    one: impl FnOnce() -> Result<()> + Send,
    other: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let (one, other) = thread::scope(|scope| {
        let one = scope.spawn(|| one().inspect_err(|_| running.stop()));
        let other = other().inspect_err(|_| running.stop());
        let one = one.join();
        (
            one.unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            other,
        )
    });
    match (one, other) {
        (Err(Error::Stopped), Err(told)) | (Err(told), _) => Err(told),
        (Ok(()), other) => other,
    }
}

/// Opens JupyterLab and waits until it ends.
fn open(
    report: &Report,
    environment: Environment,
    notebook: &Path,
    rust_src: Option<&Path>,
) -> Result<ExitCode> {
    let settings = environment
        .folder()
        .join("share/jupyter/lab/settings/overrides.json");
    write!(process::create(&settings)?, "{SETTINGS}").map_err(Error::io("write", &settings))?;
    report.say("opening JupyterLab; Ctrl+C here ends it, jobs go on");
    let python = environment.program("python");
    let mut jupyter = process::command(&python);
    jupyter
        .args(["-m", "jupyterlab", "--ip=127.0.0.1"])
        .arg(notebook)
        .current_dir(notebook.parent().unwrap_or(notebook))
        // Inherited, because JupyterLab requests a confirmation before it ends.
        .stdin(Stdio::inherit())
        .envs(rust_src.map(|library| ("RUST_SRC_PATH", library)));
    if tools::is_root() {
        jupyter.arg("--allow-root");
    }
    let status = thread::scope(|scope| {
        // Beside the notebook: the first cells can run meanwhile.
        scope.spawn(|| {
            if let Err(error) = add_completion(report, environment)
                && !matches!(error, Error::Stopped)
            {
                report.say(&format!("code is not completed: {error}"));
            }
        });
        let status = jupyter.status();
        report.running().stop();
        status
    });
    let status = status.map_err(|source| Error::Start {
        program: python,
        source,
    })?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Keeps the model that the notebook downloaded; returns its new path.
fn keep_model(notebook: &Path) -> Result<Option<PathBuf>> {
    let downloaded = place::lab().join("model");
    if !notebook.starts_with(place::lab()) || !downloaded.is_dir() {
        return Ok(None);
    }
    let kept = place::root().join("target/lab/model");
    remove::folder(&kept, &place::root())?;
    copy(&downloaded, &kept)?;
    Ok(Some(kept))
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).map_err(Error::io("create", to))?;
    for entry in fs::read_dir(from).map_err(Error::io("read", from))? {
        let entry = entry.map_err(Error::io("read", from))?;
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target).map_err(Error::io("create", &target))?;
        }
    }
    Ok(())
}

fn summarize(report: &Report, executed: &Executed, ready: Duration, model: Option<&Path>) {
    let line = |name: &str, value: &str| println!("{name:<12}{value}");
    println!();
    for run in &executed.runs {
        line("run", &run.id);
        line("status", &run.statuses.join(" → "));
        line("", &run.phases);
        for (epoch, accuracy) in run.accuracies.iter().enumerate() {
            line(
                &format!("epoch {}", epoch + 1),
                &format!("accuracy {accuracy:.2} %"),
            );
        }
    }
    if let Some(model) = model {
        line("model", &place::shown(model));
    }
    line("notebook", &place::shown(&executed.path));
    line("set-up", &seconds(ready));
    for (title, took) in report.finished() {
        // The cells and the start of the kernel are reported separately.
        let is_set_up = !title.starts_with("cell ") && title != notebook::START;
        if is_set_up && took >= Duration::from_millis(50) {
            println!("  {:<34}{:>12}", title, seconds(took));
        }
    }
    line(
        "cells",
        &seconds(executed.cells.iter().map(|cell| cell.took).sum()),
    );
    println!("  {:<34}{:>12}", notebook::START, seconds(executed.start));
    for cell in &executed.cells {
        let code: String = cell.code.chars().take(60).collect();
        println!("  {:<34}{:>12}  {code}", cell.section, seconds(cell.took));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn a_failure_ends_what_runs_beside_it() {
        let running = Running::default();
        let (started, starts) = mpsc::channel();
        let failed = both(
            &running,
            move || {
                starts.recv().expect("the other one starts");
                Err(Error::Missing {
                    what: "no network".to_owned(),
                    hint: String::new(),
                })
            },
            || {
                let mut forever = process::command("sh");
                forever.args(["-c", "echo started; exec sleep 3600"]);
                process::follow(&running, "both", forever, |_| {
                    started.send(()).expect("the first one waits");
                })
            },
        );
        assert_eq!(failed.expect_err("an error").to_string(), "no network");
        // No program starts after that.
        let late = process::follow(&running, "both-late", process::command("true"), |_| {});
        assert!(matches!(late, Err(Error::Stopped)));
    }
}
