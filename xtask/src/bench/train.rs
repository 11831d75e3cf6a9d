//! `cargo xtask bench train`: our training program against PyTorch.
//!
//! A round is one job of each: the workshop's `train.py` as people write it, a tuned loop over pictures in memory, and
//! ours; same network, batch size, data and epochs. `xtask/python/bench_train.py` measures each from outside.

use super::client::Events;
use super::idle::{self, Watch};
use super::machine;
use super::table::{self, Competitor, Definition, Goal, Samples};
use crate::error::Result;
use crate::lab;
use crate::python;
use crate::report::{Report, seconds};
use crate::{place, process};
use clap::Args;
use serde_json::json;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::thread;
use std::time::{Duration, Instant};

/// The peers.
const PEER: &str = "PyTorch 2.11";

/// Pictures to learn from in all of MNIST.
const ALL: u32 = 60_000;

/// With these, glibc keeps memory for the next batch; without them, a loop in Python spends a quarter of its time on page
/// faults. The largest threshold that glibc takes is 32 MB.
const MALLOC: [(&str, &str); 3] = [
    ("MALLOC_MMAP_THRESHOLD_", "33554432"),
    ("MALLOC_TRIM_THRESHOLD_", "1073741824"),
    ("MALLOC_TOP_PAD_", "67108864"),
];

/// The rows, in the order of the table. Where none is named, the peer is the ordinary program.
const ROWS: [Definition; 6] = [
    Definition::new("images_per_s_ordinary", "/s", Goal::OfPeerAtLeast(1.6)),
    Definition::new("images_per_s_tuned", "/s", Goal::OfPeerAtLeast(1.3)),
    Definition::new("first_batch", "s", Goal::OfPeer(0.15)),
    Definition::new("job", "s", Goal::None),
    Definition::new("memory", "MB", Goal::OfPeer(0.8)),
    Definition::new("accuracy", "%", Goal::OfPeerAtLeast(0.995)),
];

/// How thoroughly to measure.
#[derive(Args)]
pub struct Options {
    /// How many times each program runs
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// How often each goes through the data
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..))]
    epochs: u32,
    /// How many of MNIST's pictures each learns from
    #[arg(long, default_value_t = ALL, value_parser = clap::value_parser!(u32).range(1000..=i64::from(ALL)))]
    images: u32,
    /// Seconds to wait, in all, for other processes to be idle
    #[arg(long, default_value_t = 120)]
    patience: u64,
}

/// What trains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Program {
    /// `train.py`, with a `DataLoader`.
    Ordinary,
    /// A loop in Python over tensors.
    Tuned,
    /// `train.rs`.
    Ours,
}

impl Program {
    fn name(self) -> &'static str {
        match self {
            Self::Ordinary => "ordinary",
            Self::Tuned => "tuned",
            Self::Ours => "ours",
        }
    }

    /// The rows that a sample of it belongs to, and as whose.
    fn rows(self, sample: &str) -> Vec<(Competitor, String)> {
        let speed = |peer: &str| format!("{sample}_{peer}");
        match (self, sample) {
            (Self::Ours, "images_per_s") => vec![
                (Competitor::Ours, speed("ordinary")),
                (Competitor::Ours, speed("tuned")),
            ],
            (Self::Ordinary, "images_per_s") => vec![(Competitor::Peer, speed("ordinary"))],
            (Self::Tuned, "images_per_s") => vec![(Competitor::Peer, speed("tuned"))],
            (Self::Ours, _) => vec![(Competitor::Ours, sample.to_owned())],
            (Self::Ordinary, _) => vec![(Competitor::Peer, sample.to_owned())],
            (Self::Tuned, _) => Vec::new(),
        }
    }
}

