//! Ownership of the home folder while the server runs.
//!
//! The folder and its lock can be removed, moved or replaced at any time. Later writes would then
//! be lost, or go to a folder of another server. The server keeps the folder and the lock open and
//! compares them with the files at their paths: before and after each changing request, before jobs
//! start, and once a second.

use azureml_wire::local::{SERVER_FILE, Server};
use rustix::fs::{AtFlags, Mode, OFlags};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// The maximum delay until an idle server notices that it has lost its folder.
const INTERVAL: Duration = Duration::from_secs(1);

/// The name of the lock file.
pub const LOCK: &str = "lock";

/// An acquired home folder. The lock is released when this value is dropped.
#[derive(Debug)]
pub struct Hold {
    root: PathBuf,
    folder: File,
    lock: File,
    lost: Notify,
}

impl Hold {
    /// Holds the folder at `root` with an acquired lock.
    pub fn new(root: &Path, lock: File) -> io::Result<Self> {
        Ok(Self {
            root: root.to_owned(),
            folder: File::open(root)?,
            lock,
            lost: Notify::new(),
        })
    }

    /// Whether the paths of the folder and of its lock still lead to the acquired ones.
    pub fn is_kept(&self) -> bool {
        let kept = is_at(&self.folder, &self.root) && is_at(&self.lock, &self.root.join(LOCK));
        if !kept {
            self.lost.notify_one();
        }
        kept
    }

    /// Waits until the folder no longer belongs to this server.
    pub async fn lost(&self) {
        while self.is_kept() {
            // A request may notice earlier than the timeout.
            let _ = tokio::time::timeout(INTERVAL, self.lost.notified()).await;
        }
    }

    /// Removes the file with the address of `server` from the acquired folder, even if the folder
    /// has been moved. The file of another server stays.
    pub fn withdraw(&self, server: &Server) {
        let published = rustix::fs::openat(
            &self.folder,
            SERVER_FILE,
            OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC,
            Mode::empty(),
        );
        let mut text = Vec::new();
        let is_own = published.is_ok_and(|file| File::from(file).read_to_end(&mut text).is_ok())
            && serde_json::from_slice(&text)
                .is_ok_and(|found: Server| found.token == server.token && found.pid == server.pid);
        if is_own {
            // A missing file is not an error.
            let _ = rustix::fs::unlinkat(&self.folder, SERVER_FILE, AtFlags::empty());
        }
    }
}

/// Whether a path leads to an open file; true if that cannot be determined.
fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::metadata(path)) {
        (Ok(held), Ok(there)) => (held.dev(), held.ino()) == (there.dev(), there.ino()),
        (_, Err(error)) => !matches!(
            error.kind(),
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
        ),
        (Err(_), _) => true,
    }
}

/// Waits until a server whose lock was removed has ended; false if it has not. It notices the
/// removal within [`INTERVAL`], and needs some time to end.
pub fn has_ended(pid: u32) -> bool {
    let start = Instant::now();
    while serves(pid) {
        if start.elapsed() > 5 * INTERVAL {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    true
}

/// Whether a process is the server of a local workspace. The pid may have been reused.
fn serves(pid: u32) -> bool {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let mut arguments = line.split(|byte| *byte == 0);
    pid != std::process::id()
        && arguments
            .next()
            .is_some_and(|program| program.ends_with(b"azureml-local"))
        && arguments.next() == Some(b"serve")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hold(root: &Path) -> Hold {
        fs::create_dir(root).unwrap();
        Hold::new(root, File::create(root.join(LOCK)).unwrap()).unwrap()
    }

    fn server(token: &str) -> Server {
        Server {
            url: "http://127.0.0.1:1".to_owned(),
            token: token.to_owned(),
            pid: 7,
            version: "0".to_owned(),
        }
    }

    #[test]
    fn a_folder_that_was_removed_moved_or_replaced_is_noticed() {
        let place = tempfile::tempdir().unwrap();
        let root = place.path().join("home");
        let held = hold(&root);
        assert!(held.is_kept());
        fs::rename(&root, place.path().join("moved")).unwrap();
        assert!(!held.is_kept());
        let second = hold(&root);
        assert!(second.is_kept() && !held.is_kept());
        fs::remove_file(root.join(LOCK)).unwrap();
        assert!(!second.is_kept());
        File::create(root.join(LOCK)).unwrap();
        assert!(!second.is_kept());
        fs::remove_dir_all(&root).unwrap();
        assert!(!second.is_kept());
    }

    #[test]
    fn only_the_own_address_is_withdrawn() {
        let place = tempfile::tempdir().unwrap();
        let root = place.path().join("home");
        let held = hold(&root);
        let publish = |root: &Path, token| {
            let text = serde_json::to_vec(&server(token)).unwrap();
            fs::write(root.join(SERVER_FILE), text).unwrap();
        };
        publish(&root, "another");
        held.withdraw(&server("own"));
        assert!(root.join(SERVER_FILE).exists());
        publish(&root, "own");
        let moved = place.path().join("moved");
        fs::rename(&root, &moved).unwrap();
        fs::create_dir(&root).unwrap();
        publish(&root, "own");
        held.withdraw(&server("own"));
        assert!(root.join(SERVER_FILE).exists());
        assert!(!moved.join(SERVER_FILE).exists());
    }
}
