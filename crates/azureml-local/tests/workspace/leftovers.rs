//! Job outputs that are nested very deeply, unreadable, or in conflict with existing files.

use crate::support::{Workspace, until};
use azureml_wire::local::scope;
use end_to_end::{binary, wait_for};
use rustix::fs::{Mode, OFlags};
use serde_json::json;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// Creates `count` nested folders.
fn nest(folder: &Path, count: usize) {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let mut here: OwnedFd =
        rustix::fs::open(folder, flags, Mode::empty()).expect("the folder is there");
    for _ in 0..count {
        rustix::fs::mkdirat(&here, "d", Mode::RWXU).expect("room");
        here = rustix::fs::openat(&here, "d", flags, Mode::empty()).expect("it is there");
    }
}

#[test]
fn endless_outputs_by_links_to_themselves_end_the_job() {
    let workspace = Workspace::start();
    workspace.submit(
        "links",
        "mkdir -p outputs/a; ln -s . outputs/one; ln -s . outputs/two; ln -s .. outputs/a/up; ln -s ../outputs outputs/again; \
         ln -s \"$PWD\" outputs/absolute; echo f > outputs/file; echo g > outputs/a/g",
        &json!({}),
    );
    let details = workspace.complete("links");
    assert_eq!(
        workspace.artifacts("links"),
        ["outputs/a/g", "outputs/file", "user_logs/std_log.txt"]
    );
    for said in [details["warnings"].to_string(), workspace.log("links")] {
        for link in ["one", "two", "a/up", "again", "absolute"] {
            let line =
                format!("outputs/{link} was not kept: it is a link to a folder that holds it");
            assert!(said.contains(&line), "{line} in {said}");
        }
    }
}

#[test]
fn endless_outputs_by_links_that_multiply_end_the_job() {
    let workspace = Workspace::start();
    let levels = (0..30).map(|level| {
        let next = level + 1;
        format!("mkdir outputs/l{level}; ln -s ../l{next} outputs/l{level}/x; ln -s ../l{next} outputs/l{level}/y")
    });
    let last = "mkdir outputs/l30; echo f > outputs/l30/f".to_owned();
    let command: Vec<String> = levels.chain([last]).collect();
    let command = command.join("; ");
    workspace.submit("many", &command, &json!({}));
    let details = workspace.complete("many");
    assert!(
        workspace
            .artifacts("many")
            .contains(&"outputs/l30/f".to_owned())
    );
    let warnings = details["warnings"].to_string();
    assert!(
        warnings.contains("too many files are reached by way of links"),
        "{warnings}"
    );
}

#[test]
fn endless_depth_ends_neither_the_server_nor_the_job() {
    let workspace = Workspace::new();
    // Some disks take milliseconds to remove a folder.
    let quick = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
    let quick = quick.expect("a folder");
    symlink(quick.path(), workspace.home().join("jobs")).expect("a link");
    let mut server = workspace.serve(&[]);
    let gate = workspace.gate("gate");
    let command = format!("mkdir -p outputs; echo f > outputs/file; {}", until(&gate));
    workspace.submit("deep", &command, &json!({}));
    let outputs = workspace.home().join("jobs/deep/wd/outputs");
    wait_for("its outputs", || {
        outputs.join("file").is_file().then_some(())
    });
    nest(&outputs, 40_000);
    // Pages and listings walk the folder, too.
    assert!(
        workspace
            .artifacts("deep")
            .contains(&"outputs/file".to_owned())
    );
    let mark = fs::read(workspace.home().join("jobs/deep/.azureml-local.mark"));
    fs::write(&gate, "").expect("the folder is ours");
    let details = workspace.complete("deep");
    let warnings = details["warnings"].to_string();
    assert!(warnings.contains("no blob can have its name"), "{warnings}");
    assert!(workspace.log("deep").contains("no blob can have its name"));
    assert_eq!(
        workspace.artifacts("deep"),
        ["outputs/file", "user_logs/std_log.txt"]
    );
    wait_for("the job's folder to go", || {
        (!workspace.home().join("jobs/deep").exists()).then_some(())
    });
    server.kill().expect("it runs");
    server.wait().expect("it has ended");

    // The state that a killed server leaves.
    let left = workspace.home().join("jobs/deep");
    fs::create_dir(&left).expect("room");
    if let Ok(mark) = mark {
        fs::write(left.join(".azureml-local.mark"), mark).expect("room");
    }
    nest(&left, 40_000);
    let mut server = workspace.serve(&[]);
    wait_for("what was left to go", || (!left.exists()).then_some(()));
    server.kill().expect("it runs");
    server.wait().expect("it has ended");
}

