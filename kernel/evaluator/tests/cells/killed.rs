//! The kernel is killed: nothing of it stays.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use azureml_kernel_evaluator::{Engine, Event, Events};

use crate::support::{OwnCheck, start};

pub const CHECKS: &[OwnCheck] = &[(
    "a_killed_kernel_leaves_nothing_behind",
    a_killed_kernel_leaves_nothing_behind,
)];

/// Set in the process that plays the kernel which is killed: its cache.
const VICTIM: &str = "CELLS_VICTIM_CACHE";

/// And its engine, unless that is the default.
const VICTIM_ENGINE: &str = "AZUREML_KERNEL_ENGINE";

/// Prints what a cell writes to where the check reads it.
struct Printer;

impl Events for Printer {
    fn emit(&self, event: Event) {
        if let Event::Stdout(text) = event {
            print!("{text}");
        }
    }
}

/// Plays the kernel that is killed, when the environment says so.
pub fn play_victim() {
    if let Some(cache) = std::env::var_os(VICTIM) {
        let mut evaluator = start(Engine::from_environment(), Path::new(&cache));
        let code = r#"println!("cell {}", std::process::id()); loop { std::thread::park(); }"#;
        evaluator.execute(code, &Printer);
        std::process::exit(1);
    }
}

fn a_killed_kernel_leaves_nothing_behind(engine: Engine, cache: &Path) {
    let temporary = tempfile::tempdir().expect("a temporary folder");
    kill_one(engine, cache, temporary.path());
    let left = folders(temporary.path());
    assert_eq!(left.len(), 1, "{left:?}");
    // The next kernel tidies up, and is killed in turn.
    kill_one(engine, cache, temporary.path());
    let new = folders(temporary.path());
    assert_eq!(new.len(), 1, "{new:?}");
    assert_ne!(new, left);
}

/// What lies in a folder.
fn folders(parent: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(parent).expect("it is there");
    entries.flatten().map(|entry| entry.path()).collect()
}

/// Starts a kernel with these temporary files, kills it while a cell runs, and waits until the cell has gone too.
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
    // In a container nobody may collect it, but it must not run any more.
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
