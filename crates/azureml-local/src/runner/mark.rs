//! The mark of a job's processes, which every descendant inherits.
//!
//! It is in two places. In the environment it is visible to users and to `ps`, but a process can
//! clear its environment (`env -i`). So it is also the value of a resource limit: Linux passes
//! limits on through fork and exec, and has not used the limit of file locks (`RLIMIT_LOCKS`) since
//! 2.4.25. No program sets that limit.

use azureml_wire::local::env;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, setrlimit};
use sha2::{Digest, Sha256};
use std::fs;
use std::io;
use std::path::Path;

/// The line of `/proc/<pid>/limits` with the limit.
const LINE: &str = "Max file locks ";

/// The mark of one job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark(String);

impl Mark {
    /// The mark of the job in this folder.
    pub fn of(folder: &Path) -> Self {
        Self(folder.to_string_lossy().into_owned())
    }

    /// The mark in the environment of this process.
    pub fn own() -> Option<Self> {
        std::env::var(env::JOB).ok().map(Self)
    }

    /// The environment variable with the mark.
    pub fn variable(&self) -> (&'static str, &str) {
        (env::JOB, &self.0)
    }

    /// Sets the limit of this process and of its future children. Fails if the hard limit is lower.
    pub fn set_limit(&self) -> io::Result<()> {
        let limit = Rlimit {
            current: Some(self.limit()),
            maximum: getrlimit(Resource::Locks).maximum,
        };
        Ok(setrlimit(Resource::Locks, limit)?)
    }

    /// Whether a process has the mark. The environments of other users' processes are not readable.
    pub fn is_on(&self, pid: Pid) -> bool {
        let file = |name: &str| fs::read(format!("/proc/{}/{name}", pid.as_raw_nonzero()));
        let (name, value) = self.variable();
        let variable = format!("{name}={value}");
        file("environ").is_ok_and(|environment| {
            environment
                .split(|byte| *byte == 0)
                .any(|known| known == variable.as_bytes())
        }) || file("limits").is_ok_and(|limits| limit_in(&limits) == Some(self.limit()))
    }

    /// The value of the limit. It is so large that it differs from usual limits and from
    /// "unlimited".
    fn limit(&self) -> u64 {
        let hash: [u8; 32] = Sha256::digest(&self.0).into();
        let first = hash
            .into_iter()
            .take(8)
            .fold(0, |value, byte| value << 8 | u64::from(byte));
        first >> 2
    }
}

fn limit_in(limits: &[u8]) -> Option<u64> {
    let line = String::from_utf8_lossy(limits)
        .lines()
        .find_map(|line| line.strip_prefix(LINE).map(str::to_owned))?;
    line.split_whitespace().next()?.parse().ok()
}
