//! The folders of a job.

use crate::dir::{Dir, part};
use crate::error::Result;
use crate::home::Home;
use crate::name::{BlobName, ContainerName, DEFAULT_CONTAINER, Fixed, PortName, Relative, RunName};
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

/// The supervisor's folder below the job's folder.
const SUPERVISOR: Fixed = Fixed::new("supervisor");

/// The possible logs of a job's first process.
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

    /// Creates the folder; removes the files of an earlier attempt first.
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

    /// Marks the folder of a known job that an older program created without a mark.
    pub fn adopt(&self) -> io::Result<()> {
        // If `jobs` is a link, its target may contain folders of others with the same name.
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

    /// Opens the folder.
    pub fn open(&self) -> io::Result<Dir> {
        Dir::at(&self.home.jobs())?.dir(&self.job)
    }

    /// Its path.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Opens the working directory.
    pub fn open_work(home: &Home, job: &RunName) -> io::Result<Dir> {
        Dir::at(&home.jobs())?.dir(job)?.dir(&part::WORK)
    }

    /// The working directory.
    pub fn work(&self) -> PathBuf {
        self.root.join("wd")
    }

    /// The path of an input.
    pub fn input(&self, name: &PortName) -> PathBuf {
        self.root.join("inputs").join(name.as_str())
    }

    /// The path of a named output.
    pub fn output(&self, name: &PortName) -> PathBuf {
        self.root.join("outputs").join(name.as_str())
    }

    /// The supervisor's folder.
    pub fn supervisor(&self) -> PathBuf {
        self.root.join("supervisor")
    }

    /// The path of a run's artifacts.
    pub fn artifacts(home: &Home, job: &RunName) -> PathBuf {
        Self::in_datastore(home, &job.artifacts())
    }

    /// The path of a file or folder in the default datastore.
    pub fn in_datastore(home: &Home, name: &BlobName) -> PathBuf {
        home.blobs().join(DEFAULT_CONTAINER).join(name.as_str())
    }

    /// Opens a run's artifacts.
    pub fn open_artifacts(home: &Home, job: &RunName) -> io::Result<Dir> {
        Dir::at(&home.blobs())?
            .dir(&ContainerName::default_datastore())?
            .dir(&job.artifacts())
    }

    /// The folder of the logs, among the run's artifacts.
    pub fn logs(home: &Home, job: &RunName) -> PathBuf {
        Self::artifacts(home, job).join("user_logs")
    }

    /// Appends warnings of the workspace to the log of a job's first process.
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

    /// Removes the job's files; the supervisor's records stay.
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

    /// Removes everything; a supervisor that starts later finds no work.
    pub fn clear(&self) -> Result<(), RemoveError> {
        let jobs = Dir::at(&self.home.jobs()).map_err(|source| RemoveError::Io {
            folder: self.home.jobs().display().to_string(),
            source,
        })?;
        remove::marked(&jobs, &self.job, self.home.owner())
    }
}
