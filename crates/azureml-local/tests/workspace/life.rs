//! Restarts and kills of the server, its supervisors and its store.

use crate::support::{Workspace, ask, try_ask, until};
use azureml_wire::local::scope;
use end_to_end::{alive, binary, kill, wait_for};
use serde_json::{Value, json};
use std::fs;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

#[test]
fn a_killed_server_forgets_nothing_and_follows_its_jobs() {
    let mut workspace = Workspace::start();
    let gate = workspace.gate("gate");
    workspace.submit(
        "outlives",
        &format!(
            "echo begun; mkdir -p outputs; echo o > outputs/o.txt; {}; echo ended; exit 0",
            until(&gate)
        ),
        &json!({}),
    );
    workspace.submit(
        "fails-later",
        &format!("{}; exit 3", until(&gate)),
        &json!({}),
    );
    workspace.submit("waits", "echo waited", &json!({}));
    let queued = json!({ "computeId": scope().path(["computes", "cpu-cluster"]) });
    workspace.submit("canceled", "true", &queued);
    workspace.reach("outlives", "Running");
    workspace.reach("fails-later", "Running");
    let token = workspace.token();
    let url = workspace.url();
    let code = workspace.code("22222222-2222-2222-2222-222222222222", "bb", &[("a", "b")]);
    workspace.kill();

    let mut server = workspace.serve(&[]);
    // The server keeps its port, because processes of jobs have its URL.
    assert_eq!(workspace.url(), url);
    assert_ne!(workspace.token(), token);
    workspace
        .ask_as(&token, "GET", &scope().to_string(), &Value::Null)
        .expect(401);
    assert_eq!(workspace.status("outlives"), "Running");
    assert_eq!(workspace.status("waits"), "Queued");
    let nodes = workspace.get("/computes/cpu-cluster");
    assert_eq!(
        nodes["properties"]["properties"]["nodeStateCounts"]["runningNodeCount"],
        2
    );
    let by_hash = workspace.get("/codes/x/versions?hash=bb&hashVersion=202208");
    assert_eq!(by_hash["value"][0]["id"], code);

    fs::write(&gate, "").expect("the folder is ours");
    workspace.complete("outlives");
    assert_eq!(workspace.log("outlives"), "begun\nended\n");
    assert_eq!(
        workspace.path("outlives"),
        ["Queued", "Preparing", "Running", "Finalizing", "Completed"]
    );
    assert!(
        workspace
            .artifacts("outlives")
            .contains(&"outputs/o.txt".to_owned())
    );
    assert!(
        workspace
            .fail("fails-later")
            .starts_with("the command exited with code 3")
    );
    workspace.complete("waits");

    // A job that ends while no server runs is completed by the next server.
    fs::remove_file(&gate).expect("it is there");
    workspace.submit(
        "alone",
        &format!("{}; echo alone", until(&gate)),
        &json!({}),
    );
    workspace.reach("alone", "Running");
    let supervisor = supervisor(&workspace, "alone");
    kill(server.id());
    server.wait().expect("it was ours");
    fs::write(&gate, "").expect("the folder is ours");
    wait_for("the end of the job", || (!alive(supervisor)).then_some(()));
    let mut server = workspace.serve(&[]);
    workspace.complete("alone");
    assert_eq!(workspace.log("alone"), "alone\n");
    kill(server.id());
    server.wait().expect("it was ours");
}

