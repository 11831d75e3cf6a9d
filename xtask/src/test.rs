//! `cargo xtask test`: runs all tests from a fresh checkout. CI runs exactly this command.

use crate::build::{self, Selection};
use crate::error::{Error, Result};
use crate::lab;
use crate::python::{self, Environment};
use crate::report::{Report, Step, seconds};
use crate::tools::Tools;
use crate::{chromium, node, place, process, remove};
use clap::Args;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

/// The variable with the path of the `config.json` of an Azure workspace, for the tests that need
/// one.
const ON_AZURE: &str = "AZUREML_TEST_WORKSPACE";

/// The variable that selects the long form of randomized tests.
const LONG: &str = "AZUREML_TEST_LONG";

/// Maximum number of concurrent tests that start kernels and trainings: more would not be faster,
/// but would need more memory.
const MOST_AT_ONCE: usize = 4;

/// The variables of the Python environments for the tests in `tests/`, read by `tests/src/lib.rs`.
const REFERENCE_CLIENTS: [(&str, Environment); 8] = [
    ("AZUREML_TEST_PYTHON_LAB", python::LAB),
    ("AZUREML_TEST_PYTHON_FRONT_ENDS", python::FRONT_ENDS),
    ("AZUREML_TEST_PYTHON_MLFLOW", python::MLFLOW),
    ("AZUREML_TEST_PYTHON_AZURE_AI_ML", python::AZURE_AI_ML),
    ("AZUREML_TEST_PYTHON_AZUREML_CORE", python::AZUREML_CORE),
    ("AZUREML_TEST_PYTHON_AZUREML_FSSPEC", python::AZUREML_FSSPEC),
    ("AZUREML_TEST_PYTHON_TORCH", python::TORCH),
    ("AZUREML_TEST_PYTHON_MPI", python::MPI),
];

/// Options of the tests.
#[derive(Args)]
pub struct Options {
    /// Run only the tests whose names contain this text, without rustfmt and clippy
    filter: Option<String>,
    /// Run the long form of randomized tests (chaos, fuzz), and show their output
    #[arg(long, requires = "filter")]
    long: bool,
}

