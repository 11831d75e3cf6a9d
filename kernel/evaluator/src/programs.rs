//! The programs that cells and `!` lines start: they end with the kernel, however they detach themselves.
//!
//! A program that leaves its group, its session and its parent is still found. The kernel and the cell
//! process adopt what loses its parent ([`adopt`]), so it stays below one of them while they live; what
//! they leave behind when they are killed has a [tag](crate::tag). Whoever of the two is left ends it: the
//! kernel when the cell process dies, the cell process when the kernel dies. When both are killed at once, the
//! next kernel of this user does it ([`end_left`]).
//!
//! The local workspace is spared, with all it runs: jobs outlive the kernel.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::Timespec;
use rustix::process::{Pid, Signal};

use crate::tag::{self, Meant, Tag};

/// How long programs may take to end by themselves.
const GRACE: Duration = Duration::from_millis(300);

/// How long they are killed, until those that are left cannot be.
const LIMIT: Duration = Duration::from_secs(3);

/// How often it is looked whether they have ended.
const INTERVAL: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 10_000_000,
};

/// The program of the local workspace, which cells start through the SDK.
const SPARED: &str = "azureml-local";

/// Makes this process the parent of every program below it that loses its own.
pub(crate) fn adopt() {
    if let Err(error) = rustix::process::set_child_subreaper(Some(rustix::process::getpid())) {
        tracing::warn!(%error, "programs that detach themselves may outlive the kernel");
    }
}

/// Ends what this process has started and what has one of the tags, and whatever those have started.
pub(crate) fn end(own: bool, tags: &[Tag]) {
    end_each(|table| table.started(own, tags, Meant::Programs));
}

/// Ends what a kernel and its cell process, killed together, have left; `socket` was the kernel's.
pub(crate) fn end_left(socket: &Path) {
    let tags = [Tag::of_cells(socket), Tag::of_lines(socket)];
    end_each(|table| table.started(false, &tags, Meant::All));
}

/// Asks what `find` finds to end, and kills what does not.
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
        // Not the C library's sleep, which ends early in a cell that is stopped.
        let _ = rustix::event::poll(&mut [], Some(&INTERVAL));
    }
}

/// Ends all that the kernel has started, before it ends itself.
pub fn end_programs() {
    end(true, &[]);
}

/// Makes the kernel the parent of programs that lose theirs; see [`end_programs`].
pub fn adopt_programs() {
    adopt();
}

/// Sends a signal to each of them.
pub(crate) fn stop_each(processes: impl IntoIterator<Item = Pid>, signal: Signal) {
    for process in processes {
        rustix::process::kill_process(process, signal).ok();
    }
}

/// The children of these names, and whatever those have started.
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
    /// It has ended and waits for its parent to notice.
    ended: bool,
}

/// The processes of this machine by id.
struct Table(HashMap<i32, Process>);

impl Table {
    /// From `/proc/<id>/stat`: `id (name) state parent …`.
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

    /// What is to end: below this process, or tagged, or below what is; but not what is spared.
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
            // One that was replaced meanwhile is ` (deleted)`.
            .is_some_and(|name| name.to_string_lossy().trim_end_matches(" (deleted)") == SPARED)
    })
}
