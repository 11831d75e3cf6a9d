//! Recursive removal is limited to the workspace's own folders and never follows links or mounts.

use crate::support::{Workspace, ask, put_blob, until};
use end_to_end::{binary, wait_for};
use serde_json::json;
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, SystemTime};

const MARK: &str = ".azureml-local.mark";

/// A disk with data of another owner.
struct Scratch {
    folder: tempfile::TempDir,
}

impl Scratch {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for path in [
            "data/precious",
            "ended/wd/precious",
            "9a1b6a5e-2f3c-4b7d-8e9f-0a1b2c3d4e5f/precious",
            "waiting/precious",
        ] {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("room");
            fs::write(path, "precious").expect("room");
        }
        fs::write(
            folder.path().join("1b6a5e9a-2f3c-4b7d-8e9f-0a1b2c3d4e5f"),
            "x",
        )
        .expect("room");
        Self { folder }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn check(&self) {
        for path in [
            "data/precious",
            "ended/wd/precious",
            "9a1b6a5e-2f3c-4b7d-8e9f-0a1b2c3d4e5f/precious",
            "1b6a5e9a-2f3c-4b7d-8e9f-0a1b2c3d4e5f",
            "waiting/precious",
        ] {
            assert!(self.path().join(path).is_file(), "{path} is gone");
        }
    }
}

/// A stopped workspace with the completed job `ended`.
fn with_a_past() -> Workspace {
    let mut workspace = Workspace::start();
    workspace.submit("ended", "true", &json!({}));
    workspace.complete("ended");
    wait_for("the job's folder to go", || {
        (!workspace.home().join("jobs/ended").exists()).then_some(())
    });
    workspace.kill();
    workspace
}

/// Starts and stops the server, with time for its cleanup tasks.
fn start_and_end(workspace: &Workspace) {
    let mut server = workspace.serve(&[]);
    let name = format!("after{}", server.id());
    workspace.submit(&name, "true", &json!({}));
    workspace.complete(&name);
    // The cleanup at start runs in the background; this folder is removed last.
    server.kill().expect("it runs");
    server.wait().expect("it has ended");
}

fn serve_and_fail(workspace: &Workspace) -> Output {
    let mut command = Command::new(binary("azureml-local"));
    workspace.apply(&mut command);
    command
        .arg("serve")
        .stdin(Stdio::null())
        .output()
        .expect("azureml-local starts")
}

#[test]
fn removal_spares_a_disk_that_jobs_is_a_link_to() {
    let (workspace, scratch) = (with_a_past(), Scratch::new());
    fs::remove_dir(workspace.home().join("jobs")).expect("it is empty");
    symlink(scratch.path(), workspace.home().join("jobs")).expect("a link");
    // Folders of a killed server and of another workspace.
    for (name, of) in [("left", "ours"), ("foreign", "theirs")] {
        fs::create_dir_all(scratch.path().join(name).join("wd")).expect("room");
        fs::write(scratch.path().join(name).join(MARK), of).expect("room");
    }
    let mut server = workspace.serve(&[]);
    let gate = workspace.gate("gate");
    workspace.submit(
        "good",
        &format!("echo > file; {}", until(&gate)),
        &json!({}),
    );
    workspace.reach("good", "Running");
    let mark = fs::read_to_string(scratch.path().join("good").join(MARK)).expect("a mark");
    fs::write(&gate, "").expect("the folder is ours");
    workspace.complete("good");
    wait_for("the job's folder to go", || {
        (!scratch.path().join("good").exists()).then_some(())
    });
    workspace.submit("waiting", "true", &json!({}));
    let message = workspace.fail("waiting");
    assert!(
        message.contains("was not made by this local workspace"),
        "{message}"
    );
    assert!(message.contains("\nhint:"), "{message}");
    server.kill().expect("it runs");
    server.wait().expect("it has ended");
    scratch.check();

    fs::write(scratch.path().join("left").join(MARK), mark).expect("room");
    let mut server = workspace.serve(&[]);
    wait_for("what was left to go", || {
        (!scratch.path().join("left").exists()).then_some(())
    });
    server.kill().expect("it runs");
    server.wait().expect("it has ended");
    start_and_end(&workspace);
    scratch.check();
    assert!(scratch.path().join("foreign").is_dir());
    let log = fs::read_to_string(workspace.home().join("server.log")).expect("a log");
    assert!(log.contains("jobs is a link"), "{log}");
}

