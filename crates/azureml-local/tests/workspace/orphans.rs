//! Process cleanup: no process outlives its job and no job runs twice, whichever processes are
//! killed.

use crate::support::{Workspace, running, until};
use azureml_wire::local::scope;
use end_to_end::{kill, wait_for};
use serde_json::{Value, json};
use std::fs;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

/// A command that leaves hidden processes before it continues with `then`: orphans in separate
/// sessions, with an empty environment, without open files, and in another folder. Their command
/// lines contain `mark`.
fn daemons(mark: &str, then: &str) -> String {
    format!(
        "setsid sh -c '(setsid sleep 1000.{mark} & ) ; sleep 1001.{mark}' & \
         (cd /; env -i setsid sleep 1002.{mark} < /dev/null > /dev/null 2>&1 & ) ; \
         sleep 1003.{mark} & {then}"
    )
}

/// A number that appears in no command line of another test.
fn mark() -> String {
    format!(
        "{}{:09}",
        std::process::id(),
        fastrand::u32(..1_000_000_000)
    )
}

fn all_there(mark: &str) {
    wait_for("all of its processes", || {
        (1000..1004)
            .all(|number| !running(&format!("sleep\0{number}.{mark}")).is_empty())
            .then_some(())
    });
}

fn none_left(mark: &str) {
    wait_for("the end of everything that the job started", || {
        running(mark).is_empty().then_some(())
    });
}

#[test]
fn processes_in_other_sessions_end_with_their_job() {
    let workspace = Workspace::start();
    let serverless = json!({ "computeId": null });
    let ends = mark();
    let gate = workspace.gate("ends");
    workspace.submit("ends", &daemons(&ends, &until(&gate)), &serverless);
    all_there(&ends);
    fs::write(&gate, "").expect("the folder is ours");
    workspace.complete("ends");
    none_left(&ends);

    let canceled = mark();
    let gate = workspace.gate("never");
    workspace.submit("canceled", &daemons(&canceled, &until(&gate)), &serverless);
    all_there(&canceled);
    workspace
        .arm("POST", "/jobs/canceled/cancel", &Value::Null)
        .expect(202);
    workspace.reach("canceled", "Canceled");
    none_left(&canceled);

    // A job that exceeds its timeout and ignores SIGTERM.
    let late = mark();
    workspace.submit(
        "late",
        &format!("trap '' TERM; {}", daemons(&late, &until(&gate))),
        &json!({ "computeId": null, "limits": { "jobLimitsType": "Command", "timeout": "PT1S" } }),
    );
    let message = workspace.fail("late");
    assert!(message.contains("longer than its limit"), "{message}");
    none_left(&late);
}

#[test]
fn a_process_that_fails_ends_others_that_do_not_listen() {
    let workspace = Workspace::start();
    let mark = mark();
    workspace.submit(
        "stubborn",
        &format!("trap '' TERM; [ $RANK = 0 ] || exit 3; while true; do sleep 0.1{mark}; done"),
        &json!({ "distribution": { "distributionType": "PyTorch", "processCountPerInstance": 2 } }),
    );
    let message = workspace.fail("stubborn");
    assert!(
        message.starts_with("the command exited with code 3 (process 1)"),
        "{message}"
    );
    none_left(&mark);
}

#[test]
fn a_process_that_is_held_back_does_nothing_when_nobody_releases_it() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let ran = folder.path().join("ran");
    let hold = |supervisor: u32| {
        Command::new(end_to_end::binary("azureml-local"))
            .args(["hold-process", &supervisor.to_string(), "--"])
            .arg(format!("echo ran > '{}'", ran.display()))
            .stdin(Stdio::piped())
            .spawn()
            .expect("it starts")
    };
    let mut closed = hold(std::process::id());
    drop(closed.stdin.take());
    assert!(!closed.wait().expect("it was ours").success());
    // The holder ends if its parent is not the expected supervisor.
    let mut lost = hold(1);
    assert!(!lost.wait().expect("it was ours").success());
    assert!(!ran.exists());

    let mut released = hold(std::process::id());
    let mut pipe = released.stdin.take().expect("a pipe");
    std::io::Write::write_all(&mut pipe, b"\n").expect("it reads");
    assert!(released.wait().expect("it was ours").success());
    assert!(ran.exists());
}

/// The roles of the processes that are killed in a round.
const ROLES: &[&[&str]] = &[
    &["supervise-job"],
    &["run-job"],
    &["run-job", "supervise-job"],
    &["serve"],
    &["serve", "supervise-job"],
    &["serve", "run-job", "supervise-job"],
    &["hold-process"],
];

