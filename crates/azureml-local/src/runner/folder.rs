//! Where a job's things lie.

use crate::blob;
use crate::dir::{Dir, part};
use crate::home::Home;
use crate::name::{BlobName, ContainerName, PortName, Relative, RunName};
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
    pub fn of(home: &Home, job: &RunName) -> Self {
        Self {
            root: home.jobs().join(job.as_str()),
        }
    }

    /// The working directory, held open.
    pub fn open_work(home: &Home, job: &RunName) -> io::Result<Dir> {
        Dir::at(&home.jobs())?.dir(job)?.dir(&part::WORK)
    }

    /// The working directory.
    pub fn work(&self) -> PathBuf {
        self.root.join("wd")
    }

    /// Where an input is brought.
    pub fn input(&self, name: &PortName) -> PathBuf {
        self.root.join("inputs").join(name.as_str())
    }

    /// Where a named output is written.
    pub fn output(&self, name: &PortName) -> PathBuf {
        self.root.join("outputs").join(name.as_str())
    }

    /// The supervisor's own folder.
    pub fn supervisor(&self) -> PathBuf {
        self.root.join("supervisor")
    }

    /// What all processes of the job have in their environment, and those of no other job.
    pub fn mark(&self) -> String {
        self.root.to_string_lossy().into_owned()
    }

    /// A run's artifacts.
    pub fn artifacts(home: &Home, job: &RunName) -> PathBuf {
        Self::in_datastore(home, &job.artifacts())
    }

    /// Where a file or a folder of the default datastore lies.
    pub fn in_datastore(home: &Home, name: &BlobName) -> PathBuf {
        home.blobs()
            .join(blob::DEFAULT_CONTAINER)
            .join(name.as_str())
    }

    /// A run's artifacts, held open.
    pub fn open_artifacts(home: &Home, job: &RunName) -> io::Result<Dir> {
        Dir::at(&home.blobs())?
            .dir(&ContainerName::default_datastore())?
            .dir(&job.artifacts())
    }

    /// The logs of a job's processes, among its artifacts.
    pub fn logs(home: &Home, job: &RunName) -> PathBuf {
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