#[test]
fn removal_spares_what_other_parts_are_links_to() {
    for part in ["tmp", "blobs", "blocks"] {
        let (workspace, scratch) = (Workspace::new(), Scratch::new());
        symlink(scratch.path(), workspace.home().join(part)).expect("a link");
        for _ in 0..2 {
            let output = serve_and_fail(&workspace);
            assert!(!output.status.success(), "{part}");
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(
                said.contains(part) && said.contains("is a link to"),
                "{said}"
            );
            assert!(said.contains("\nhint: "), "{said}");
        }
        scratch.check();
        let count = fs::read_dir(scratch.path()).expect("a folder").count();
        assert_eq!(count, 5, "{part}");
    }
}

#[test]
fn removal_spares_what_folders_in_the_parts_are_links_to() {
    let (workspace, scratch) = (with_a_past(), Scratch::new());
    let home = workspace.home();
    let uuid = "0d8ee3d2-6f0b-4d8b-9a52-0b6f3d0a9f11";
    for link in [
        "jobs/ended".to_owned(),
        "jobs/other".to_owned(),
        "blobs/forgotten".to_owned(),
        format!("blobs/{uuid}"),
        format!("blocks/{}", "0".repeat(64)),
        format!("tmp/{uuid}"),
    ] {
        symlink(scratch.path(), home.join(link)).expect("a link");
    }
    // Files that another program has created.
    for path in [
        "jobs/mine/file",
        "blobs/mine/file",
        "tmp/mine/file",
        "blocks/mine/file",
    ] {
        let path = home.join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("room");
        fs::write(path, "mine").expect("room");
    }
    let old = SystemTime::now() - Duration::from_hours(24 * 365);
    for folder in [
        scratch.path().to_owned(),
        home.join("blobs/mine"),
        home.join("blocks/mine"),
    ] {
        let folder = File::open(folder).expect("a folder");
        folder.set_modified(old).expect("it is ours");
    }
    for _ in 0..3 {
        start_and_end(&workspace);
    }
    scratch.check();
    for path in [
        "jobs/mine/file",
        "blobs/mine/file",
        "tmp/mine/file",
        "blocks/mine/file",
    ] {
        assert!(home.join(path).is_file(), "{path} is gone");
    }
}

#[test]
fn removal_takes_links_within_a_job_as_links() {
    let (workspace, scratch) = (Workspace::start(), Scratch::new());
    let out = scratch.path().display();
    workspace.submit(
        "links",
        &format!(
            "mkdir -p outputs a/b; ln -s '{out}' outputs/link; ln -s '{out}' a/b/link; ln -s .. a/up; chmod 000 a/b; \
             mv ../outputs ../moved; ln -s '{out}' ../outputs; ln -s '{out}' ../extra"
        ),
        &json!({}),
    );
    workspace.complete("links");
    wait_for("the job's folder to go", || {
        (!workspace.home().join("jobs/links").exists()).then_some(())
    });
    scratch.check();
}

