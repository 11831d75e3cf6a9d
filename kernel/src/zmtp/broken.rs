//! The reasons for closing a connection.

use std::io;

/// The reason for closing a connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    /// The connection failed or ended.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The peer violates the protocol.
    #[error("not ZMTP 3 with the mechanism NULL: {0}")]
    Protocol(&'static str),
    /// The peer's socket type is not compatible with this one.
    #[error("a peer's socket of the type `{0}` does not fit")]
    SocketType(String),
    /// A message is larger than the limit.
    #[error("a message is larger than {0} bytes")]
    TooLarge(usize),
    /// A message has too many frames.
    #[error("a message has more than {0} frames")]
    TooManyFrames(usize),
    /// The memory budget for unverified messages is exhausted.
    #[error("no room is left for unverified messages")]
    NoRoom,
    /// A timeout expired.
    #[error("a peer took too long to {0}")]
    Slow(&'static str),
}