#[test]
fn unreadable_outputs_are_left_out_and_the_rest_is_kept() {
    let workspace = Workspace::new();
    let mut command = Command::new(binary("azureml-local"));
    workspace.apply(&mut command);
    if rustix::process::geteuid().is_root() {
        // Root can read every file, so the test runs the server as another user.
        let program = workspace.home().join("program");
        fs::copy(binary("azureml-local"), &program).expect("room");
        command = Command::new(program);
        workspace.apply(&mut command);
        chown(workspace.home(), Some(65534), Some(65534)).expect("root may");
        command.uid(65534).gid(65534);
    }
    let mut server = command
        .arg("serve")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .expect("azureml-local starts");
    wait_for("server.json", || workspace.server());
    workspace.submit(
        "closed",
        "mkdir -p outputs/closed outputs/open logs/closed; echo c > outputs/closed/c; echo o > outputs/open/o; \
         echo s > outputs/secret; chmod 000 outputs/closed outputs/secret logs/closed",
        &json!({}),
    );
    let details = workspace.complete("closed");
    assert_eq!(
        workspace.artifacts("closed"),
        ["outputs/open/o", "user_logs/std_log.txt"]
    );
    for said in [details["warnings"].to_string(), workspace.log("closed")] {
        for path in ["outputs/closed", "outputs/secret", "logs/closed"] {
            let line = format!("{path} was not kept: it may not be read");
            assert!(said.contains(&line), "{line} in {said}");
        }
    }
    wait_for("the job's folder to go", || {
        (!workspace.home().join("jobs/closed").exists()).then_some(())
    });
    server.kill().expect("it runs");
    server.wait().expect("it has ended");
}

#[test]
fn file_or_folder_in_the_way_is_named_and_the_rest_is_kept() {
    let workspace = Workspace::start();
    let gate = workspace.gate("gate");
    workspace.submit(
        "clash",
        &format!(
            "{}; mkdir -p outputs/model outputs/rest; echo w > outputs/model/w; echo t > outputs/table; echo r > outputs/rest/r",
            until(&gate)
        ),
        &json!({}),
    );
    workspace.reach("clash", "Running");
    let base = format!("/mlflow/v2.0{}/api/2.0/mlflow-artifacts/artifacts", scope());
    for path in ["outputs/model", "outputs/table/t"] {
        let path = format!("{base}/ExperimentRun/dcid.clash/{path}");
        workspace.ask("PUT", &path, &json!("uploaded")).expect(200);
    }
    fs::write(&gate, "").expect("the folder is ours");
    let message = workspace.fail("clash");
    assert!(!message.contains("os error"), "{message}");
    assert!(message.contains("\nhint:"), "{message}");
    let details = workspace.details("clash");
    for said in [details["warnings"].to_string(), workspace.log("clash")] {
        for line in [
            "outputs/model was not kept: it is a folder, and a file in the store already",
            "outputs/table was not kept: it is a file, and a folder in the store already",
        ] {
            assert!(said.contains(line), "{line} in {said}");
        }
    }
    assert!(message.contains("outputs/"), "{message}");
    assert_eq!(
        workspace.artifacts("clash"),
        [
            "outputs/model",
            "outputs/rest/r",
            "outputs/table/t",
            "user_logs/std_log.txt"
        ]
    );
    // The same conflict in the datastore, between two jobs.
    let place = "azureml://datastores/workspaceblobstore/paths/shared/place";
    let as_folder =
        json!({ "outputs": { "out": { "jobOutputType": "uri_folder", "uri": place } } });
    let as_file = json!({ "outputs": { "out": { "jobOutputType": "uri_file", "uri": place } } });
    workspace.submit("first", "echo 1 > ${{outputs.out}}/one", &as_folder);
    workspace.complete("first");
    workspace.submit("second", "echo 2 > ${{outputs.out}}", &as_file);
    let message = workspace.fail("second");
    assert!(message.contains("shared/place was not kept"), "{message}");
    assert!(!message.contains("os error"), "{message}");
}
