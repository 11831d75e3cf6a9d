//! Limits on peers, and the limit of open files of the process.

use std::time::Duration;

/// Limits on the memory and the time that peers can use.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Timeout of the greeting and the handshake together.
    pub handshake: Duration,
    /// Timeout for receiving a message of an unverified peer, from the first byte to the last.
    pub message: Duration,
    /// Timeout for writing one message to a peer; a peer that reads nothing for this time is
    /// disconnected.
    pub send: Duration,
    /// Maximum number of connections of each socket.
    pub connections: usize,
    /// Maximum number of frames in a message.
    pub frames: usize,
    /// Maximum size in bytes of a message of a verified peer.
    pub message_size: usize,
    /// Maximum size in bytes of a message of a peer that has not yet sent a verified message.
    pub unverified_size: usize,
    /// Maximum size in bytes of all unverified messages of all sockets together.
    pub unverified_total: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            message: Duration::from_mins(1),
            send: Duration::from_secs(20),
            connections: connections(),
            frames: 16 << 10,
            message_size: 1 << 30,
            unverified_size: 32 << 20,
            unverified_total: 64 << 20,
        }
    }
}

/// Number of file descriptors that the kernel requests: a thousand connections for each socket, and
/// the kernel's files.
const DESCRIPTORS: u64 = 8 << 10;

/// The maximum number of connections of one of the five sockets. It is a share of the process's
/// file descriptors, so that cells can be compiled and run regardless of the number of connections.
fn connections() -> usize {
    use rustix::process::{Resource, getrlimit};
    let allowed = getrlimit(Resource::Nofile).current.unwrap_or(DESCRIPTORS);
    usize::try_from(allowed / 8).map_or(1024, |share| share.clamp(16, 1024))
}

/// Raises the soft limit on open files up to the hard limit, at most to `DESCRIPTORS`.
pub fn raise_descriptors() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.unwrap_or(DESCRIPTORS).min(DESCRIPTORS);
    if limit.current.is_some_and(|current| current < wanted) {
        limit.current = Some(wanted);
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            tracing::debug!(%error, "the limit of open files stays as it is");
        }
    }
}