/// Runs the command.
pub fn run(options: &Options) -> Result<ExitCode> {
    let started = Instant::now();
    let report = Report::new();
    let tools = lab::find_tools(&report)?;
    lab::provide_python(&report, python::TORCH, &tools)?;
    lab::build_trainer(&report)?;

    let step = report.step("data", "the same for all");
    let data = folder().join("data");
    let mut cut = python("bench_train.py");
    cut.arg("data")
        .arg(place::lab().join("data"))
        .arg(&data)
        .arg(options.images.to_string());
    process::run(&step, "bench-train-data", cut)?;
    step.done("");

    let mut samples = Samples::default();
    let mut busiest: f64 = 0.0;
    let mut patience = Duration::from_secs(options.patience);
    let plan = plan(options.rounds);
    for (number, (round, program)) in plan.iter().enumerate() {
        let name = program.name();
        let step = report.step(&format!("{}/{} {name}", number + 1, plan.len()), "");
        let before = idle::wait(&step, &mut patience)?;
        let watch = Watch::start()?;
        let mut events = Events::default();
        let command = command(*program, options.epochs, *round + 1);
        process::follow(
            step.running(),
            &format!("bench-train-{name}"),
            command,
            |line| {
                events.read(&step, line);
            },
        )?;
        let during = watch.others(events.own)?;
        busiest = busiest.max(before).max(during);
        for (sample, value) in events.samples {
            for (competitor, row) in program.rows(&sample) {
                samples.add(competitor, &row, value);
            }
        }
        step.done("");
    }

    let rows = samples.rows(&ROWS);
    let path = place::target().join("bench/train.json");
    let facts = [
        ("peer", json!(PEER)),
        ("threads", json!(threads())),
        ("rounds", json!(options.rounds)),
        ("epochs", json!(options.epochs)),
        ("images", json!(options.images)),
    ];
    table::write(&path, &machine::facts(busiest, facts), &rows)?;
    drop(report);
    println!("\n{}", table::text(&rows, PEER));
    if busiest >= idle::ALLOWED {
        println!(
            "the machine was not idle: others kept {busiest:.1} processors busy, so these numbers are worth little"
        );
    }
    println!(
        "the rows are in {}; everything took {}",
        place::shown(&path),
        seconds(started.elapsed())
    );
    Ok(ExitCode::SUCCESS)
}

/// Who runs in which round: whoever comes first finds the processor coolest, so they take turns.
fn plan(rounds: u32) -> Vec<(u32, Program)> {
    let in_round = |round: u32| {
        let mut programs = [Program::Ordinary, Program::Tuned, Program::Ours];
        programs.rotate_left(round as usize % 3);
        programs.map(|program| (round, program))
    };
    (0..rounds).flat_map(in_round).collect()
}

/// Where the programs run.
fn folder() -> PathBuf {
    place::target().join("bench/train")
}

fn threads() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// A program of ours in Python.
fn python(script: &str) -> Command {
    let mut python = process::command(python::TORCH.program("python"));
    python
        .arg(place::root().join("xtask/python").join(script))
        .env("PYTHONUNBUFFERED", "1");
    python
}

/// A measured run.
fn command(program: Program, epochs: u32, seed: u32) -> Command {
    let (epochs, seed) = (epochs.to_string(), seed.to_string());
    let data = folder().join("data");
    let mut command = python("bench_train.py");
    command.arg("measure");
    match program {
        Program::Ours => {
            command
                .arg(place::program("train"))
                .args(["--no-cuda", "--epochs", &epochs, "--seed", &seed, "--data"])
                .arg(data);
        }
        Program::Ordinary | Program::Tuned => {
            let script = format!("xtask/python/train_{}.py", program.name());
            command
                .arg(python::TORCH.program("python"))
                .arg(place::root().join(script))
                .arg(data)
                .args([epochs, seed]);
        }
    }
    if program == Program::Tuned {
        command.envs(MALLOC);
    }
    command
        .current_dir(folder())
        .env("OMP_NUM_THREADS", threads().to_string())
        // PyTorch would use a GPU only if it were told to, but it would look for one.
        .env("CUDA_VISIBLE_DEVICES", "");
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_three_take_turns() {
        let plan: Vec<String> = plan(2)
            .into_iter()
            .map(|(round, program)| format!("{round} {}", program.name()))
            .collect();
        let expected = [
            "0 ordinary",
            "0 tuned",
            "0 ours",
            "1 tuned",
            "1 ours",
            "1 ordinary",
        ];
        assert_eq!(plan, expected);
    }

    #[test]
    fn our_speed_is_held_against_both() {
        let names = |program: Program, sample: &str| -> Vec<String> {
            let rows = program.rows(sample).into_iter();
            rows.map(|(competitor, row)| format!("{} {row}", competitor.name()))
                .collect()
        };
        assert_eq!(
            names(Program::Ours, "images_per_s"),
            ["ours images_per_s_ordinary", "ours images_per_s_tuned"]
        );
        assert_eq!(
            names(Program::Tuned, "images_per_s"),
            ["peer images_per_s_tuned"]
        );
        assert_eq!(names(Program::Ordinary, "job"), ["peer job"]);
        assert!(names(Program::Tuned, "job").is_empty());
    }
}
