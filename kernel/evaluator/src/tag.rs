//! Tags for programs that cells and `!` lines start. A tag identifies the kernel, and whether a
//! cell or a `!` line started the program.
//!
//! A tag is inherited in two ways. The environment makes it visible to users, but a program can
//! clear its environment (`env -i`). A resource limit therefore carries it as well: Linux passes
//! limits on through each fork and exec. Linux has not used the limit of file locks
//! (`RLIMIT_LOCKS`) since 2.4.25, and no program sets it.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sha2::{Digest, Sha256};

use crate::env;

/// Start of the line of `/proc/<id>/limits` that shows the limit.
const LINE: &str = "Max file locks ";

/// A tag that identifies who started a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag(String);

impl Tag {
    /// The tag of programs that the cell process starts; `socket` is the kernel's socket.
    pub fn of_cells(socket: &Path) -> Self {
        Self(format!("cell:{}", socket.display()))
    }

    /// The tag of programs that the kernel itself starts for a `!` line.
    pub(crate) fn of_lines(socket: &Path) -> Self {
        Self(format!("line:{}", socket.display()))
    }

    /// Sets the tag on a command; its descendants inherit it.
    #[allow(unsafe_code)]
    pub(crate) fn put_on<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        let limit = self.limit();
        command.env(env::STARTED_BY, &self.0);
        let set = move || {
            set_limit(limit);
            Ok(())
        };
        // SAFETY: between fork and exec the closure makes two system calls; it takes no lock and
        // does not allocate.
        unsafe { command.pre_exec(set) }
    }

    /// Passes the tag to a cell process, which sets its own limit in [`carry`].
    ///
    /// The limit cannot be set here. Between fork and exec the child would have the limit but not
    /// yet the new environment, and could be mistaken for a program left by an earlier cell
    /// process.
    pub fn name_to<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.env(env::STARTED_BY, &self.0)
    }

    /// The value of the limit. It is so large that no user sets it, and it is not "unlimited".
    fn limit(&self) -> u64 {
        let hash: [u8; 32] = Sha256::digest(&self.0).into();
        let first = hash
            .into_iter()
            .take(8)
            .fold(0, |value, byte| value << 8 | u64::from(byte));
        first >> 2
    }
}

/// Sets the limit of this process according to the tag in its environment; descendants inherit it.
pub(crate) fn carry() {
    if let Ok(tag) = std::env::var(env::STARTED_BY) {
        set_limit(Tag(tag).limit());
    }
}

/// Sets the soft limit of this process. The call fails if the hard limit is lower; the tag is then
/// only in the environment.
fn set_limit(limit: u64) {
    let limit = Rlimit {
        current: Some(limit),
        maximum: getrlimit(Resource::Locks).maximum,
    };
    setrlimit(Resource::Locks, limit).ok();
}

/// Selects processes that carry a tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meant {
    /// All except cell processes, which are not started by cells.
    Programs,
    /// All processes: their kernel has ended.
    All,
}

/// Whether a process carries one of the tags.
pub(crate) fn is_on(id: i32, tags: &[Tag], meant: Meant) -> bool {
    // The limit is read before the environment: a cell process sets the limit after it has got the
    // environment with its role. In the other order, a new cell process could be taken for a program
    // if it started between the two readings.
    let limited = limit_of(id).is_some_and(|limit| tags.iter().any(|known| known.limit() == limit));
    // Empty for programs of other users, and for those that have cleared their environment.
    let environment = std::fs::read(format!("/proc/{id}/environ")).unwrap_or_default();
    let value = |name: &str| {
        environment
            .split(|byte| *byte == 0)
            .find_map(|entry| entry.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
    };
    if meant == Meant::Programs && value(env::ROLE).is_some() {
        return false;
    }
    value(env::STARTED_BY).is_some_and(|tag| tags.iter().any(|known| known.0.as_bytes() == tag))
        || limited
}

fn limit_of(id: i32) -> Option<u64> {
    let limits = std::fs::read_to_string(format!("/proc/{id}/limits")).ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix(LINE))?;
    line.split_whitespace().next()?.parse().ok()
}
