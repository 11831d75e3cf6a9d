//! What passes between a server and the supervisor of a job: files in a folder of its own.
//!
//! A supervisor belongs to no server: it has a session of its own, so a server may be ended, killed and started again
//! while the job runs. In its folder it holds a lock as long as it lives, records that the job's processes have started
//! before they run, and at last how they ended.

use crate::home::private;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// What a supervisor is to run. Has no `Debug`: it holds the run's token.
#[derive(Clone, Serialize, Deserialize)]
pub struct Spec {
    /// The command line, for the shell.
    pub command: String,
    /// The working directory.
    pub directory: PathBuf,
    /// The environment of every process.
    pub environment: BTreeMap<String, String>,
    /// The processes.
    pub processes: Vec<Process>,
    /// The port that their tracking URI names: it stays this user's for as long as they run.
    pub port: u16,
    /// How long they may take, in seconds.
    pub timeout: Option<f64>,
    /// How long they get to end after they were asked to, in seconds.
    pub grace: f64,
}

/// One of a job's processes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Process {
    /// What its environment has beside the common one.
    pub environment: BTreeMap<String, String>,
    /// The file that it writes its output to.
    pub log: PathBuf,
}

/// What a supervisor has started.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Started {
    /// The supervisor's own process.
    pub supervisor: u32,
    /// Which start of the machine they belong to.
    pub boot: String,
}

/// How a job's processes ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// The process that decided it.
    pub rank: usize,
    /// Its exit code.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Whether it took too long.
    pub timed_out: bool,
    /// Whether its end was asked for.
    pub canceled: bool,
}

/// Files of a supervisor's folder.
const SPEC: &str = "spec.json";
const LOCK: &str = "lock";
const STARTED: &str = "started.json";
const ENDED: &str = "ended.json";

/// Room for an [`Ended`] and for a [`Started`]. It is taken ahead of time: a full disk must hide
/// neither that a job runs nor how it ended.
const ROOM: usize = 256;

/// What the supervisor says on its standard output once everything runs.
pub const READY: &[u8] = b"started\n";

/// Sets up a supervisor's folder, and takes its lock for the supervisor: it has it from its first moment on.
pub fn set_up(folder: &Path, spec: &Spec) -> io::Result<File> {
    fs::create_dir_all(folder)?;
    let lock = File::create(folder.join(LOCK))?;
    lock.try_lock()?;
    // It holds the run's token.
    private(&folder.join(SPEC))?.write_all(&serde_json::to_vec(spec)?)?;
    for name in [STARTED, ENDED] {
        let mut file = File::create(folder.join(name))?;
        file.write_all(&[b' '; ROOM])?;
        file.sync_all()?;
    }
    // A machine that loses its power forgets no job that it has run.
    for folder in folder.ancestors().take(3) {
        File::open(folder)?.sync_all()?;
    }
    Ok(lock)
}

/// The files that a supervisor writes to.
pub struct Records {
    started: File,
    ended: File,
}

impl Records {
    /// Those of a folder.
    pub fn open(folder: &Path) -> io::Result<Self> {
        let open = |name| OpenOptions::new().write(true).open(folder.join(name));
        Ok(Self {
            started: open(STARTED)?,
            ended: open(ENDED)?,
        })
    }

    /// Records what was started, on disk when this returns.
    pub fn start(&mut self, started: &Started) -> io::Result<()> {
        write_record(&mut self.started, started)
    }

    /// Records how it ended.
    pub fn end(&mut self, ended: &Ended) -> io::Result<()> {
        write_record(&mut self.ended, ended)
    }
}

/// What a supervisor is to run.
pub fn spec(folder: &Path) -> io::Result<Spec> {
    Ok(serde_json::from_slice(&fs::read(folder.join(SPEC))?)?)
}

/// Whether a supervisor's folder is still there: somebody may have removed the local workspace.
pub fn is_there(folder: &Path) -> bool {
    folder.join(LOCK).exists()
}

/// Whether a supervisor lives in a folder.
pub fn is_alive(folder: &Path) -> bool {
    File::open(folder.join(LOCK))
        .is_ok_and(|lock| matches!(lock.try_lock_shared(), Err(fs::TryLockError::WouldBlock)))
}

/// What was started, when anything was.
pub fn started(folder: &Path) -> Option<Started> {
    serde_json::from_slice(&fs::read(folder.join(STARTED)).ok()?).ok()
}

/// How it ended, when it has.
pub fn ended(folder: &Path) -> Option<Ended> {
    serde_json::from_slice(&fs::read(folder.join(ENDED)).ok()?).ok()
}

/// Which start of the machine this is.
pub fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .unwrap_or_default()
        .trim()
        .to_owned()
}

/// The shell that runs commands.
pub fn shell() -> &'static str {
    if Path::new("/bin/bash").exists() {
        "/bin/bash"
    } else {
        "/bin/sh"
    }
}

/// Writes over the room that was taken ahead of time.
fn write_record(record: &mut File, what: &impl Serialize) -> io::Result<()> {
    let mut text = serde_json::to_vec(what)?;
    text.resize(ROOM.max(text.len()), b' ');
    record.seek(SeekFrom::Start(0))?;
    record.write_all(&text)?;
    record.sync_data()
}

/// The last `most` bytes of a file as text, from a whole line on.
pub fn tail(path: &Path, most: u64) -> String {
    let read = || -> io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(most)))?;
        let mut bytes = Vec::new();
        file.take(most).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    if bytes.len() as u64 == most
        && let Some((_, whole)) = text.split_once('\n')
    {
        return whole.to_owned();
    }
    text
}
