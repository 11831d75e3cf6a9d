//! Chaos test: `kill -9` of every kind of process of the local workspace and the kernel, at random
//! moments.
//!
//! Clients keep a journal of acknowledged effects. At the end the journal is compared with the
//! workspace: nothing is lost, duplicated or truncated, no job has run twice or hangs, and no
//! process is left. A normal run kills 60 times; `cargo xtask test --long chaos` at least 1,000
//! times.

mod blobs;
mod http;
mod job;
mod jobs;
mod journal;
mod kernel;
mod killer;
mod processes;
mod run;
mod runs;

use azureml_wire::local;
use end_to_end::{LocalWorkspace, as_client, binary, is_long, seed};
use fastrand::Rng;
use http::Service;
use journal::Journal;
use killer::Killer;
use processes::{MARK, Process, Role, marked};
use rusqlite::{Connection, OpenFlags};
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

/// Clients that submit jobs by REST.
const SUBMITTERS: usize = 5;

/// Clients that log metrics, and clients that upload blobs.
const WRITERS: usize = 2;

#[test]
fn chaos_of_kills_loses_nothing_of_a_local_workspace() {
    let workspace = LocalWorkspace::new();
    let mark = workspace.home().display().to_string();
    let printed = as_client(
        "chaos_of_kills_loses_nothing_of_a_local_workspace",
        |command| {
            workspace.apply(command);
            // No trace: a server that is killed while it records leaves an incomplete line.
            command.env_remove(local::env::TRACE).env(MARK, mark);
        },
    );
    match printed {
        Some(printed) => show(&printed),
        None => lose_nothing(),
    }
}

#[test]
fn chaos_of_kills_leaves_nothing_of_a_kernel() {
    let jupyter = tempfile::tempdir().expect("a temporary folder can be made");
    let prefix = jupyter.path();
    let printed = as_client("chaos_of_kills_leaves_nothing_of_a_kernel", |command| {
        let installed = Command::new(binary("azureml-kernel"))
            .args(["install", "--no-crates", "--prefix"])
            .arg(prefix)
            .output()
            .expect("the kernel's binary starts");
        assert!(installed.status.success(), "{installed:?}");
        command
            .env("JUPYTER_PATH", prefix.join("share/jupyter"))
            .env("XDG_STATE_HOME", prefix.join("state"))
            .env("AZUREML_KERNEL_CACHE", env!("CARGO_TARGET_TMPDIR"))
            .env(MARK, prefix);
    });
    match printed {
        Some(printed) => show(&printed),
        None => leave_nothing(),
    }
}

fn leave_nothing() {
    let mark = Marked(std::env::var(MARK).expect("the test sets it"));
    let mut rng = Rng::with_seed(seed());
    let most = if is_long() { 120 } else { 15 };
    let begun = Instant::now();
    let (kills, faults) = kernel::chaos(most, &mut rng, &mark.0);
    println!(
        "{} kills in {:.0} s: {kills:?}\n{} faults",
        kills.values().sum::<usize>(),
        begun.elapsed().as_secs_f64(),
        faults.len()
    );
    assert!(faults.is_empty(), "there were faults");
}

/// Prints the client's output without the lines of the test harness.
fn show(printed: &str) {
    let lines = printed.lines().filter(|line| !line.is_empty());
    lines
        .filter(|line| !line.starts_with("test ") && !line.starts_with("running "))
        .for_each(|line| println!("{line}"));
}

/// Ends all processes that a failed test leaves.
struct Marked(String);

impl Drop for Marked {
    fn drop(&mut self) {
        marked(&self.0).iter().for_each(Process::kill);
    }
}

fn lose_nothing() {
    let mark = Marked(std::env::var(MARK).expect("the test sets it"));
    let home = std::env::var_os(local::env::HOME).expect("the test sets it");
    let service = Service::new(PathBuf::from(home));
    let journal = Journal::default();
    let mut rng = Rng::with_seed(seed());
    let most = if is_long() { 900 } else { 45 };
    let begun = Instant::now();

    let mut killer = Killer::new(&service, &journal, &mark.0, rng.fork());
    killer.start();
    jobs::make_cluster(&service, &journal);
    thread::scope(|scope| {
        let (service, journal, mark) = (&service, &journal, mark.0.as_str());
        for client in 0..SUBMITTERS {
            let rng = rng.fork();
            scope.spawn(move || jobs::submit(service, journal, client, rng, mark));
        }
        let sdk = rng.fork();
        scope.spawn(move || jobs::submit_by_sdk(journal, sdk, mark));
        for client in 0..WRITERS {
            let (log, upload, read) = (rng.fork(), rng.fork(), rng.fork());
            scope.spawn(move || runs::log(service, journal, log));
            scope.spawn(move || blobs::upload(service, journal, client, upload));
            scope.spawn(move || blobs::read_along(service, journal, read));
        }
        while killer.total() < most {
            killer.kill();
        }
        killer.start();
        journal.end();
    });
    let took = begun.elapsed();
    no_process_of_a_job_is_left(&journal, &mark.0);
    killer.kill_server();
    the_store_is_whole(&service, &journal);
    killer.start();
    jobs::verify(&service, &journal);
    runs::verify(&service, &journal);
    blobs::verify(&service, &journal);
    killer.kill_server();
    report(&killer, &journal, took);
    assert!(journal.state().faults.is_empty(), "there were faults");
}

/// After all jobs have ended, none of their processes runs.
fn no_process_of_a_job_is_left(journal: &Journal, mark: &str) {
    let left = || {
        let mut left = marked(mark);
        left.retain(|process| process.role != Role::Other);
        left
    };
    let start = Instant::now();
    while !left().is_empty() && start.elapsed() < Duration::from_secs(10) {
        thread::yield_now();
    }
    for process in left() {
        journal.fault(format!("left running: {}", process.describe()));
    }
}

/// `SQLite`'s integrity check of the store, in its state after the last kill.
fn the_store_is_whole(service: &Service, journal: &Journal) {
    let path = service.home().join("workspace.db");
    let check = || -> rusqlite::Result<(String, i64)> {
        let store = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        let whole = store.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
        let query = "SELECT COUNT(*) FROM pragma_foreign_key_check";
        Ok((whole, store.query_row(query, [], |row| row.get(0))?))
    };
    match check() {
        Ok((whole, 0)) if whole == "ok" => {}
        found => journal.fault(format!("the store is damaged: {found:?}")),
    }
}

fn report(killer: &Killer<'_>, journal: &Journal, took: Duration) {
    let state = journal.state();
    println!(
        "{} kills in {:.0} s: {:?}\n{} operations: {} jobs ({} hit), {} runs, {} blobs, {} code assets\n{} faults",
        killer.total(),
        took.as_secs_f64(),
        killer.kills,
        state.acknowledged,
        state.jobs.len(),
        state.hit.len(),
        state.runs.len(),
        state.blobs.len(),
        state.codes.len(),
        state.faults.len(),
    );
}
