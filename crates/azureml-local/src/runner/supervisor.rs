//! The process that watches over a job's processes: `azureml-local run-job <folder>`.
//!
//! It belongs to no server: it has a session of its own, so a server may be ended, killed and started again while the
//! job runs. In its folder it holds a lock as long as it lives, says what it started, and at last how it ended.

use crate::home::private;
use rustix::process::{Pid, Signal, kill_process_group, setsid};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, ExitStatus, Stdio};
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

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
    /// The leaders of the processes' groups.
    pub leaders: Vec<Leader>,
}

/// The leader of a process group; its number may have gone to another process since.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Leader {
    /// Its process.
    pub pid: u32,
    /// When it began, in the kernel's clock ticks.
    pub start: u64,
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

/// Room for an [`Ended`], and for a [`Started`] with one process. It is taken ahead of time: a full disk must hide
/// neither that a job runs nor how it ended.
const ROOM: usize = 256;

/// How often a supervisor looks whether its folder is still there.
const LOOK: Duration = Duration::from_secs(2);

/// What the supervisor says on its standard output once everything runs.
pub const READY: &[u8] = b"started\n";

/// Sets up a supervisor's folder.
pub fn set_up(folder: &Path, spec: &Spec) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    // It holds the run's token.
    private(&folder.join(SPEC))?.write_all(&serde_json::to_vec(spec)?)?;
    File::create(folder.join(LOCK))?;
    fs::write(
        folder.join(STARTED),
        vec![b' '; ROOM + 64 * spec.processes.len()],
    )?;
    fs::write(folder.join(ENDED), [b' '; ROOM])
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

/// When a process began, in the kernel's clock ticks; 0 where the system does not say.
pub fn start_of(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name of the program, in parentheses, may hold anything.
    stat.rsplit_once(") ")
        .and_then(|(_, fields)| fields.split(' ').nth(19)?.parse().ok())
        .unwrap_or(0)
}

/// Sends a signal to every process of a leader's group.
pub fn signal_group(leader: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(leader).ok().and_then(Pid::from_raw) {
        // They may have ended meanwhile.
        let _ = kill_process_group(pid, signal);
    }
}

/// The supervisor's whole life.
pub async fn run(folder: &Path) -> ExitCode {
    match watch_over(folder).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("azureml-local run-job: {}: {error}", folder.display());
            ExitCode::FAILURE
        }
    }
}

async fn watch_over(folder: &Path) -> io::Result<()> {
    // Signals to the terminal or the session that the server was started from do not reach the job.
    // It fails when the caller made us a leader already, which is as good.
    let _ = setsid();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let lock = File::open(folder.join(LOCK))?;
    lock.lock()?;
    let mut record = OpenOptions::new().write(true).open(folder.join(ENDED))?;
    let mut start = OpenOptions::new().write(true).open(folder.join(STARTED))?;
    let spec: Spec = serde_json::from_slice(&fs::read(folder.join(SPEC))?)?;
    let grace = Duration::from_secs_f64(spec.grace);

    let mut children = Vec::new();
    for process in &spec.processes {
        match spawn(&spec, process) {
            Ok(child) => children.push(child),
            Err(error) => {
                signal_all(&leaders(&children).collect::<Vec<_>>(), Signal::KILL);
                // 127 is the shell's own word for a command that cannot be run.
                eprintln!("azureml-local run-job: the shell cannot be run: {error}");
                return write_record(&mut record, &outcome(children.len(), None));
            }
        }
    }
    let started = Started {
        supervisor: std::process::id(),
        boot: boot(),
        leaders: leaders(&children)
            .map(|pid| Leader {
                pid,
                start: start_of(pid),
            })
            .collect(),
    };
    write_record(&mut start, &started)?;
    // A server that is gone need not hear it.
    let _ = io::stdout()
        .write_all(READY)
        .and_then(|()| io::stdout().flush());

    let timeout = async {
        match spec.timeout {
            Some(timeout) => tokio::time::sleep(Duration::from_secs_f64(timeout)).await,
            None => std::future::pending().await,
        }
    };
    let leaders: Vec<u32> = leaders(&children).collect();
    let mut finished = std::pin::pin!(finish(children));
    let (mut timed_out, mut canceled) = (false, false);
    let ended = tokio::select! {
        ended = &mut finished => Some(ended),
        () = timeout => { timed_out = true; None }
        _ = terminate.recv() => { canceled = true; None }
        _ = interrupt.recv() => { canceled = true; None }
        _ = hangup.recv() => { canceled = true; None }
        // Nobody could ever see what becomes of it.
        () = vanished(folder) => { canceled = true; None }
    };
    let mut ended = if let Some(ended) = ended {
        ended
    } else {
        signal_all(&leaders, Signal::TERM);
        if let Ok(ended) = tokio::time::timeout(grace, &mut finished).await {
            ended
        } else {
            signal_all(&leaders, Signal::KILL);
            finished.await
        }
    };
    // What the job left running in the background ends with it, as in a container.
    signal_all(&leaders, Signal::KILL);
    ended.timed_out = timed_out;
    ended.canceled = canceled;
    write_record(&mut record, &ended)
}

/// Waits until the supervisor's folder is no more: somebody has removed the local workspace.
async fn vanished(folder: &Path) {
    let lock = folder.join(LOCK);
    while lock.exists() {
        tokio::time::sleep(LOOK).await;
    }
}

fn leaders(children: &[Child]) -> impl Iterator<Item = u32> {
    children.iter().filter_map(Child::id)
}

fn signal_all(leaders: &[u32], signal: Signal) {
    for leader in leaders {
        signal_group(*leader, signal);
    }
}

/// The shell that runs commands.
pub fn shell() -> &'static str {
    if Path::new("/bin/bash").exists() {
        "/bin/bash"
    } else {
        "/bin/sh"
    }
}

fn spawn(spec: &Spec, process: &Process) -> io::Result<Child> {
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&process.log)?;
    Command::new(shell())
        .arg("-c")
        .arg(&spec.command)
        .current_dir(&spec.directory)
        .env_clear()
        .envs(&spec.environment)
        .envs(&process.environment)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0)
        .spawn()
}

/// Waits for every process; the first that fails takes the others with it.
async fn finish(mut children: Vec<Child>) -> Ended {
    use futures::StreamExt;
    let leaders: Vec<u32> = leaders(&children).collect();
    let mut waiting: futures::stream::FuturesUnordered<_> = children
        .iter_mut()
        .enumerate()
        .map(|(rank, child)| async move { (rank, child.wait().await.ok()) })
        .collect();
    let mut decided: Option<Ended> = None;
    while let Some((rank, status)) = waiting.next().await {
        let this = outcome(rank, status);
        let failed = this.code != Some(0);
        if decided
            .as_ref()
            .is_none_or(|ended| failed && ended.code == Some(0))
        {
            if failed {
                signal_all(&leaders, Signal::TERM);
            }
            decided = Some(this);
        }
    }
    decided.unwrap_or_else(|| outcome(0, None))
}

fn outcome(rank: usize, status: Option<ExitStatus>) -> Ended {
    Ended {
        rank,
        code: status.map_or(Some(127), |status| status.code()),
        signal: status.and_then(|status| status.signal()),
        timed_out: false,
        canceled: false,
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
