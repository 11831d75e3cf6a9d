//! The tag of what cells and `!` lines start. It says which kernel has started a program, and for what.
//!
//! The tag is inherited in two places. The environment shows it to people, but a program can clear its
//! environment (`env -i`). So it is in a resource limit as well: Linux passes limits on through each fork and
//! exec, and has not used the limit of file locks (`RLIMIT_LOCKS`) since 2.4.25. No program sets that one.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sha2::{Digest, Sha256};

use crate::env;

/// The line of `/proc/<id>/limits` that shows the limit.
const LINE: &str = "Max file locks ";

/// A tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tag(String);

impl Tag {
    /// The tag of what the cell process starts, whose kernel listens on this socket.
    pub(crate) fn of_cells(socket: &Path) -> Self {
        Self(format!("cell:{}", socket.display()))
    }

    /// The tag of what the kernel itself starts for a `!` line.
    pub(crate) fn of_lines(socket: &Path) -> Self {
        Self(format!("line:{}", socket.display()))
    }

    /// Lets a command, and all that it starts, carry the tag.
    #[allow(unsafe_code)]
    pub(crate) fn put_on<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        let limit = self.limit();
        command.env(env::STARTED_BY, &self.0);
        let set = move || {
            set_limit(limit);
            Ok(())
        };
        // SAFETY: between fork and exec it makes two system calls; it takes no lock and allocates nothing.
        unsafe { command.pre_exec(set) }
    }

    /// Names the tag to a cell process, which puts it on itself by [`carry`]. With the limit and without its own environment yet, between
    /// fork and exec, it would be taken for a program that a cell process before it has left.
    pub(crate) fn name_to<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.env(env::STARTED_BY, &self.0)
    }

    /// The value of the limit. Its size keeps it far from a limit that somebody has set, and from "unlimited".
    fn limit(&self) -> u64 {
        let hash: [u8; 32] = Sha256::digest(&self.0).into();
        let first = hash
            .into_iter()
            .take(8)
            .fold(0, |value, byte| value << 8 | u64::from(byte));
        first >> 2
    }
}

/// Lets this process, and all that it starts, carry the tag that its environment names.
pub(crate) fn carry() {
    if let Ok(tag) = std::env::var(env::STARTED_BY) {
        set_limit(Tag(tag).limit());
    }
}

/// Sets the soft limit of this process. A lower hard limit refuses it; then the environment alone has the tag.
fn set_limit(limit: u64) {
    let limit = Rlimit {
        current: Some(limit),
        maximum: getrlimit(Resource::Locks).maximum,
    };
    setrlimit(Resource::Locks, limit).ok();
}

/// Which of the processes that carry a tag are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meant {
    /// All but cell processes: they are not what cells start.
    Programs,
    /// All: their kernel has ended.
    All,
}

/// Whether a process was started with one of the tags.
pub(crate) fn is_on(id: i32, tags: &[Tag], meant: Meant) -> bool {
    // Empty for programs of other users, and for those that have cleared it.
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
        || limit_of(id).is_some_and(|limit| tags.iter().any(|known| known.limit() == limit))
}

fn limit_of(id: i32) -> Option<u64> {
    let limits = std::fs::read_to_string(format!("/proc/{id}/limits")).ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix(LINE))?;
    line.split_whitespace().next()?.parse().ok()
}
