//! `cargo xtask bench train`: this project's training program against PyTorch.
//!
//! A round consists of one job of each program: the workshop's `train.py` as usually written, a
//! tuned loop over images in memory, and this project's program; in addition, the tuned loop in 16
//! bits and this project's program in its non-default precision. Network, batch size, data and
//! epochs are the same. `xtask/python/bench_train.py` measures each program from outside.

use super::runs::Runs;
use super::table::{Competitor, Definition, Goal, Samples};
use crate::error::{Error, Result};
use crate::lab;
use crate::python::{self, Environment};
use crate::report::Report;
use crate::{place, process};
use clap::Args;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::thread;

/// The peers.
const PEER: &str = "PyTorch 2.11";

/// Number of training images in MNIST.
const ALL: u32 = 60_000;

/// With these settings, glibc keeps memory for the next batch. Without them, a loop in Python
/// spends a quarter of its time on page faults. This project's program sets the same values itself.
const MALLOC: [(&str, &str); 3] = [
    ("MALLOC_MMAP_MAX_", "0"),
    ("MALLOC_TRIM_THRESHOLD_", "1073741824"),
    ("MALLOC_TOP_PAD_", "67108864"),
];

/// The rows, in the order of the table. Rows without a peer in their name compare with the ordinary
/// program. The rows of one precision show how much of a lead is due to the precision.
fn rows(gpu: bool) -> [Definition; 9] {
    let (ordinary, tuned) = if gpu { (10.0, 2.0) } else { (1.6, 1.3) };
    let on_cpu = |goal: Goal| if gpu { Goal::None } else { goal };
    let accuracy_of_other = if gpu {
        "accuracy_bfloat16"
    } else {
        "accuracy_float32"
    };
    let rows = [
        ("images_per_s_ordinary", "/s", Goal::OfPeerAtLeast(ordinary)),
        ("images_per_s_tuned", "/s", Goal::OfPeerAtLeast(tuned)),
        ("images_per_s_float32", "/s", Goal::None),
        ("images_per_s_bfloat16", "/s", Goal::None),
        ("first_batch", "s", on_cpu(Goal::OfPeer(0.15))),
        ("job", "s", Goal::None),
        ("memory", "MB", on_cpu(Goal::OfPeer(0.8))),
        ("accuracy", "%", Goal::OfPeerAtLeast(0.995)),
        (accuracy_of_other, "%", Goal::OfPeerAtLeast(0.995)),
    ];
    rows.map(|(name, unit, goal)| Definition::new(name, unit, goal))
}

/// Options of the benchmark.
#[derive(Args)]
pub struct Options {
    /// Number of runs of each program
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Number of epochs of each run
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..))]
    epochs: u32,
    /// Number of MNIST's training images
    #[arg(long, default_value_t = ALL, value_parser = clap::value_parser!(u32).range(1000..=i64::from(ALL)))]
    images: u32,
    /// Train on the first GPU instead of the CPU
    #[arg(long)]
    gpu: bool,
    #[command(flatten)]
    programs: Programs,
    /// Maximum total time to wait for other processes to be idle, in seconds
    #[arg(long, default_value_t = 120)]
    patience: u64,
}

/// The measuring Python and the measured program, if they are not built here (on machines without a
/// toolchain).
#[derive(Args)]
pub(super) struct Programs {
    /// An existing Python with the required packages: PyTorch 2.11 and Pillow for the comparison,
    /// Open MPI for scaling
    #[arg(long, requires = "program")]
    python: Option<PathBuf>,
    /// An existing build of the training program
    #[arg(long, requires = "python")]
    program: Option<PathBuf>,
}

impl Programs {
    /// Returns the Python and the training program; builds them if they are not given.
    pub(super) fn find(&self, report: &Report, usual: Environment) -> Result<(PathBuf, PathBuf)> {
        if let (Some(python), Some(program)) = (&self.python, &self.program) {
            return Ok((absolute(python)?, absolute(program)?));
        }
        let tools = lab::find_tools(report)?;
        lab::provide_python(report, usual, &tools)?;
        lab::build_trainer(report)?;
        Ok((usual.program("python"), place::program("train")))
    }
}

/// A training program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Program {
    /// `train.py`, with a `DataLoader`.
    Ordinary,
    /// A tuned loop in Python over tensors.
    Tuned,
    /// The tuned loop in 16 bits.
    TunedBfloat16,
    /// `train.rs`.
    Ours,
    /// `train.rs --precision float32`, for processors on which this is not the default.
    Float32,
    /// `train.rs --precision bfloat16`, for GPUs.
    Bfloat16,
}

impl Program {
    /// Returns this project's program in the non-default precision of the device.
    fn other(gpu: bool) -> Self {
        if gpu { Self::Bfloat16 } else { Self::Float32 }
    }