#[test]
fn what_was_acknowledged_is_there_after_a_kill() {
    let mut workspace = Workspace::start();
    let experiment = json!({ "experiment_id": "0" });
    let created = workspace
        .ask("POST", &scope().mlflow("runs/create"), &experiment)
        .expect(200)
        .json();
    let run = created["run"]["info"]["run_id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let (uri, query) = workspace.container();
    let acknowledged = Arc::new(AtomicUsize::new(0));
    let writer = {
        let (acknowledged, run, url) = (Arc::clone(&acknowledged), run.clone(), workspace.url());
        let (uri, query) = (uri.clone(), query.clone());
        let bearer = format!("Bearer {}", workspace.token());
        thread::spawn(move || {
            for step in 0.. {
                let metric = json!({ "run_id": run, "key": "m", "value": 1.0, "timestamp": 1, "step": step });
                let metric = try_ask(
                    "POST",
                    &format!("{url}{}", scope().mlflow("runs/log-metric")),
                    &[
                        ("Authorization", &bearer),
                        ("Content-Type", "application/json"),
                    ],
                    metric.to_string().as_bytes(),
                );
                let blob = try_ask("PUT", &format!("{uri}/{step}?{query}"), &[], &content(step));
                match (metric, blob) {
                    (Ok(metric), Ok(blob)) => {
                        assert_eq!((metric.status, blob.status), (200, 201));
                        acknowledged.store(step + 1, Ordering::SeqCst);
                    }
                    _ => return,
                }
            }
        })
    };
    wait_for("some writes", || {
        (acknowledged.load(Ordering::SeqCst) >= 20).then_some(())
    });
    workspace.kill();
    writer.join().expect("every answer was a good one");
    let acknowledged = acknowledged.load(Ordering::SeqCst);

    let mut server = workspace.serve(&[]);
    let history = workspace
        .ask(
            "GET",
            &format!(
                "{}?run_id={run}&metric_key=m",
                scope().mlflow("metrics/get-history")
            ),
            &Value::Null,
        )
        .expect(200)
        .json();
    let steps: Vec<u64> = history["metrics"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|metric| metric["step"].as_u64())
        .collect();
    assert!(
        steps.len() >= acknowledged,
        "{} of {acknowledged}",
        steps.len()
    );
    assert!(steps.iter().copied().eq(0..steps.len() as u64), "{steps:?}");
    // The last blob may exist without an acknowledgement, but never in part.
    for step in 0..=acknowledged {
        let blob = ask("GET", &format!("{uri}/{step}?{query}"), &[], &[]);
        assert!(
            blob.status == 200 || step == acknowledged,
            "{step}: {}",
            blob.status
        );
        assert!(blob.status != 200 || blob.body == content(step), "{step}");
    }
    kill(server.id());
    server.wait().expect("it was ours");
}

/// Content that is long enough to be written in several parts.
fn content(step: usize) -> Vec<u8> {
    vec![step as u8; 300_000]
}

/// The pid of a job's supervisor.
fn supervisor(workspace: &Workspace, job: &str) -> u32 {
    let path = workspace
        .home()
        .join(format!("jobs/{job}/supervisor/started.json"));
    wait_for("the supervisor's word", || {
        let started: Value = serde_json::from_slice(&fs::read(&path).ok()?).ok()?;
        started["supervisor"].as_u64().map(|pid| pid as u32)
    })
}

#[test]
fn a_job_whose_supervisor_is_killed_fails_and_leaves_nothing_running() {
    let mut workspace = Workspace::start();
    workspace.submit(
        "orphan",
        "echo $$; while true; do sleep 0.05; done",
        &json!({}),
    );
    workspace.submit(
        "orphan-too",
        "echo $$; while true; do sleep 0.05; done",
        &json!({}),
    );
    let pid = |name: &str| {
        wait_for("the job's word", || {
            workspace.log(name).trim().parse::<u32>().ok()
        })
    };
    let (first, second) = (pid("orphan"), pid("orphan-too"));
    kill(supervisor(&workspace, "orphan"));
    let message = workspace.fail("orphan");
    assert!(
        message.contains("watched over the job was killed"),
        "{message}"
    );
    assert!(message.contains("hint: submit it again"), "{message}");
    wait_for("the end of what it ran", || (!alive(first)).then_some(()));

    // The same if no server runs when the supervisor is killed.
    let watched = supervisor(&workspace, "orphan-too");
    workspace.kill();
    kill(watched);
    wait_for("the supervisor's end", || (!alive(watched)).then_some(()));
    let mut server = workspace.serve(&[]);
    let message = workspace.fail("orphan-too");
    assert!(
        message.contains("watched over the job was killed"),
        "{message}"
    );
    wait_for("the end of what it ran", || (!alive(second)).then_some(()));
    kill(server.id());
    server.wait().expect("it was ours");
}

#[test]
fn nothing_runs_on_when_the_whole_folder_is_removed() {
    let workspace = Workspace::start();
    workspace.submit(
        "left",
        "echo $$; while true; do sleep 0.05; done",
        &json!({}),
    );
    let pid = wait_for("the job's word", || {
        workspace.log("left").trim().parse::<u32>().ok()
    });
    let watched = supervisor(&workspace, "left");
    drop(workspace);
    wait_for("the end of the job", || (!alive(pid)).then_some(()));
    wait_for("the supervisor's end", || (!alive(watched)).then_some(()));
}

#[test]
fn a_job_that_was_being_prepared_is_prepared_again() {
    let mut workspace = Workspace::start();
    workspace.submit(
        "again",
        "echo ran",
        &json!({ "computeId": scope().path(["computes", "ci-aml-workshop"]) }),
    );
    workspace.complete("again");
    workspace
        .arm("POST", "/computes/ci-aml-workshop/stop", &Value::Null)
        .expect(202);
    workspace.submit(
        "half",
        "cat left 2>/dev/null; echo ran",
        &json!({ "computeId": scope().path(["computes", "ci-aml-workshop"]) }),
    );
    workspace.kill();
    // The files of an interrupted preparation.
    let left = workspace.home().join("jobs/half/wd");
    fs::create_dir_all(&left).expect("the folder is ours");
    fs::write(left.join("left"), "left\n").expect("the folder is ours");
    let mut server = workspace.serve(&[]);
    workspace
        .arm("POST", "/computes/ci-aml-workshop/start", &Value::Null)
        .expect(202);
    workspace.complete("half");
    assert_eq!(workspace.log("half"), "ran\n");
    kill(server.id());
    server.wait().expect("it was ours");
}

#[test]
fn of_two_servers_one_wins_and_the_other_says_so() {
    let workspace = Workspace::start();
    let mut command = Command::new(binary("azureml-local"));
    workspace.apply(&mut command);
    let loser = command.arg("serve").output().expect("it starts");
    assert_eq!(loser.status.code(), Some(3));
    let said = String::from_utf8_lossy(&loser.stderr);
    assert!(
        said.starts_with("error: a local workspace is already running in "),
        "{said}"
    );
    assert!(said.contains("\nhint: "), "{said}");
    // The first server still responds.
    workspace.get("");

    // Of several concurrent starts, exactly one server runs.
    let race = Workspace::new();
    let mut racers: Vec<_> = (0..6)
        .map(|_| {
            let mut command = Command::new(binary("azureml-local"));
            race.apply(&mut command);
            command
                .arg("serve")
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("it starts")
        })
        .collect();
    let winner = wait_for("server.json", || race.server()).pid;
    for racer in &mut racers {
        if racer.id() != winner {
            assert_eq!(racer.wait().expect("it was ours").code(), Some(3));
        }
    }
    race.get("");
    kill(winner);
    for mut racer in racers {
        racer.wait().expect("it was ours");
    }
}

#[test]
fn it_ends_properly_when_asked_and_when_nobody_needs_it() {
    let workspace = Workspace::new();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(binary("azureml-local"));
        workspace.apply(&mut command);
        command.args(arguments).output().expect("it starts")
    };
    assert_eq!(run(&["status"]).status.code(), Some(4));
    let mut server = workspace.serve(&[]);
    let status = run(&["status"]);
    assert!(status.status.success());
    let said = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(said.contains(&workspace.url()), "{said}");
    assert!(!said.contains(&workspace.token()), "{said}");
    let gate = workspace.gate("gate");
    workspace.submit(
        "goes-on",
        &format!("echo a; {}; echo b", until(&gate)),
        &json!({}),
    );
    workspace.reach("goes-on", "Running");
    assert!(run(&["stop"]).status.success());
    assert!(server.wait().expect("it was ours").success());
    assert!(workspace.server().is_none());

    // The server ignores the idle timeout while a job exists, and ends afterwards.
    let mut command = Command::new(binary("azureml-local"));
    workspace.apply(&mut command);
    let mut server = command
        .args(["serve", "--idle-timeout", "1"])
        .spawn()
        .expect("it starts");
    wait_for("server.json", || workspace.server());
    assert_eq!(workspace.status("goes-on"), "Running");
    fs::write(&gate, "").expect("the folder is ours");
    assert!(server.wait().expect("it was ours").success());
    assert!(workspace.server().is_none());
    let log = fs::read_to_string(workspace.home().join("server.log")).expect("a log");
    assert!(log.contains("nobody needs it"), "{log}");
    let ended = log
        .find("job=\"goes-on\" status=Completed")
        .expect("it ended");
    assert!(ended < log.rfind("nobody needs it").expect("checked above"));

    let mut server = workspace.serve(&[]);
    assert_eq!(workspace.status("goes-on"), "Completed");
    assert_eq!(workspace.log("goes-on"), "a\nb\n");
    kill(server.id());
    server.wait().expect("it was ours");
}