/// Runs the command.
pub fn run(options: &Options) -> Result<ExitCode> {
    let started = Instant::now();
    let report = Report::new();
    let tools = lab::find_tools(&report)?;
    let rust_src = lab::provide_rust_src(&report)?;
    let browser = provide_browser(&report)?;
    let azurite = provide_azurite(&report)?;
    let mut tally = Tally::default();
    if options.filter.is_none() {
        let mut fmt = process::cargo();
        fmt.args(["fmt", "--all", "--check"]);
        tally.check(&report, "rustfmt", "the code's layout", fmt)?;
    }
    let (ready, libtorch) = mpsc::channel();
    lab::both(
        report.running(),
        || {
            lab::provide_python(&report, python::LAB, &tools)?;
            // Fails if the build has failed and the receiver is gone.
            let _ = ready.send(());
            drop(ready);
            provide_reference_clients(&report, &tools)
        },
        || {
            build_all(&report, Selection::Main)?;
            // If libtorch failed, its error is the one that is reported.
            libtorch.recv().map_err(|_| Error::Stopped)?;
            build_all(&report, Selection::Training)
        },
    )?;
    lab::install_kernel(&report, python::LAB, &tools, rust_src.as_deref())?;
    lab::add_completion(&report, python::LAB)?;
    if options.filter.is_none() {
        for (selection, title) in Selection::ALL
            .into_iter()
            .zip(["clippy", "clippy of the training program"])
        {
            let mut clippy = selection.cargo("clippy");
            clippy.args(["--all-targets", "--", "-D", "warnings"]);
            tally.check(&report, title, "the code's habits", clippy)?;
        }
    }
    tests(
        &report,
        options,
        rust_src.as_deref(),
        &[
            ("AZUREML_TEST_CHROMIUM", &browser),
            ("AZUREML_TEST_AZURITE", &azurite),
        ],
        &mut tally,
    )?;
    drop(report);
    for failure in &tally.failures {
        println!("failed: {failure}");
    }
    for left in &tally.left {
        println!("not run: {left}");
    }
    println!("everything took {}", seconds(started.elapsed()));
    println!(
        "{} passed, {} failed, {} not run",
        tally.passed,
        tally.failed,
        tally.left.len()
    );
    Ok(if tally.failed == 0 && tally.passed > 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn provide_browser(report: &Report) -> Result<PathBuf> {
    let step = report.step("Chromium", "the browser that shows JupyterLab");
    let browser = chromium::provide(&step)?;
    step.done("");
    Ok(browser)
}

fn provide_azurite(report: &Report) -> Result<PathBuf> {
    let step = report.step("Azurite", "a real blob service, as a reference");
    let azurite = node::azurite(&step)?;
    step.done("");
    Ok(azurite)
}

fn provide_reference_clients(report: &Report, tools: &Tools) -> Result<()> {
    for (_, environment) in &REFERENCE_CLIENTS[1..] {
        if environment.is_for(tools) {
            lab::provide_environment(report, *environment, tools)?;
        }
    }
    Ok(())
}

fn build_all(report: &Report, selection: Selection) -> Result<()> {
    let step = match selection {
        Selection::Main => report.step("build", "every program and every test"),
        Selection::Training => report.step("training program", "and its tests"),
    };
    build::all(&step, selection)?;
    step.done("");
    Ok(())
}

fn tests(
    report: &Report,
    options: &Options,
    rust_src: Option<&Path>,
    programs: &[(&str, &Path)],
    tally: &mut Tally,
) -> Result<()> {
    // No test may use the user's local workspace, not even a test that does not set a separate
    // home.
    let home = place::target().join("test/local-workspace");
    remove::folder(&home, &place::target())?;
    let on_azure = std::env::var_os(ON_AZURE).map(PathBuf::from);
    // Absolute, because tests run in the folders of their packages.
    let on_azure = on_azure
        .map(|config| std::path::absolute(&config).map_err(Error::io("find", &config)))
        .transpose()?;
    for (selection, title) in Selection::ALL
        .into_iter()
        .zip(["tests", "tests of the training program"])
    {
        let mut cargo = selection.cargo("test");
        cargo
            .arg("--no-fail-fast")
            .envs(on_azure.iter().map(|config| (ON_AZURE, config)))
            .args(&options.filter)
            .args(test_arguments(on_azure.is_some(), options.long))
            .envs(options.long.then_some((LONG, "1")))
            .env("CARGO_TERM_PROGRESS_WHEN", "never")
            .env("AZUREML_LOCAL_HOME", &home)
            .envs(programs.iter().copied())
            // Otherwise, concurrent trainings on few processors would block each other with busy
            // waiting.
            .env("OMP_WAIT_POLICY", "passive")
            .envs(rust_src.map(|library| ("RUST_SRC_PATH", library)));
        if std::env::var_os("RUST_TEST_THREADS").is_none() {
            let processors = thread::available_parallelism().map_or(1, usize::from);
            cargo.env(
                "RUST_TEST_THREADS",
                processors.min(MOST_AT_ONCE).to_string(),
            );
        }
        for (variable, environment) in REFERENCE_CLIENTS {
            // An environment is missing if this Python version has no packages for it.
            let python = environment.program("python");
            if python.exists() {
                cargo.env(variable, python);
            }
        }
        let step = report.step_now(title, "");
        let before = tally.failed;
        let ended = process::follow(step.running(), &title.replace(' ', "-"), cargo, |line| {
            step.status(line);
            step.print(line);
            tally.count(line);
        });
        match ended {
            Ok(()) => step.done(""),
            // The failed tests were already shown and counted.
            Err(Error::Failed { .. }) if tally.failed > before => drop::<Step>(step),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Returns the arguments of the test programs.
fn test_arguments(on_azure: bool, long: bool) -> impl Iterator<Item = &'static str> {
    // The tests that need an Azure workspace only run if one is given.
    let ignored = on_azure.then_some("--include-ignored");
    // Long tests print their seed, progress and counts.
    let shown = long.then_some("--nocapture");
    let mut given = ignored.into_iter().chain(shown).peekable();
    let separator = given.peek().map(|_| "--");
    separator.into_iter().chain(given)
}

/// Number of passed and failed checks and tests.
#[derive(Default)]
struct Tally {
    passed: usize,
    failed: usize,
    failures: Vec<String>,
    /// The skipped tests and the reasons.
    left: Vec<String>,
}

impl Tally {
    /// Runs a check that counts as one test.
    fn check(&mut self, report: &Report, title: &str, why: &str, command: Command) -> Result<()> {
        let step = report.step(title, why);
        match process::run(&step, title, command) {
            Ok(()) => {
                step.done("");
                self.passed += 1;
            }
            Err(error @ Error::Failed { .. }) => {
                drop(step);
                report.say(&error.to_string());
                self.failed += 1;
                self.failures.push(title.to_owned());
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Counts the results in a line of `cargo test`.
    fn count(&mut self, line: &str) {
        if let Some(name) = line
            .strip_prefix("test ")
            .and_then(|rest| rest.strip_suffix(" ... FAILED"))
        {
            self.failures.push(name.to_owned());
        }
        if let Some((name, why)) = line
            .strip_prefix("test ")
            .and_then(|rest| rest.split_once(" ... ignored"))
        {
            self.left
                .push(format!("{name}{}", why.replacen(',', ":", 1)));
        }
        let Some((_, counts)) = line
            .strip_prefix("test result: ")
            .and_then(|rest| rest.split_once(". "))
        else {
            return;
        };
        for count in counts.split("; ") {
            match count
                .split_once(' ')
                .map(|(number, what)| (number.parse::<usize>(), what))
            {
                Some((Ok(number), "passed")) => self.passed += number,
                Some((Ok(number), "failed")) => self.failed += number,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_test_is_named_and_shows_what_it_prints() {
        #[derive(clap::Parser)]
        struct Cli {
            #[command(flatten)]
            options: Options,
        }
        let parse = |line: &[&str]| {
            <Cli as clap::Parser>::try_parse_from([&["test"], line].concat())
                .map(|cli| cli.options.long)
        };
        assert!(parse(&["--long", "chaos"]).is_ok_and(|long| long));
        assert!(parse(&["chaos"]).is_ok_and(|long| !long));
        assert!(parse(&["--long"]).is_err());
        let given = |on_azure, long| test_arguments(on_azure, long).collect::<Vec<_>>();
        assert_eq!(given(false, true), ["--", "--nocapture"]);
        assert_eq!(
            given(true, true),
            ["--", "--include-ignored", "--nocapture"]
        );
        assert!(given(false, false).is_empty());
    }

    #[test]
    fn results_of_several_programs_add_up() {
        let mut tally = Tally::default();
        for line in [
            "running 3 tests",
            "test one ... ok",
            "test two::three ... FAILED",
            "test four ... ignored, it needs another machine",
            "test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s",
            "     Running unittests src/lib.rs (target/release/deps/x)",
            "test result: ok. 40 passed; 0 failed; 1 ignored; 0 measured; 7 filtered out; finished in 2.10s",
        ] {
            tally.count(line);
        }
        assert_eq!((tally.passed, tally.failed), (42, 1));
        assert_eq!(tally.failures, ["two::three"]);
        assert_eq!(tally.left, ["four: it needs another machine"]);
    }
}
