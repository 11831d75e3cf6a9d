//! Verification of the messages that arrive on a socket.

use std::sync::Arc;

use bytes::Bytes;

use crate::protocol::message::{Message, Session};
use crate::zmtp::{Frames, router};

/// Decodes and verifies Jupyter messages from a socket.
pub struct Verifier {
    /// The session that verifies signatures.
    pub session: Arc<Session>,
    /// The channel's name, for the log.
    pub channel: &'static str,
}

impl router::Verify for Verifier {
    type Message = Message;

    fn read(&self, frames: Frames) -> Option<Message> {
        self.session
            .decode(frames)
            .inspect_err(|error| {
                tracing::warn!(channel = self.channel, %error, "dropped a message");
            })
            .ok()
    }

    fn proves(&self, frames: &[Bytes]) -> bool {
        self.session.is_signed(frames)
    }
}
