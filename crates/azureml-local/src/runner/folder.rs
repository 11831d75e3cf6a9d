//! Where a job's things lie.

use crate::blob::{self, DEFAULT_CONTAINER};
use crate::home::Home;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The folder of a job that has not ended.
#[derive(Debug, Clone)]
pub struct Folder {
    root: PathBuf,
}

impl Folder {
    /// The folder of a job.
    pub fn of(home: &Home, job: &str) -> Self {
        Self {
            root: home.jobs().join(job),
        }
    }

    /// The working directory.
    pub fn work(&self) -> PathBuf {
        self.root.join("wd")
    }

    /// Where an input is brought.
    pub fn input(&self, name: &str) -> PathBuf {
        self.root.join("inputs").join(name)
    }

    /// Where a named output is written.
    pub fn output(&self, name: &str) -> PathBuf {
        self.root.join("outputs").join(name)
    }

    /// The supervisor's own folder.
    pub fn supervisor(&self) -> PathBuf {
        self.root.join("supervisor")
    }

    /// A run's artifacts.
    pub fn artifacts(home: &Home, job: &str) -> PathBuf {
        home.blobs()
            .join(DEFAULT_CONTAINER)
            .join(blob::run_prefix(job))
    }

    /// The logs of a job's processes, among its artifacts.
    pub fn logs(home: &Home, job: &str) -> PathBuf {
        Self::artifacts(home, job).join("user_logs")
    }

    /// Removes the job's own files; what its supervisor wrote stays.
    pub fn clear_files(&self) -> io::Result<()> {
        for name in ["wd", "inputs", "outputs"] {
            remove(&self.root.join(name))?;
        }
        Ok(())
    }

    /// Removes everything; a supervisor that is still on its way finds nothing to do.
    pub fn clear(&self) -> io::Result<()> {
        remove(&self.root)
    }
}

fn remove(folder: &Path) -> io::Result<()> {
    make_removable(folder);
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// A job may have left folders that not even their owner may write to.
fn make_removable(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let Ok(metadata) = entry.metadata() else {
            continue;
        };
        if metadata.is_dir() {
            if metadata.permissions().mode() & 0o700 != 0o700 {
                let _ = fs::set_permissions(entry.path(), fs::Permissions::from_mode(0o700));
            }
            make_removable(&entry.path());
        }
    }
}
