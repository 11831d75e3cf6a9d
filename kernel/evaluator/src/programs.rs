//! Ends programs that cells and `!` lines start, together with the kernel, even if they are
//! daemonised.
//!
//! A program that leaves its process group, session and parent is still found. The kernel and the
//! cell process are subreapers ([`adopt`]): an orphaned process becomes a child of one of them
//! while they live. Programs that outlive both carry a [tag](crate::tag).
//!
//! If the cell process dies, the kernel ends the programs; if the kernel dies, the cell process
//! does. If both are killed at once, the next kernel of this user does ([`end_left`]).
//!
//! The local workspace and its descendants are excluded: jobs outlive the kernel.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::Timespec;
use rustix::process::{Pid, Signal};

use crate::tag::{self, Meant, Tag};

/// Time for programs to end after `SIGTERM`.
const GRACE: Duration = Duration::from_millis(300);

/// Time for a cell or callback to react to the signal of an interrupt.
pub(crate) const REACTION: Duration = Duration::from_secs(3);

/// Time after which the attempt is abandoned: a process may be unkillable.
const LIMIT: Duration = Duration::from_secs(3);

/// Interval at which the processes are checked.
const INTERVAL: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 10_000_000,
};

/// The executable of the local workspace, which cells start through the SDK.
const SPARED: &str = "azureml-local";

/// Makes this process a subreaper: the new parent of orphaned descendants.
pub(crate) fn adopt() {
    if let Err(error) = rustix::process::set_child_subreaper(Some(rustix::process::getpid())) {
        tracing::warn!(%error, "programs that detach themselves may outlive the kernel");
    }
}

/// Ends the programs that carry one of the tags, the children of this process if `own` is set, and
/// the descendants of both.
pub(crate) fn end(own: bool, tags: &[Tag]) {
    end_each(|table| table.started(own, tags, Meant::Programs));
}

/// Ends the programs left by a kernel that was killed together with its cell process; `socket` was
/// the kernel's socket.
pub(crate) fn end_left(socket: &Path) {
    let tags = [Tag::of_cells(socket), Tag::of_lines(socket)];
    end_each(|table| table.started(false, &tags, Meant::All));
}

/// Sends `SIGTERM` to the processes that `find` returns, then `SIGKILL` to those that remain.
fn end_each(find: impl Fn(&Table) -> Vec<Pid>) {
    let begun = Instant::now();
    let mut asked = HashSet::new();
    loop {
        let left = find(&Table::read());
        if left.is_empty() {
            return;
        }
        if begun.elapsed() > LIMIT {
            tracing::warn!(?left, "programs that cells have started did not end");
            return;
        }
        if begun.elapsed() > GRACE {
            stop_each(left, Signal::KILL);
        } else {
            stop_each(
                left.into_iter().filter(|id| asked.insert(*id)),
                Signal::TERM,
            );
        }
        // `poll` is used because the C library's sleep returns early in an interrupted cell.
        let _ = rustix::event::poll(&mut [], Some(&INTERVAL));
    }
}

/// Ends all programs that the kernel has started; called before the kernel exits.
pub fn end_programs() {
    end(true, &[]);
}

/// Makes the kernel a subreaper; see [`end_programs`].
pub fn adopt_programs() {
    adopt();
}

/// Sends a signal to each process.
pub(crate) fn stop_each(processes: impl IntoIterator<Item = Pid>, signal: Signal) {
    for process in processes {
        rustix::process::kill_process(process, signal).ok();
    }
}

/// Sends a signal to the process group of the cell process, as a terminal does. The group includes
/// programs that cells have started.
pub(crate) fn stop_group(process: Pid, signal: Signal) {
    rustix::process::kill_process_group(process, signal).ok();
}

/// Returns the children with matching names, and all their descendants.
pub(crate) fn children(parent: Pid, meant: impl Fn(&str) -> bool) -> Vec<Pid> {
    let table = Table::read();
    let parent = parent.as_raw_nonzero().get();
    let found = table
        .0
        .iter()
        .filter(|(_, process)| process.parent == parent && meant(&process.name))
        .map(|(id, _)| *id)
        .collect();
    pids(table.with_descendants(found, &|_| false))
}

fn pids(found: Vec<i32>) -> Vec<Pid> {
    found.into_iter().filter_map(Pid::from_raw).collect()
}

struct Process {
    name: String,
    parent: i32,
    /// Whether the process is a zombie.
    ended: bool,
}

/// The processes of this machine, by id.
struct Table(HashMap<i32, Process>);

impl Table {
    /// Reads `/proc/<id>/stat`: `id (name) state parent …`.
    fn read() -> Self {
        let parse = |text: &str| {
            let (head, tail) = text.rsplit_once(')')?;
            let (id, name) = head.split_once(" (")?;
            let mut fields = tail.split_whitespace();
            let ended = matches!(fields.next()?, "Z" | "X");
            let process = Process {
                name: name.to_owned(),
                parent: fields.next()?.parse().ok()?,
                ended,
            };
            Some((id.parse().ok()?, process))
        };
        let table = std::fs::read_dir("/proc")
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| std::fs::read_to_string(entry.path().join("stat")).ok())
            .filter_map(|text| parse(&text))
            .collect();
        Self(table)
    }

    /// Returns the processes to end: children of this process if `own` is set, tagged processes,
    /// and the descendants of both, except the excluded ones.
    fn started(&self, own: bool, tags: &[Tag], meant: Meant) -> Vec<Pid> {
        let this = rustix::process::getpid().as_raw_nonzero().get();
        let is_root = |id: &i32, process: &Process| {
            (own && process.parent == this) || (!tags.is_empty() && tag::is_on(*id, tags, meant))
        };
        let roots = self
            .0
            .iter()
            .filter(|(id, process)| **id != this && is_root(id, process) && !is_spared(**id))
            .map(|(id, _)| *id)
            .collect();
        let mut found = self.with_descendants(roots, &|id| id == this || is_spared(id));
        let below_spared = self.with_descendants(
            self.0.keys().copied().filter(|id| is_spared(*id)).collect(),
            &|_| false,
        );
        let below_spared: HashSet<i32> = below_spared.into_iter().collect();
        found.retain(|id| !below_spared.contains(id) && !self.0[id].ended);
        pids(found)
    }

    fn with_descendants(&self, mut found: Vec<i32>, leave: &dyn Fn(i32) -> bool) -> Vec<i32> {
        let mut known: HashSet<i32> = found.iter().copied().collect();
        let mut index = 0;
        while let Some(parent) = found.get(index).copied() {
            for (id, process) in &self.0 {
                if process.parent == parent && !leave(*id) && known.insert(*id) {
                    found.push(*id);
                }
            }
            index += 1;
        }
        found
    }
}

fn is_spared(id: i32) -> bool {
    std::fs::read_link(format!("/proc/{id}/exe")).is_ok_and(|program| {
        program
            .file_name()
            // The name of an executable that was replaced on disk ends with ` (deleted)`.
            .is_some_and(|name| name.to_string_lossy().trim_end_matches(" (deleted)") == SPARED)
    })
}
