//! A request of a front end and its reply.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::protocol::message::{Message, Session};
use crate::zmtp::router::Sender;

/// One of the two channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
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
    /// Creates a request whose reply is signed by `session` and sent to `replies`.
    pub fn new(message: Message, session: Arc<Session>, replies: Sender) -> Self {
        Self {
            message,
            session,
            replies,
        }
    }

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
