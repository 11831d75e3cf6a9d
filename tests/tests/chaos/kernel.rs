//! Kills kernels and their cell processes at random moments while Jupyter's own client runs cells.

use crate::processes::{Process, Role, marked};
use end_to_end::LocalWorkspace;
use end_to_end::notebook::{Cell, Notebook};
use fastrand::Rng;
use std::collections::BTreeMap;
use std::env::current_dir;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

/// The last statement of a cell, after it has started programs, two of them in separate sessions.
const THEN: [&str; 3] = [
    "loop { std::thread::park() }",
    "loop { println!(\"{}\", \"more \".repeat(100)) }",
    "loop { std::hint::spin_loop() }",
];

/// The programs of a killed kernel must end within this time.
const SOON: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Victim {
    Kernel,
    Cell,
}

/// An event in the execution of a cell.
enum Moment {
    /// The cell runs and has started its programs.
    Runs,
    /// The client has received the cell's reply.
    Ended,
}

/// Runs cells until at least `most` kills; returns the number of kills per kind, and the faults.
pub fn chaos(
    most: usize,
    rng: &mut Rng,
    mark: &str,
) -> (BTreeMap<&'static str, usize>, Vec<String>) {
    // No local workspace is started in this folder.
    let workspace = LocalWorkspace::new();
    let folder = current_dir().expect("the client has a folder");
    let mut notebook = Notebook::start(&folder, &workspace);
    let (mut kills, mut faults) = (BTreeMap::new(), Vec::new());
    while kills.values().sum::<usize>() < most {
        let victim = if rng.u8(..3) == 0 {
            Victim::Kernel
        } else {
            Victim::Cell
        };
        let then = THEN[rng.usize(..THEN.len())];
        let (cell, count) = kill_while_it_runs(&mut notebook, victim, then, rng, mark);
        let verdict = match victim {
            Victim::Kernel => {
                *kills.entry("kernel").or_default() += count;
                let verdict = after_the_kernel(&cell, mark);
                notebook.restart();
                verdict
            }
            Victim::Cell => {
                *kills.entry("cell process").or_default() += count;
                after_the_cell_process(&cell)
            }
        };
        let goes_on = runs_the_next_cell(&mut notebook, victim);
        if let Err(reason) = verdict.and(goes_on) {
            let shown = cell.stdout.lines().next().unwrap_or_default();
            println!(
                "fault: {count} kills of a {victim:?} in `{then}`, which has shown {shown:?}: {reason}"
            );
            faults.push(reason);
        }
    }
    drop(notebook);
    if let Err(reason) = all_gone(mark) {
        faults.push(format!("at the end, {reason}"));
    }
    (kills, faults)
}

/// Runs a cell that never ends and kills the victim: at once, during compilation, or during
/// execution.
fn kill_while_it_runs(
    notebook: &mut Notebook,
    victim: Victim,
    then: &str,
    rng: &mut Rng,
    mark: &str,
) -> (Cell, usize) {
    let code = format!(
        "for script in [\"sleep 1000\", \"setsid sleep 1000\", \"setsid sh -c 'sleep 1000 & sleep 1000' & sleep 1000\"] {{
             std::process::Command::new(\"sh\").args([\"-c\", script]).spawn().unwrap();
         }}
         println!(\"ready\");
         {then}"
    );
    let wait = rng.bool().then(|| Duration::from_millis(rng.u64(..1500)));
    let pause = Duration::from_millis(rng.u64(..50));
    let kernel = notebook.kernel();
    let (send, moments) = mpsc::channel();
    thread::scope(|scope| {
        let killer = scope.spawn(move || {
            let find = || find(mark, victim, kernel);
            kill(&moments, wait, pause, find)
        });
        let mut runs = false;
        let cell = notebook.execute_watched(&code, |cell| {
            if !runs && cell.stdout.contains("ready\n") {
                runs = true;
                let _ = send.send(Moment::Runs);
            }
        });
        // The killer may have ended already.
        let _ = send.send(Moment::Ended);
        let count = killer.join().expect("it does not panic");
        (cell, count)
    })
}

/// Kills the process that `find` returns, after `wait` or when the cell runs. Kills again if the
/// cell runs in a new process.
fn kill(
    moments: &Receiver<Moment>,
    wait: Option<Duration>,
    pause: Duration,
    find: impl Fn() -> Option<Process>,
) -> usize {
    let mut count = 0;
    let mut wait = wait;
    loop {
        let moment = match wait.take() {
            Some(wait) => moments.recv_timeout(wait).ok(),
            None => moments.recv().ok(),
        };
        if matches!(moment, Some(Moment::Ended)) {
            return count;
        }
        if moment.is_some() {
            thread::sleep(pause);
        }
        if let Some(victim) = find() {
            victim.kill();
            count += 1;
        }
    }
}

fn find(mark: &str, victim: Victim, kernel: u32) -> Option<Process> {
    marked(mark).into_iter().find(|process| match victim {
        Victim::Kernel => process.pid == kernel,
        Victim::Cell => process.role == Role::Cell,
    })
}

fn after_the_kernel(cell: &Cell, mark: &str) -> Result<(), String> {
    if cell.status != "died" {
        return Err(format!(
            "the cell ended as {}: {}",
            cell.status,
            cell.traceback()
        ));
    }
    all_gone(mark)
}

fn after_the_cell_process(cell: &Cell) -> Result<(), String> {
    let traceback = cell.traceback();
    if cell.status == "error" && traceback.contains("SIGKILL") {
        Ok(())
    } else {
        Err(format!("the cell ended as {}: {traceback}", cell.status))
    }
}

/// Runs a cell that must succeed. If the kill came after the end of the previous cell, this cell
/// reports it.
fn runs_the_next_cell(notebook: &mut Notebook, victim: Victim) -> Result<(), String> {
    let mut next = notebook.execute("20 + 22");
    if victim == Victim::Cell && after_the_cell_process(&next).is_ok() {
        next = notebook.execute("20 + 22");
    }
    if next.text() == "42" {
        Ok(())
    } else {
        let traceback = next.traceback();
        Err(format!(
            "the next cell ended as {}: {traceback}",
            next.status
        ))
    }
}

/// Checks that only Jupyter's client is left.
fn all_gone(mark: &str) -> Result<(), String> {
    let start = Instant::now();
    loop {
        let left: Vec<String> = marked(mark)
            .iter()
            .filter(|process| process.role != Role::Driver)
            .map(Process::describe)
            .collect();
        if left.is_empty() {
            return Ok(());
        }
        if start.elapsed() > SOON {
            return Err(format!("these are left: {}", left.join("; ")));
        }
        thread::sleep(Duration::from_millis(10));
    }
}
