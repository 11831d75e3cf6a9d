//! `cargo xtask bench kernel`: this project's kernel against `evcxr_jupyter`.
//!
//! A round consists of several sessions with each of the two kernels in turn.
//! `xtask/python/bench_kernel.py` is the client and contains the cells.

use super::client::Events;
use super::idle::{self, Watch};
use super::machine;
use super::table::{self, Competitor, Definition, Goal, Samples};
use crate::error::{Error, Result};
use crate::lab;
use crate::python;
use crate::report::{Report, seconds};
use crate::tools::Tools;
use crate::{place, process};
use clap::Args;
use serde_json::{Map, Value, json};
use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// The peer in the version published by its authors.
const PEER: &str = "evcxr_jupyter 0.22";

/// Small crates, including a procedural macro.
const SMALL: &str = r#":dep serde = { version = "1", features = ["derive"] }
:dep serde_json = "1"
#[derive(serde::Serialize)]
struct Sent {
    count: u32,
}
println!("{}", serde_json::to_string(&Sent { count: 3 })?);"#;

/// The same and some of the largest crates that notebooks use.
const LARGE: &str = r#":dep serde = { version = "1", features = ["derive"] }
:dep serde_json = "1"
:dep tokio = { version = "1", features = ["full"] }
:dep reqwest = { version = "0.13", default-features = false, features = ["http2", "json", "rustls-no-provider"] }
#[derive(serde::Serialize)]
struct Sent {
    count: u32,
}
println!("{}", serde_json::to_string(&Sent { count: 3 })?);
println!("{:?}", reqwest::Url::parse("http://localhost:8888/lab")?.port());
println!("{}", tokio::sync::Semaphore::new(3).available_permits());"#;

/// The rows, in the order of the table.
const ROWS: [Definition; 15] = [
    Definition::new("ready", "s", Goal::OfPeer(0.15)),
    Definition::new("first_cell", "s", Goal::OfPeer(0.4)),
    Definition::new("statement", "s", Goal::OfPeer(0.4)),
    Definition::new("expression", "s", Goal::OfPeer(0.35)),
    Definition::new("question_mark", "s", Goal::None),
    Definition::new("await", "s", Goal::None),
    Definition::new("compile_error", "s", Goal::OfPeer(0.5)),
    Definition::new("growth", "×", Goal::AtMost(1.3)),
    Definition::new("dep_new_kernel", "s", Goal::AtMost(2.0)),
    Definition::new("prelude_first_use", "s", Goal::AtMost(1.5)),
    Definition {
        name: "statement_with_azureml",
        unit: "×",
        goal: Goal::AtMost(1.3),
        over: Some("statement"),
    },
    Definition::new("completion", "s", Goal::None),
    Definition::new("inspect", "s", Goal::None),
    Definition::new("lines_100k", "s", Goal::None),
    Definition::new("memory", "MB", Goal::OfPeer(0.7)),
];

/// Options of the benchmark.
#[derive(Args)]
pub struct Options {
    /// Number of repetitions of each session; the notebook of 200 cells runs once
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Let `dep_new_kernel` also use reqwest and tokio, and the peer compile the SDK: takes many
    /// minutes
    #[arg(long)]
    long: bool,
    /// Maximum total time to wait for other processes to be idle, in seconds
    #[arg(long, default_value_t = 120)]
    patience: u64,
}

/// The work of a kernel between its start and its end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Session {
    /// Cells of all kinds, code queries, memory.
    Cells,
    /// A long notebook.
    Growth,
    /// Crates by `:dep`.
    Dependency,
    /// The SDK.
    Azureml,
}

impl Session {
    fn name(self) -> &'static str {
        match self {
            Self::Cells => "cells",
            Self::Growth => "growth",
            Self::Dependency => "dependency",
            Self::Azureml => "azureml",
        }
    }
}

/// A session with one of the two kernels.
#[derive(Clone, Copy)]
struct Run {
    session: Session,
    competitor: Competitor,
    /// Whether the run only fills the caches for later runs, without measuring.
    ahead: bool,
}

