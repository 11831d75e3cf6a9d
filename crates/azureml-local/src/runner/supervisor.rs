//! Communication between a server and the supervisor of a job: files in the supervisor's folder.
//!
//! A supervisor is independent of the server: it has a separate session, so the server may be
//! stopped, killed and restarted while the job runs. The supervisor holds a lock in its folder
//! during its lifetime. It records the start of the job's processes before they run, and finally
//! how they ended.

use crate::home::private;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// The task of a supervisor. Has no `Debug`: it contains the run's token.
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
    /// The port in their tracking URI; reserved for this user while they run.
    pub port: u16,
    /// The time limit in seconds.
    pub timeout: Option<f64>,
    /// Seconds between SIGTERM and SIGKILL.
    pub grace: f64,
}

/// One of a job's processes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Process {
    /// Variables in addition to the common environment.
    pub environment: BTreeMap<String, String>,
    /// The file for its output.
    pub log: PathBuf,
}

/// The record of a started job.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Started {
    /// The process id of the supervisor.
    pub supervisor: u32,
    /// The boot id of the machine.
    pub boot: String,
}

/// The record of how a job's processes ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// The rank of the decisive process.
    pub rank: usize,
    /// Its exit code.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Whether the job exceeded its time limit.
    pub timed_out: bool,
    /// Whether the job was canceled.
    pub canceled: bool,
}

/// Files in a supervisor's folder.
const SPEC: &str = "spec.json";
const LOCK: &str = "lock";
const STARTED: &str = "started.json";
const ENDED: &str = "ended.json";

/// The size reserved for an [`Ended`] and for a [`Started`], in bytes. It is allocated in advance:
/// a full disk must hide neither that a job runs nor how it ended.
const ROOM: usize = 256;

/// The supervisor's message on standard output after it has started all processes.
pub const READY: &[u8] = b"started\n";

/// Creates a supervisor's folder and takes the lock for the supervisor, which inherits it.
pub fn set_up(folder: &Path, spec: &Spec) -> io::Result<File> {
    fs::create_dir_all(folder)?;
    let lock = File::create(folder.join(LOCK))?;
    lock.try_lock()?;
    // It contains the run's token.
    private(&folder.join(SPEC))?.write_all(&serde_json::to_vec(spec)?)?;
    for name in [STARTED, ENDED] {
        let mut file = File::create(folder.join(name))?;
        file.write_all(&[b' '; ROOM])?;
        file.sync_all()?;
    }
    // The folders are synced, so that a power failure does not lose a started job.
    for folder in folder.ancestors().take(3) {
        File::open(folder)?.sync_all()?;
    }
    Ok(lock)
}

/// The records that a supervisor writes.
pub struct Records {
    started: File,
    ended: File,
}

impl Records {
    /// Opens the records in a folder.
    pub fn open(folder: &Path) -> io::Result<Self> {
        let open = |name| OpenOptions::new().write(true).open(folder.join(name));
        Ok(Self {
            started: open(STARTED)?,
            ended: open(ENDED)?,
        })
    }

    /// Records the start; durable on return.
    pub fn start(&mut self, started: &Started) -> io::Result<()> {
        write_record(&mut self.started, started)
    }

    /// Records the end; durable on return.
    pub fn end(&mut self, ended: &Ended) -> io::Result<()> {
        write_record(&mut self.ended, ended)
    }
}

/// Reads the task of a supervisor.
pub fn spec(folder: &Path) -> io::Result<Spec> {
    Ok(serde_json::from_slice(&fs::read(folder.join(SPEC))?)?)
}

/// Whether a supervisor's folder exists: the user may have removed the local workspace.
pub fn is_there(folder: &Path) -> bool {
    folder.join(LOCK).exists()
}

/// Whether a supervisor runs for this folder.
pub fn is_alive(folder: &Path) -> bool {
    File::open(folder.join(LOCK))
        .is_ok_and(|lock| matches!(lock.try_lock_shared(), Err(fs::TryLockError::WouldBlock)))
}

/// The record of the start, if it was written.
pub fn started(folder: &Path) -> Option<Started> {
    serde_json::from_slice(&fs::read(folder.join(STARTED)).ok()?).ok()
}

/// The record of the end, if it was written.
pub fn ended(folder: &Path) -> Option<Ended> {
    serde_json::from_slice(&fs::read(folder.join(ENDED)).ok()?).ok()
}

/// The boot id of this machine.
pub fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .unwrap_or_default()
        .trim()
        .to_owned()
}

/// The shell for commands.
pub fn shell() -> &'static str {
    if Path::new("/bin/bash").exists() {
        "/bin/bash"
    } else {
        "/bin/sh"
    }
}

/// Overwrites the reserved space.
fn write_record(record: &mut File, what: &impl Serialize) -> io::Result<()> {
    let mut text = serde_json::to_vec(what)?;
    text.resize(ROOM.max(text.len()), b' ');
    record.seek(SeekFrom::Start(0))?;
    record.write_all(&text)?;
    record.sync_data()
}

/// The last `most` bytes of a file as text, without an incomplete first line.
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
