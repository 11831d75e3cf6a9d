//! The loss of the home folder while its server runs.

use crate::support::{Workspace, try_ask};
use azureml_wire::local::{SERVER_FILE, Server, scope};
use end_to_end::{kill, wait_for};
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

/// The way in which a home folder is lost.
#[derive(Debug, Clone, Copy)]
enum Loss {
    Removed,
    Moved,
    Replaced,
    LinkedElsewhere,
    LockRemoved,
    LockReplaced,
}

impl Loss {
    const ALL: [Self; 6] = [
        Self::Removed,
        Self::Moved,
        Self::Replaced,
        Self::LinkedElsewhere,
        Self::LockRemoved,
        Self::LockReplaced,
    ];

    fn happen(self, home: &Path, beside: &Path) {
        let lock = home.join("lock");
        let done = match self {
            // The server may create files in it during the removal.
            Self::Removed => {
                wait_for("the folder's end", || fs::remove_dir_all(home).ok());
                Ok(())
            }
            Self::Moved => fs::rename(home, beside),
            Self::Replaced => fs::rename(home, beside).and_then(|()| fs::create_dir(home)),
            Self::LinkedElsewhere => fs::rename(home, beside).and_then(|()| {
                let target = beside.with_extension("target");
                fs::create_dir(&target)?;
                std::os::unix::fs::symlink(target, home)
            }),
            Self::LockRemoved => fs::remove_file(lock),
            Self::LockReplaced => fs::remove_file(&lock).and_then(|()| fs::write(&lock, "")),
        };
        done.expect("the folder is ours");
    }
}

/// Submits jobs until the server stops listening; returns the responses.
fn submit_until_the_end(server: &Server) -> Vec<(u16, String)> {
    let bearer = format!("Bearer {}", server.token);
    let body = json!({ "properties": {
        "jobType": "Command",
        "command": "true",
        "environmentId": scope().path(["environments", "rust-tch-gpu", "versions", "1"]),
    }});
    let mut answers = Vec::new();
    let start = Instant::now();
    loop {
        let name = format!("late-{}", answers.len());
        let url = format!("{}{}", server.url, scope().path(["jobs", &name]));
        let answer = try_ask(
            "PUT",
            &url,
            &[
                ("Authorization", &bearer),
                ("Content-Type", "application/json"),
            ],
            body.to_string().as_bytes(),
        );
        let Ok(answer) = answer else { return answers };
        answers.push((answer.status, answer.text()));
        assert!(start.elapsed() < Duration::from_secs(30), "it does not end");
    }
}

/// Waits until a server has ended without a signal.
fn ended(mut server: Child) {
    let status = wait_for("the server's end", || {
        server.try_wait().expect("it is ours")
    });
    assert_eq!(status.code(), Some(0));
}

/// A temporary folder with paths for a home folder and for a second folder.
fn place() -> (tempfile::TempDir, PathBuf, PathBuf) {
    let place = tempfile::tempdir().expect("a folder");
    let home = place.path().join("home");
    let beside = place.path().join("beside");
    (place, home, beside)
}

#[test]
fn a_server_without_its_home_acknowledges_nothing_and_ends() {
    for loss in Loss::ALL {
        let (_place, home, beside) = place();
        let workspace = Workspace::at(&home);
        let server = workspace.serve(&[]);
        let address = workspace.server().expect("it runs");
        workspace.submit("early", "true", &json!({}));
        workspace.complete("early");
        loss.happen(&home, &beside);
        let answers = submit_until_the_end(&address);
        for (status, text) in &answers {
            assert_eq!(*status, 410, "{loss:?}: {text}");
            assert!(text.contains("removed or replaced"), "{loss:?}: {text}");
            assert!(text.contains("hint: "), "{loss:?}: {text}");
        }
        ended(server);
    }
}

#[test]
fn an_idle_server_notices_by_itself() {
    let (_place, home, beside) = place();
    let workspace = Workspace::at(&home);
    let server = workspace.serve(&[]);
    Loss::Moved.happen(&home, &beside);
    ended(server);
    assert!(
        !beside.join(SERVER_FILE).exists(),
        "it has taken back its own address"
    );
}

#[test]
fn an_old_server_leaves_the_address_of_the_next_one_alone() {
    for loss in Loss::ALL {
        let (_place, home, beside) = place();
        let workspace = Workspace::at(&home);
        let old = workspace.serve(&[]);
        loss.happen(&home, &beside);
        // The old server may still run.
        let mut new = workspace.serve(&[]);
        ended(old);
        let server = workspace.server().expect("the new one's address");
        assert_eq!(server.pid, new.id(), "{loss:?}");
        workspace.submit("job", "true", &json!({}));
        workspace.complete("job");
        kill(new.id());
        new.wait().expect("it was ours");
    }
}