#[test]
fn kills_at_any_moment_leave_no_process_and_run_no_job_twice() {
    let kills: usize = std::env::var("AZUREML_TEST_KILLS")
        .ok()
        .and_then(|kills| kills.parse().ok())
        .unwrap_or(60);
    let seed = std::env::var("AZUREML_TEST_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(|| fastrand::u64(..));
    println!("{kills} kills, AZUREML_TEST_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let workspace = Workspace::new();
    let mut server = workspace.serve(&[]);
    let mark = mark();
    let (mut done, mut started, mut round) = (0, 0, 0);
    while done < kills {
        let name = format!("round-{round}");
        round += 1;
        let runs = workspace.gate(&name);
        let then = format!("echo run >> '{}'; sleep 1004.{mark}", runs.display());
        let roles = random.choice(ROLES).expect("some");
        let command = daemons(&mark, &then);
        workspace.submit(&name, &command, &json!({ "computeId": null }));
        // A job is prepared, recorded and released within this time.
        thread::sleep(Duration::from_micros(random.u64(..120_000)));
        done += kill_some(&workspace, &name, roles, &mut server);

        let ended = finish(&workspace, &name);
        let count = fs::read_to_string(&runs).map_or(0, |runs| runs.lines().count());
        assert!(count <= 1, "{name} ran {count} times (seed {seed})");
        started += count;
        assert!(
            ["Failed", "Canceled"].contains(&ended.as_str()),
            "{name} is {ended} (seed {seed})"
        );
        none_left(&mark);
    }
    println!("{done} kills in {round} rounds, {started} jobs had started");
    kill(server.id());
    server.wait().expect("it was ours");
}

/// Kills the processes of some roles, and restarts a killed server. Returns the number of killed
/// processes.
fn kill_some(workspace: &Workspace, job: &str, roles: &[&str], server: &mut Child) -> usize {
    let folder = workspace.home().join("jobs").join(job).join("supervisor");
    let of = |role: &str| match role {
        "serve" => vec![server.id()],
        // Its command line contains the command of the job, and therefore the path of the job's
        // file.
        "hold-process" => running_all(&[role, &workspace.gate(job).display().to_string()]),
        role => running_all(&[role, &folder.display().to_string()]),
    };
    let found: Vec<u32> = roles.iter().flat_map(|role| of(role)).collect();
    for pid in &found {
        kill(*pid);
    }
    if roles.contains(&"serve") {
        server.wait().expect("it was ours");
        *server = workspace.serve(&[]);
    }
    found.len()
}

fn running_all(texts: &[&str]) -> Vec<u32> {
    let mut found = running(texts[0]);
    for text in &texts[1..] {
        let others = running(text);
        found.retain(|pid| others.contains(pid));
    }
    found
}

/// Waits for the end of a job; cancels it first in case it was not hit.
fn finish(workspace: &Workspace, name: &str) -> String {
    let path = format!("{}/cancel", scope().path(["jobs", name]));
    let asked = workspace.ask("POST", &path, &Value::Null);
    assert!([202, 409].contains(&asked.status), "{}", asked.text());
    wait_for("its end", || {
        let status = workspace.status(name);
        ["Completed", "Failed", "Canceled"]
            .contains(&status.as_str())
            .then_some(status)
    })
}

#[test]
fn a_job_whose_supervisor_was_killed_has_failed_when_the_server_sees_it() {
    let workspace = Workspace::start();
    let both: &[&str] = &["run-job", "supervise-job"];
    for (name, roles) in [
        ("first", &both[..1]),
        ("second", &both[1..]),
        ("third", both),
    ] {
        let mark = mark();
        let gate = workspace.gate("never");
        workspace.submit(name, &daemons(&mark, &until(&gate)), &json!({}));
        workspace.reach(name, "Running");
        all_there(&mark);
        let folder = workspace.home().join("jobs").join(name);
        let of = |role: &&str| running_all(&[role, &folder.display().to_string()]);
        let found: Vec<u32> = roles.iter().flat_map(of).collect();
        assert_eq!(found.len(), roles.len(), "{found:?}");
        // All processes are stopped before the kill, so that none can react to the end of another.
        for signal in ["-STOP", "-KILL"] {
            let mut kill = Command::new("kill");
            kill.arg(signal).args(found.iter().map(u32::to_string));
            assert!(kill.status().expect("it runs").success());
        }
        let message = workspace.fail(name);
        assert!(
            message.contains("watched over the job was killed"),
            "{message}"
        );
        assert!(message.contains("\nhint: "), "{message}");
        none_left(&mark);
        wait_for("the end of its folder", || (!folder.exists()).then_some(()));
    }
}
