//! Descendants of a process: finds, signals, ends and reaps them, independent of their session and
//! parent.
//!
//! A child subreaper (`PR_SET_CHILD_SUBREAPER`) stays the ancestor of all processes that start
//! below it: orphans become its children. When it has no children left, it has no descendants left.

use super::mark::Mark;
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, WaitStatus, getpid, getuid, kill_process, pidfd_open,
    pidfd_send_signal, set_child_subreaper, wait,
};
use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};

/// How long killed processes may take to end; a process in uninterruptible sleep takes longer.
const PATIENCE: Duration = Duration::from_secs(10);

/// The polling interval for descendants while killed processes end.
const LOOK: Duration = Duration::from_millis(20);

/// The maximum number of rounds that stop all processes before the kill; a forking process may
/// escape some of them.
const ROUNDS: usize = 100;

/// A process. Its id may be reused by a process that starts later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Process {
    /// Its id.
    pub pid: Pid,
    /// Its start time in the kernel's clock ticks; 0 if unknown.
    pub start: u64,
}

impl Process {
    /// The process with this id now.
    pub fn of(pid: Pid) -> Self {
        let start = Stat::of(pid).map_or(0, |stat| stat.start);
        Self { pid, start }
    }

    /// Sends a signal to this process, but not to a later one with the same id.
    pub fn signal(self, signal: Signal) {
        let handle = pidfd_open(self.pid, PidfdFlags::empty());
        // The handle was opened before this comparison, so it refers to the compared process.
        if Stat::of(self.pid).map_or(0, |stat| stat.start) != self.start {
            return;
        }
        // The process may have ended meanwhile.
        let _ = match handle {
            Ok(handle) => pidfd_send_signal(handle, signal),
            Err(Errno::SRCH) => return,
            // Kernels before 5.3 do not support pidfds, and some containers forbid them.
            Err(_) => kill_process(self.pid, signal),
        };
    }
}

/// The used fields of `/proc/<pid>/stat`.
struct Stat {
    parent: i32,
    start: u64,
    is_zombie: bool,
}

impl Stat {
    fn of(pid: Pid) -> Option<Self> {
        let stat = fs::read(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
        let stat = String::from_utf8_lossy(&stat);
        // The name of the program, in parentheses, may contain any characters.
        let (_, fields) = stat.rsplit_once(") ")?;
        let fields: Vec<&str> = fields.split(' ').collect();
        Some(Self {
            is_zombie: matches!(*fields.first()?, "Z" | "X"),
            parent: fields.get(1)?.parse().ok()?,
            start: fields.get(19)?.parse().ok()?,
        })
    }
}

/// The ids of all processes.
fn all() -> impl Iterator<Item = Pid> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?))
}

/// Makes this process the child subreaper of its descendants.
pub fn adopt_orphans() -> io::Result<()> {
    Ok(set_child_subreaper(Some(getpid()))?)
}

/// The descendants of this process that have not ended.
pub fn descendants() -> Vec<Process> {
    let table: HashMap<i32, Stat> = all()
        .filter_map(|pid| Some((pid.as_raw_nonzero().get(), Stat::of(pid)?)))
        .collect();
    let own = getpid().as_raw_nonzero().get();
    let descends = |mut pid: i32| {
        // If ids are reused while the table is read, parents may form a loop.
        for _ in 0..table.len() {
            match table.get(&pid) {
                Some(stat) if stat.parent == own => return true,
                Some(stat) => pid = stat.parent,
                None => return false,
            }
        }
        false
    };
    table
        .iter()
        .filter(|(pid, stat)| !stat.is_zombie && descends(**pid))
        .filter_map(|(pid, stat)| {
            let pid = Pid::from_raw(*pid)?;
            Some(Process {
                pid,
                start: stat.start,
            })
        })
        .collect()
}

/// Reaps every ended child and passes it to `ended`; returns whether any child is left.
pub fn reap(mut ended: impl FnMut(Pid, WaitStatus)) -> bool {
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) => ended(pid, status),
            Ok(None) => return true,
            Err(Errno::INTR) => {}
            Err(_) => return false,
        }
    }
}

/// Kills and reaps every descendant.
pub async fn end_descendants(mut ended: impl FnMut(Pid, WaitStatus)) -> io::Result<()> {
    let mut children = signal(SignalKind::child())?;
    let start = Instant::now();
    while reap(&mut ended) && start.elapsed() < PATIENCE {
        kill_all(descendants);
        // Orphans become children when their parents end.
        let _ = tokio::time::timeout(LOOK, children.recv()).await;
    }
    Ok(())
}

/// Kills every process of this user with the mark, and their new children.
pub fn end_marked(mark: &Mark) {
    let own = getpid();
    let is_own_users = |pid: &Pid| {
        fs::metadata(format!("/proc/{}", pid.as_raw_nonzero()))
            .is_ok_and(|folder| folder.uid() == getuid().as_raw())
    };
    kill_all(|| {
        all()
            .filter(|pid| *pid != own && is_own_users(pid) && mark.is_on(*pid))
            .map(Process::of)
            .collect()
    });
}

/// Kills the processes that `find` returns. All are stopped first, so that a process that forks
/// cannot stay ahead of the search.
fn kill_all(find: impl Fn() -> Vec<Process>) {
    let mut stopped = HashSet::new();
    for _ in 0..ROUNDS {
        let new: Vec<Process> = find()
            .into_iter()
            .filter(|process| stopped.insert(*process))
            .collect();
        if new.is_empty() {
            break;
        }
        for process in new {
            process.signal(Signal::STOP);
        }
    }
    for process in stopped {
        process.signal(Signal::KILL);
    }
}