    /// Returns all programs for a device.
    fn all(gpu: bool) -> [Self; 5] {
        [
            Self::Ordinary,
            Self::Tuned,
            Self::TunedBfloat16,
            Self::Ours,
            Self::other(gpu),
        ]
    }

    fn name(self) -> &'static str {
        match self {
            Self::Ordinary => "ordinary",
            Self::Tuned => "tuned",
            Self::TunedBfloat16 => "tuned in bfloat16",
            Self::Ours => "ours",
            Self::Float32 => "float32",
            Self::Bfloat16 => "bfloat16",
        }
    }

    /// Returns the rows to which a sample of this program belongs, and its competitor.
    fn rows(self, sample: &str, gpu: bool) -> Vec<(Competitor, String)> {
        use Competitor::{Ours, Peer};
        // In each precision, this project's program is compared with the loop in the same
        // precision.
        let (who, rows): (Competitor, &[&str]) = match (self, sample) {
            (Self::Ours, "images_per_s") if gpu => (Ours, &["_ordinary", "_tuned", "_float32"]),
            (Self::Ours, "images_per_s") => (Ours, &["_ordinary", "_tuned", "_bfloat16"]),
            (Self::Ordinary, "images_per_s") => (Peer, &["_ordinary"]),
            (Self::Tuned, "images_per_s") => (Peer, &["_tuned", "_float32"]),
            (Self::TunedBfloat16, "images_per_s") => (Peer, &["_bfloat16"]),
            (Self::Float32, "images_per_s" | "accuracy") => (Ours, &["_float32"]),
            (Self::Bfloat16, "images_per_s" | "accuracy") => (Ours, &["_bfloat16"]),
            (Self::Ordinary, "accuracy") => (Peer, &["", "_float32", "_bfloat16"]),
            (Self::Ours, _) => (Ours, &[""]),
            (Self::Ordinary, _) => (Peer, &[""]),
            (Self::Tuned | Self::TunedBfloat16 | Self::Float32 | Self::Bfloat16, _) => (Ours, &[]),
        };
        rows.iter()
            .map(|row| (who, format!("{sample}{row}")))
            .collect()
    }
}

/// The programs and the parameters of the benchmark.
struct Bench {
    python: PathBuf,
    ours: PathBuf,
    gpu: bool,
    epochs: u32,
}

/// Runs the command.
pub fn run(options: &Options) -> Result<ExitCode> {
    let mut runs = Runs::new(options.patience);
    let report = Report::new();
    let (python, ours) = options.programs.find(&report, python::TORCH)?;
    let bench = Bench {
        python,
        ours,
        gpu: options.gpu,
        epochs: options.epochs,
    };

    cut_data(&report, &bench.python, options.images)?;

    let mut samples = Samples::default();
    let plan = plan(options.rounds, options.gpu);
    for (number, (round, program)) in plan.iter().enumerate() {
        let name = program.name();
        let step = report.step(&format!("{}/{} {name}", number + 1, plan.len()), "");
        let log = format!("bench-train-{}", name.replace(' ', "-"));
        let command = bench.command(*program, *round + 1);
        for (sample, value) in runs.measure(&step, &log, command)? {
            for (competitor, row) in program.rows(&sample, options.gpu) {
                samples.add(competitor, &row, value);
            }
        }
        step.done("");
    }

    let rows = samples.rows(&rows(options.gpu));
    let name = if options.gpu { "train_gpu" } else { "train" };
    let facts = [
        ("gpu", json!(options.gpu.then(gpu))),
        ("threads", json!(threads())),
        ("rounds", json!(options.rounds)),
        ("epochs", json!(options.epochs)),
        ("images", json!(options.images)),
    ];
    runs.end(report, name, PEER, facts, &rows)
}

/// Returns the programs of each round. Their order rotates, because the first one finds the coolest
/// processor.
fn plan(rounds: u32, gpu: bool) -> Vec<(u32, Program)> {
    let in_round = |round: u32| {
        let mut programs = Program::all(gpu);
        let first = round as usize % programs.len();
        programs.rotate_left(first);
        programs.map(|program| (round, program))
    };
    (0..rounds).flat_map(in_round).collect()
}

/// Writes the data for all programs: MNIST with only the first training images.
pub(super) fn cut_data(report: &Report, python: &Path, images: u32) -> Result<()> {
    let step = report.step("data", "the same for all");
    let mut cut = script(python, "bench_train.py");
    cut.arg("data")
        .arg(place::lab().join("data"))
        .arg(data())
        .arg(images.to_string());
    process::run(&step, "bench-train-data", cut)?;
    step.done("");
    Ok(())
}

/// Returns the folder of that data.
pub(super) fn data() -> PathBuf {
    folder().join("data")
}

/// Returns the beginning of a command that measures the program in its remaining arguments.
pub(super) fn measuring(python: &Path) -> Command {
    let mut command = script(python, "bench_train.py");
    command.arg("measure");
    command
}