/// Runs the command.
pub fn run(options: &Options) -> Result<ExitCode> {
    let started = Instant::now();
    let report = Report::new();
    let tools = lab::find_tools(&report)?;
    let rust_src = lab::provide_rust_src(&report)?;
    lab::provide_environment(&report, python::LAB, &tools)?;
    lab::build_kernel(&report)?;
    lab::install_kernel(&report, python::LAB, &tools, rust_src.as_deref())?;
    lab::add_completion(&report, python::LAB)?;
    build_peer(&report)?;
    let prefix = kernelspecs()?;

    let mut benchmark = Benchmark {
        report: &report,
        long: options.long,
        prefix,
        rust_src,
        patience: Duration::from_secs(options.patience),
        busiest: 0.0,
        samples: Samples::default(),
    };
    let plan = plan(options);
    for (number, run) in plan.iter().enumerate() {
        benchmark.session(*run, &format!("{}/{}", number + 1, plan.len()))?;
    }

    let rows = benchmark.samples.rows(&ROWS);
    let path = place::target().join("bench/kernel.json");
    table::write(&path, &facts(options, &tools, benchmark.busiest), &rows)?;
    let busiest = benchmark.busiest;
    drop(report);
    println!("\n{}", table::text(&rows, PEER));
    if busiest >= idle::ALLOWED {
        println!(
            "the machine was not idle: others kept {busiest:.1} processors busy, so these numbers are worth little"
        );
    }
    let with_goal: Vec<bool> = rows.iter().filter_map(table::Row::met).collect();
    let met = with_goal.iter().filter(|met| **met).count();
    println!(
        "{met} of {} goals met; the rows are in {}; everything took {}",
        with_goal.len(),
        place::shown(&path),
        seconds(started.elapsed())
    );
    Ok(ExitCode::SUCCESS)
}

/// Returns the sessions in the order in which they run.
fn plan(options: &Options) -> Vec<Run> {
    let mut plan: Vec<Run> = Competitor::BOTH
        .map(|competitor| Run {
            session: Session::Dependency,
            competitor,
            ahead: true,
        })
        .to_vec();
    for round in 0..options.rounds {
        let mut sessions = vec![Session::Cells, Session::Dependency, Session::Azureml];
        if round == 0 {
            sessions.push(Session::Growth);
        }
        for session in sessions {
            let mut pair = Competitor::BOTH;
            // Alternates the order, because the second kernel finds warmer caches.
            if round % 2 == 1 {
                pair.reverse();
            }
            for competitor in pair {
                // The peer has no prebuilt SDK and compiles it in each kernel.
                let without = session == Session::Azureml
                    && competitor == Competitor::Peer
                    && !(options.long && round == 0);
                if !without {
                    plan.push(Run {
                        session,
                        competitor,
                        ahead: false,
                    });
                }
            }
        }
    }
    plan
}

fn build_peer(report: &Report) -> Result<()> {
    let step = report.step(
        "peer",
        "evcxr_jupyter, with which ours is compared; many minutes the first time",
    );
    let mut cargo = process::cargo();
    cargo
        .args(["build", "--release", "--locked", "--manifest-path"])
        .arg(place::root().join("tests/peer/Cargo.toml"))
        .arg("--target-dir")
        .arg(peer_folder())
        .env("CARGO_TERM_PROGRESS_WHEN", "always")
        .env("CARGO_TERM_PROGRESS_WIDTH", "80")
        .env("CARGO_TERM_COLOR", "never");
    process::run(&step, "build-peer", cargo)?;
    step.done("");
    Ok(())
}

fn peer_folder() -> PathBuf {
    place::target().join("peer")
}

/// Writes the two kernelspecs into a separate prefix; returns Jupyter's folder in it.
fn kernelspecs() -> Result<PathBuf> {
    let jupyter = place::target().join("bench/prefix/share/jupyter");
    let installed = python::LAB
        .folder()
        .join("share/jupyter/kernels/rust-azureml/kernel.json");
    let ours = fs::read_to_string(&installed).map_err(Error::io("read", &installed))?;
    // The same kernelspec as `evcxr_jupyter --install` writes to the user's folder.
    let peer = json!({
        "argv": [peer_folder().join("release/peer"), "--control_file", "{connection_file}"],
        "display_name": "Rust",
        "language": "rust",
        "interrupt_mode": "message",
    });
    for (competitor, spec) in Competitor::BOTH.into_iter().zip([ours, peer.to_string()]) {
        let folder = jupyter.join("kernels").join(competitor.name());
        let path = folder.join("kernel.json");
        fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
        fs::write(&path, spec).map_err(Error::io("write", &path))?;
    }
    Ok(jupyter)
}