#[test]
fn a_damaged_store_and_a_folder_that_is_none_are_clear_errors() {
    let workspace = Workspace::new();
    fs::write(
        workspace.home().join("workspace.db"),
        "this is no database, ".repeat(99),
    )
    .expect("the folder is ours");
    let mut command = Command::new(binary("azureml-local"));
    workspace.apply(&mut command);
    let output = command.arg("serve").output().expect("it starts");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("damaged") && said.contains("\nhint: "),
        "{said}"
    );

    let mut command = Command::new(binary("azureml-local"));
    let output = command
        .args(["serve", "--home", "/dev/null/x"])
        .output()
        .expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("/dev/null/x cannot be used") && said.contains("\nhint: "),
        "{said}"
    );
}

#[test]
fn nobody_else_can_look_into_its_folder() {
    use std::os::unix::fs::PermissionsExt;
    let mode = |path: &std::path::Path| {
        let metadata = fs::metadata(path).expect("it is there");
        metadata.permissions().mode() & 0o7777
    };
    let workspace = Workspace::new();
    // The permissions of a folder from `mkdir`.
    let open = fs::Permissions::from_mode(0o755);
    fs::set_permissions(workspace.home(), open).expect("the folder is ours");
    let mut server = workspace.serve(&[]);
    assert_eq!(mode(workspace.home()), 0o700);
    let gate = workspace.gate("gate");
    workspace.submit("held", &until(&gate), &json!({}));
    workspace.reach("held", "Running");
    for secret in [
        "workspace.db",
        "workspace.db-wal",
        "server.json",
        "key",
        "jobs/held/supervisor/spec.json",
    ] {
        assert_eq!(mode(&workspace.home().join(secret)), 0o600, "{secret}");
    }
    fs::write(&gate, "").expect("the folder is ours");
    workspace.complete("held");
    kill(server.id());
    server.wait().expect("it was ours");

    // A shared folder is rejected and keeps its permissions.
    let shared = tempfile::tempdir().expect("a folder can be made");
    fs::set_permissions(shared.path(), fs::Permissions::from_mode(0o1777))
        .expect("the folder is ours");
    let mut command = Command::new(binary("azureml-local"));
    let output = command
        .args(["serve", "--home"])
        .arg(shared.path())
        .output()
        .expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("is shared with other users\nhint: "),
        "{said}"
    );
    assert_eq!(mode(shared.path()), 0o1777);
}

#[test]
fn a_file_that_may_not_grow_is_an_error_and_not_the_end() {
    let workspace = Workspace::new();
    let mut command = Command::new("sh");
    workspace.apply(&mut command);
    // The store needs some space itself; the upload exceeds the limit.
    let mut server = command
        .arg("-c")
        .arg("ulimit -f 4096; exec \"$0\" serve")
        .arg(binary("azureml-local"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    wait_for("server.json", || workspace.server());
    let (uri, query) = workspace.container();
    let large = vec![0; 4 << 20];
    let refused = crate::support::put_blob(&format!("{uri}/large?{query}"), &large).expect(507);
    assert!(refused.text().contains("hint: "), "{}", refused.text());
    crate::support::ask("HEAD", &format!("{uri}/large?{query}"), &[], &[]).expect(404);
    crate::support::put_blob(&format!("{uri}/small?{query}"), b"fits").expect(201);
    kill(server.id());
    server.wait().expect("it was ours");
    let left = fs::read_dir(workspace.home().join("tmp"))
        .expect("a folder")
        .count();
    assert_eq!(left, 0);
}
