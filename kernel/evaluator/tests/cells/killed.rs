//! Checks that a killed kernel leaves nothing behind.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use azureml_kernel_evaluator::{Event, Events};

use crate::support::{Engine, OwnCheck, start};

pub const CHECKS: &[OwnCheck] = &[(
    "a_killed_kernel_leaves_nothing_behind",
    a_killed_kernel_leaves_nothing_behind,
)];

/// The cache; set in the process that acts as the killed kernel.
const VICTIM: &str = "CELLS_VICTIM_CACHE";

/// The engine of that process, unless it is the default.
const VICTIM_ENGINE: &str = "AZUREML_KERNEL_ENGINE";

/// Prints the standard output of a cell, for the check to read.
struct Printer;

impl Events for Printer {
    fn emit(&self, event: Event) {
        if let Event::Stdout(text) = event {
            print!("{text}");
        }
    }
}

/// Acts as the kernel that is killed, if the environment variable is set.
pub fn play_victim() {
    if let Some(cache) = std::env::var_os(VICTIM) {
        let mut evaluator = start(victim_engine(), Path::new(&cache));
        let code = r#"println!("cell {}", std::process::id()); loop { std::thread::park(); }"#;
        evaluator.execute(code, &Printer);
        std::process::exit(1);
    }
}

/// The engine that the environment selects.
fn victim_engine() -> Engine {
    match std::env::var(VICTIM_ENGINE).as_deref() {
        Ok("evcxr") => Engine::Evcxr,
        _ => Engine::Rustc,
    }
}

fn a_killed_kernel_leaves_nothing_behind(engine: Engine, cache: &Path) {
    let temporary = tempfile::tempdir().expect("a temporary folder");
    kill_one(engine, cache, temporary.path());
    let left = folders(temporary.path());
    assert_eq!(left.len(), 1, "{left:?}");
    // The next kernel removes the folder, and is killed as well.
    kill_one(engine, cache, temporary.path());
    let new = folders(temporary.path());
    assert_eq!(new.len(), 1, "{new:?}");
    assert_ne!(new, left);
}

/// Lists the entries of a folder.
fn folders(parent: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(parent).expect("it is there");
    entries.flatten().map(|entry| entry.path()).collect()
}

/// Starts a kernel with this temporary folder, kills it while a cell runs, and waits until the cell
/// process has ended.
fn kill_one(engine: Engine, cache: &Path, temporary: &Path) {
    let program = std::env::current_exe().expect("this program has a path");
    let mut victim = Command::new(program)
        .env(VICTIM, cache)
        .env(
            VICTIM_ENGINE,
            if engine == Engine::Evcxr {
                "evcxr"
            } else {
                "rustc"
            },
        )
        .env("TMPDIR", temporary)
        .stdout(Stdio::piped())
        .spawn()
        .expect("this program can be started");
    let output = BufReader::new(victim.stdout.take().expect("it is piped"));
    let cell = output
        .lines()
        .map_while(Result::ok)
        .find_map(|line| Some(PathBuf::from("/proc").join(line.strip_prefix("cell ")?)))
        .expect("the cell says who it is");
    assert!(cell.exists());
    victim.kill().expect("it runs");
    victim.wait().expect("it was killed");
    // In a container without an init process, the process may stay a zombie. It must not run any
    // more.
    let runs = || {
        std::fs::read_to_string(cell.join("status"))
            .is_ok_and(|status| !status.contains("State:\tZ"))
    };
    let begin = Instant::now();
    while runs() {
        assert!(begin.elapsed() < Duration::from_mins(1), "the cell goes on");
        std::thread::yield_now();
    }
}