struct Benchmark<'a> {
    report: &'a Report,
    long: bool,
    /// Jupyter's folder with the kernelspecs.
    prefix: PathBuf,
    rust_src: Option<PathBuf>,
    /// Remaining time to wait for other processes.
    patience: Duration,
    /// Maximum number of processors that other processes kept busy.
    busiest: f64,
    samples: Samples,
}

impl Benchmark<'_> {
    fn session(&mut self, run: Run, number: &str) -> Result<()> {
        let Run {
            session,
            competitor,
            ahead,
        } = run;
        let (session, name) = (session.name(), competitor.name());
        let why = if ahead { "to fill caches" } else { "" };
        let step = self
            .report
            .step(&format!("{number} {session} of {name}"), why);
        // The previous kernel has ended before this check, so all load is from other processes.
        let before = idle::wait(&step, &mut self.patience)?;
        let mut python = process::command(python::LAB.program("python"));
        python
            .arg(place::root().join("xtask/python/bench_kernel.py"))
            .args([name, session])
            .arg(self.cell(run))
            .env("JUPYTER_PATH", &self.prefix)
            .env("PYTHONUNBUFFERED", "1")
            .envs(
                self.rust_src
                    .as_ref()
                    .map(|library| ("RUST_SRC_PATH", library)),
            );
        let watch = Watch::start()?;
        let mut events = Events::default();
        let log = format!("bench-kernel-{session}-{name}");
        process::follow(step.running(), &log, python, |line| {
            events.read(&step, line);
        })?;
        let during = watch.others(events.own)?;
        if ahead {
            step.done("");
            return Ok(());
        }
        self.busiest = self.busiest.max(before).max(during);
        for (sample, value) in events.samples {
            self.samples.add(competitor, &sample, value);
        }
        step.done(&if during >= idle::ALLOWED {
            format!("others kept {during:.1} processors busy")
        } else {
            String::new()
        });
        Ok(())
    }

    /// Returns the cell that the session measures.
    fn cell(&self, run: Run) -> String {
        match (run.session, run.competitor) {
            (Session::Dependency, _) if self.long => LARGE.to_owned(),
            (Session::Dependency, _) => SMALL.to_owned(),
            (Session::Azureml, Competitor::Ours) => "use azureml::prelude::*;".to_owned(),
            (Session::Azureml, Competitor::Peer) => format!(
                ":dep azureml = {{ path = \"{}\" }}\nuse azureml::prelude::*;",
                place::root().join("crates/azureml").display()
            ),
            (Session::Cells | Session::Growth, _) => String::new(),
        }
    }
}

/// Returns the facts on which the results depend.
fn facts(options: &Options, tools: &Tools, busiest: f64) -> Map<String, Value> {
    // The same choice as in the kernel.
    let engine = match env::var("AZUREML_KERNEL_ENGINE").as_deref() {
        Ok("evcxr") => "evcxr",
        _ => "rustc",
    };
    let facts = [
        ("rustc", json!(tools.rustc_version)),
        ("engine", json!(engine)),
        ("peer", json!(PEER)),
        ("rounds", json!(options.rounds)),
        ("long", json!(options.long)),
    ];
    machine::facts(busiest, facts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(plan: &[Run]) -> Vec<String> {
        plan.iter()
            .map(|run| format!("{} {}", run.session.name(), run.competitor.name()))
            .collect()
    }

    #[test]
    fn the_two_take_turns() {
        let mut options = Options {
            rounds: 2,
            long: false,
            patience: 0,
        };
        assert_eq!(
            shown(&plan(&options)),
            [
                "dependency ours",
                "dependency peer",
                "cells ours",
                "cells peer",
                "dependency ours",
                "dependency peer",
                "azureml ours",
                "growth ours",
                "growth peer",
                "cells peer",
                "cells ours",
                "dependency peer",
                "dependency ours",
                "azureml ours",
            ]
        );
        options.long = true;
        let with_sdk = shown(&plan(&options))
            .iter()
            .filter(|run| *run == "azureml peer")
            .count();
        assert_eq!(with_sdk, 1);
    }
}
