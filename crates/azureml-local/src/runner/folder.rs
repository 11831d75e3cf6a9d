//! Where a job's things lie.

use super::mark::Mark;
use crate::blob;
use crate::dir::{Dir, part};
use crate::error::Result;
use crate::home::Home;
use crate::name::{BlobName, ContainerName, Fixed, PortName, Relative, RunName};
use crate::remove::{self, RemoveError};
use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The folder of a job that has not ended.
#[derive(Debug, Clone)]
pub struct Folder {
    home: Home,
    job: RunName,
    root: PathBuf,
}

/// The supervisor's own folder in a job's.
const SUPERVISOR: Fixed = Fixed::new("supervisor");

/// The logs that a job's first process may have.
const LOGS: [Fixed; 2] = [
    Fixed::new("std_log.txt"),
    Fixed::new("std_log_process_00.txt"),
];

impl Folder {
    /// The folder of a job.
    pub fn of(home: &Home, job: &RunName) -> Self {
        Self {
            home: home.clone(),
            job: job.clone(),
            root: home.jobs().join(job.as_str()),
        }
    }

    /// Makes the folder; what an earlier attempt left there is gone first.
    pub fn make(&self) -> Result<()> {
        self.clear()?;
        let jobs = Dir::at(&self.home.jobs())?;
        let folder = match remove::make(&jobs, &self.job, self.home.owner()) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(RemoveError::NotOurs(self.root.display().to_string()).into());
            }
            made => made?,
        };
        folder.make(&part::WORK)?;
        Ok(())
    }

    /// Marks the folder of a job that the store knows, made by a program that knew no marks.
    pub fn adopt(&self) -> io::Result<()> {
        // Where the link leads, a folder of that name may be anybody's.
        if self.home.jobs_link().is_some() {
            return Ok(());
        }
        let folder = Dir::at(&self.home.jobs())?.dir(&self.job)?;
        let parts = [part::WORK, part::INPUTS, part::OUTPUTS, SUPERVISOR];
        let is_part = |name: Option<&str>| parts.iter().any(|part| Some(part.as_str()) == name);
        if folder.entries()?.iter().all(|entry| is_part(entry.name())) {
            remove::mark(&folder, self.home.owner())?;
        }
        Ok(())
    }

    /// It, held open.
    pub fn open(&self) -> io::Result<Dir> {
        Dir::at(&self.home.jobs())?.dir(&self.job)
    }

    /// Its path.
    pub fn root(&self) -> &Path {
        &self.root
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

    /// What all processes of the job have, and those of no other job.
    pub fn mark(&self) -> Mark {
        Mark::of(&self.root)
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

    /// Adds lines of the workspace's own to the log of a job's first process.
    pub fn append_to_log(home: &Home, job: &RunName, lines: &[String]) -> io::Result<()> {
        let logs = Self::open_artifacts(home, job)?.make(&part::USER_LOGS)?;
        let first = LOGS
            .into_iter()
            .find(|log| logs.stat(log).is_ok())
            .unwrap_or(LOGS[0]);
        let mut text = String::new();
        for line in lines {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "azureml-local: warning: {line}");
        }
        logs.append(&first)?.write_all(text.as_bytes())
    }

    /// Removes the job's own files; what its supervisor wrote stays.
    pub fn clear_files(&self) -> Result<(), RemoveError> {
        let Ok(folder) = Dir::at(&self.home.jobs()).and_then(|jobs| jobs.dir(&self.job)) else {
            return Ok(());
        };
        if !remove::is_marked(&folder, self.home.owner()) {
            return Err(RemoveError::NotOurs(self.root.display().to_string()));
        }
        for name in [part::WORK, part::INPUTS, part::OUTPUTS] {
            remove::tree(&folder, &name)?;
        }
        Ok(())
    }

    /// Removes everything; a supervisor that is still on its way finds nothing to do.
    pub fn clear(&self) -> Result<(), RemoveError> {
        let jobs = Dir::at(&self.home.jobs()).map_err(|source| RemoveError::Io {
            folder: self.home.jobs().display().to_string(),
            source,
        })?;
        remove::marked(&jobs, &self.job, self.home.owner())
    }
}
