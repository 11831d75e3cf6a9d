//! The server side of ZMTP 3, `ZeroMQ`'s wire protocol (<https://rfc.zeromq.org/spec/23/>), with
//! limits on everything that a peer without the key can make the kernel hold or wait for.
//!
//! A kernel needs little of `ZeroMQ`: it listens, on TCP or Unix sockets, as a ROUTER, an XPUB or an
//! echo, with the NULL mechanism. Nothing is allocated because a peer announces it: memory grows with
//! the bytes that arrive, within a [`Budget`](budget::Budget) until a message of the peer is verified.

pub mod budget;
pub mod echo;
pub mod listener;
mod peers;
pub mod publisher;
pub mod router;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use budget::Budget;

pub use wire::Frames;

/// What peers may make the kernel hold or wait for.
#[derive(Debug, Clone)]
pub struct Limits {
    /// How long the greeting and the handshake may take together.
    pub handshake: Duration,
    /// How long a message of an unverified peer may take from its first byte to its last.
    pub message: Duration,
    /// How long one message may take to be written to a peer; one that reads nothing for so long is
    /// cut off.
    pub send: Duration,
    /// Connections of each socket.
    pub connections: usize,
    /// Frames of one message.
    pub frames: usize,
    /// Bytes of one message of a verified peer.
    pub message_size: usize,
    /// Bytes of one message of a peer that has not sent a verified message yet.
    pub unverified_size: usize,
    /// Bytes that all such messages of all sockets may hold together.
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

/// The descriptors that the kernel asks for: a thousand connections for each socket, and its own files.
const DESCRIPTORS: u64 = 8 << 10;

/// The share of a process's descriptors that one of the five sockets may take, so that cells can always
/// be compiled and run, however many connect.
fn connections() -> usize {
    use rustix::process::{Resource, getrlimit};
    let allowed = getrlimit(Resource::Nofile).current.unwrap_or(DESCRIPTORS);
    usize::try_from(allowed / 8).map_or(1024, |share| share.clamp(16, 1024))
}

/// Raises the number of descriptors that this process may open as far as it is allowed to.
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

/// The limits of a kernel, and the budget that its sockets share.
#[derive(Debug, Clone)]
pub struct Context {
    limits: Arc<Limits>,
    budget: Arc<Budget>,
}

impl Context {
    /// A context with these limits.
    pub fn new(limits: Limits) -> Self {
        Self {
            budget: Arc::new(Budget::new(limits.unverified_total)),
            limits: Arc::new(limits),
        }
    }
}
