//! The shell and control channels: receive requests and send replies.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};

use super::handlers;
use super::kernel::Kernel;
use crate::protocol::message::{Message, Session};
use crate::zmtp::listener::Listener;
use crate::zmtp::router::{self, Receiver, Sender};
use crate::zmtp::{Context, Frames};

/// One of the two channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Name {
    /// Accepts all requests; those for the evaluator wait for the running cell.
    Shell,
    /// Accepts requests that must not wait.
    Control,
}

/// A request and the route to its sender.
#[derive(Debug)]
pub struct Request {
    /// The request.
    pub message: Message,
    session: Arc<Session>,
    replies: Sender,
}

impl Request {
    /// Sends the reply: `x_reply` to an `x_request`.
    pub fn reply(&self, content: &Value) {
        let request = &self.message.header.msg_type;
        let name = request.strip_suffix("_request").unwrap_or(request);
        let parent = &self.message.parent;
        let reply = self.session.encode(
            &parent.identities,
            &format!("{name}_reply"),
            Some(parent),
            content,
        );
        if !self.replies.send(reply) {
            tracing::warn!(request, "a reply was not sent: the front end has left");
        }
    }

    /// Sends an error reply.
    pub fn reply_error(&self, ename: &str, evalue: &str) {
        if self.message.header.msg_type == "is_complete_request" {
            // `is_complete_reply` has a separate status for this case.
            return self.reply(&json!({ "status": "unknown" }));
        }
        self.reply(&json!({
            "status": "error",
            "ename": ename,
            "evalue": evalue,
            "traceback": evalue.lines().collect::<Vec<_>>(),
        }));
    }
}

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

/// Starts the task that reads requests from a channel until the process ends. No message can end
/// it.
pub fn start(kernel: Arc<Kernel>, name: Name, listener: Listener, context: &Context) {
    let verifier = Verifier {
        session: kernel.session.clone(),
        channel: match name {
            Name::Shell => "shell",
            Name::Control => "control",
        },
    };
    let (replies, requests) = router::start(listener, context, verifier);
    tokio::spawn(run(kernel, name, replies, requests));
}

async fn run(kernel: Arc<Kernel>, name: Name, replies: Sender, mut requests: Receiver<Message>) {
    while let Some(message) = requests.recv().await {
        let request = Request {
            message,
            session: kernel.session.clone(),
            replies: replies.clone(),
        };
        handlers::handle(&kernel, name, request).await;
    }
}