#[test]
fn removal_takes_what_a_program_without_marks_has_left() {
    let mut workspace = with_a_past();
    let server = workspace.serve(&[]);
    let gate = workspace.gate("gate");
    let command = format!("mkdir -p outputs; echo 1 > outputs/o; {}", until(&gate));
    workspace.submit("running", &command, &json!({}));
    workspace.reach("running", "Running");
    drop(server);
    workspace.kill();
    fs::remove_file(workspace.home().join("jobs/running").join(MARK)).expect("a mark");
    fs::create_dir_all(workspace.home().join("jobs/ended/wd/data")).expect("room");
    let mut server = workspace.serve(&[]);
    fs::write(&gate, "").expect("the folder is ours");
    workspace.complete("running");
    assert!(
        workspace
            .artifacts("running")
            .contains(&"outputs/o".to_owned())
    );
    for job in ["running", "ended"] {
        wait_for("the job's folder to go", || {
            (!workspace.home().join("jobs").join(job).exists()).then_some(())
        });
    }
    server.kill().expect("it runs");
    server.wait().expect("it has ended");
}

#[test]
fn removal_takes_forgotten_uploads_and_blocks() {
    let mut workspace = Workspace::start();
    let (uri, query) = workspace.container();
    put_blob(&format!("{uri}/a?{query}"), b"a").expect(201);
    ask(
        "PUT",
        &format!("{uri}/b?comp=block&blockid=YQ==&{query}"),
        &[],
        b"block",
    )
    .expect(201);
    // The mark is not listed as a blob.
    let listed = ask(
        "GET",
        &format!("{uri}?restype=container&comp=list&{query}"),
        &[],
        &[],
    );
    assert!(!listed.text().contains(MARK), "{}", listed.text());
    ask("GET", &format!("{uri}/{MARK}?{query}"), &[], &[]).expect(404);
    put_blob(&format!("{uri}/{MARK}?{query}"), b"x").expect(400);
    workspace.kill();
    let old = SystemTime::now() - Duration::from_hours(24 * 365);
    let (_, name) = uri.rsplit_once('/').expect("a name");
    let container = workspace.home().join("blobs").join(name);
    let blocks = fs::read_dir(workspace.home().join("blocks"))
        .expect("a folder")
        .flatten()
        .next()
        .expect("blocks")
        .path();
    for folder in [&container, &blocks] {
        let folder = File::open(folder).expect("a folder");
        folder.set_modified(old).expect("it is ours");
    }
    let mut server = workspace.serve(&[]);
    wait_for("them to go", || {
        (!container.exists() && !blocks.exists()).then_some(())
    });
    server.kill().expect("it runs");
    server.wait().expect("it has ended");
}

#[test]
fn removal_does_not_cross_into_what_is_mounted_in_a_job() {
    let can = Command::new("unshare")
        .args(["-m", "true"])
        .stderr(Stdio::null())
        .status();
    if !can.is_ok_and(|status| status.success()) {
        println!("not tried: this user may not mount");
        return;
    }
    let (workspace, scratch) = (with_a_past(), Scratch::new());
    // The name is that of a known job and the layout that of a job's folder, so the workspace
    // adopts it.
    let job = workspace.home().join("jobs/ended");
    for folder in ["wd/mounted", "wd/more", "inputs", "mounted"] {
        fs::create_dir_all(job.join(folder)).expect("room");
    }
    fs::remove_dir(job.join("mounted")).expect("it is empty");
    let script = "mount --bind \"$1\" \"$2\" && mount --bind \"$1\" \"$3\" && exec \"$4\" serve";
    let mut command = Command::new("unshare");
    workspace.apply(&mut command);
    let mut server = command
        .args(["-m", "sh", "-c", script, "sh"])
        .arg(scratch.path())
        .arg(job.join("wd/mounted"))
        .arg(job.join("inputs"))
        .arg(binary("azureml-local"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .expect("unshare starts");
    wait_for("what is not mounted to go", || {
        (!job.join("wd/more").exists()).then_some(())
    });
    wait_for("a word in the log", || {
        let log = fs::read_to_string(workspace.home().join("server.log")).ok()?;
        log.contains("ended could not be removed").then_some(())
    });
    server.kill().expect("it runs");
    server.wait().expect("it has ended");
    scratch.check();
}