/// Returns the command of one of the project's Python scripts.
fn script(python: &Path, name: &str) -> Command {
    let mut python = process::command(python);
    python
        .arg(place::root().join("xtask/python").join(name))
        .env("PYTHONUNBUFFERED", "1");
    python
}

/// Returns the working folder of the programs.
pub(super) fn folder() -> PathBuf {
    place::target().join("bench/train")
}

fn threads() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// Returns the name of the first GPU.
pub(super) fn gpu() -> Option<String> {
    let asked = Command::new("nvidia-smi")
        .args(["--query-gpu=name", "--format=csv,noheader", "--id=0"])
        .output()
        .ok()?;
    Some(String::from_utf8_lossy(&asked.stdout).trim().to_owned())
}

/// Returns an absolute path.
fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(Error::io("find", path))
}

impl Bench {
    /// Returns the peers' Python, the script and the data.
    fn script(&self, name: &str) -> [PathBuf; 3] {
        let script = place::root().join("xtask/python").join(name);
        [self.python.clone(), script, data()]
    }

    /// Returns the command of a measured run.
    fn command(&self, program: Program, seed: u32) -> Command {
        let (epochs, seed) = (self.epochs.to_string(), seed.to_string());
        let mut command = measuring(&self.python);
        match program {
            Program::Ours | Program::Float32 | Program::Bfloat16 => {
                command
                    .arg(&self.ours)
                    .args(["--epochs", &epochs, "--seed", &seed, "--data"])
                    .arg(data());
                if program != Program::Ours {
                    command.args(["--precision", program.name()]);
                }
                if !self.gpu {
                    command.arg("--no-cuda");
                }
            }
            Program::Ordinary => {
                command
                    .args(self.script("train_ordinary.py"))
                    .args([epochs, seed]);
            }
            Program::Tuned | Program::TunedBfloat16 => {
                command
                    .args(self.script("train_tuned.py"))
                    .args([epochs, seed])
                    .args((program == Program::TunedBfloat16).then_some("bfloat16"))
                    .envs(MALLOC);
            }
        }
        if !self.gpu {
            // PyTorch uses a GPU if it finds one.
            command.env("CUDA_VISIBLE_DEVICES", "");
        }
        command
            .current_dir(folder())
            .env("OMP_NUM_THREADS", threads().to_string());
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_take_turns() {
        let plan: Vec<String> = plan(2, false)
            .into_iter()
            .map(|(round, program)| format!("{round} {}", program.name()))
            .collect();
        let expected = [
            "0 ordinary",
            "0 tuned",
            "0 tuned in bfloat16",
            "0 ours",
            "0 float32",
            "1 tuned",
            "1 tuned in bfloat16",
            "1 ours",
            "1 float32",
            "1 ordinary",
        ];
        assert_eq!(plan, expected);
    }

    #[test]
    fn our_speed_is_held_against_all() {
        let names = |program: Program, sample: &str, gpu: bool| -> Vec<String> {
            let rows = program.rows(sample, gpu).into_iter();
            rows.map(|(competitor, row)| format!("{} {row}", competitor.name()))
                .collect()
        };
        let speed = "images_per_s";
        assert_eq!(
            names(Program::Ours, speed, false),
            [
                "ours images_per_s_ordinary",
                "ours images_per_s_tuned",
                "ours images_per_s_bfloat16"
            ]
        );
        assert_eq!(
            names(Program::Float32, speed, false),
            ["ours images_per_s_float32"]
        );
        assert_eq!(
            names(Program::Ours, speed, true)[2],
            "ours images_per_s_float32"
        );
        assert_eq!(
            names(Program::Tuned, speed, false),
            ["peer images_per_s_tuned", "peer images_per_s_float32"]
        );
        assert_eq!(
            names(Program::TunedBfloat16, speed, false),
            ["peer images_per_s_bfloat16"]
        );
        assert_eq!(names(Program::Ordinary, "job", false), ["peer job"]);
        assert!(names(Program::Tuned, "job", false).is_empty());
        assert!(names(Program::Float32, "memory", false).is_empty());
    }

    #[test]
    fn every_row_has_somebody_on_each_side() {
        for gpu in [false, true] {
            let mut missing: Vec<(Competitor, &str)> = Vec::new();
            for row in rows(gpu) {
                for who in Competitor::BOTH {
                    let is_measured = Program::all(gpu).into_iter().any(|program| {
                        let sample = ["images_per_s", "accuracy"]
                            .into_iter()
                            .find(|prefix| row.name.starts_with(prefix))
                            .unwrap_or(row.name);
                        program
                            .rows(sample, gpu)
                            .contains(&(who, row.name.to_owned()))
                    });
                    if !is_measured {
                        missing.push((who, row.name));
                    }
                }
            }
            assert_eq!(missing, [], "gpu: {gpu}");
        }
    }
}
