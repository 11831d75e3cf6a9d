//! The shell and control channels: reads requests, sends replies.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc;
use zeromq::{RouterSendHalf, RouterSocket, SocketRecv, SocketSend, ZmqMessage};

use super::handlers;
use super::kernel::Kernel;
use crate::protocol::message::{Message, Session};

/// How long one reply may take to go out before it is given up.
const SEND_LIMIT: Duration = Duration::from_secs(20);

/// Which of the two channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Name {
    /// Takes everything; what needs the evaluator waits for the running cell.
    Shell,
    /// Takes what must not wait.
    Control,
}

/// A request and the way back to who sent it.
#[derive(Debug)]
pub struct Request {
    /// The request.
    pub message: Message,
    session: Arc<Session>,
    replies: mpsc::UnboundedSender<ZmqMessage>,
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
        // The task that sends only ends with the process.
        let _ = self.replies.send(reply);
    }

    /// Replies that the request failed.
    pub fn reply_error(&self, ename: &str, evalue: &str) {
        if self.message.header.msg_type == "is_complete_request" {
            // Has a status of its own for it.
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

/// Reads requests from a channel for ever. Nothing that arrives ends it.
pub async fn run(kernel: Arc<Kernel>, name: Name, socket: RouterSocket) {
    let (send_half, mut recv_half) = socket.split();
    let (replies, waiting) = mpsc::unbounded_channel();
    tokio::spawn(send(name, send_half, waiting));
    loop {
        let frames = match recv_half.recv().await {
            Ok(frames) => frames,
            Err(error) => {
                tracing::warn!(channel = ?name, %error, "cannot receive");
                tokio::task::yield_now().await;
                continue;
            }
        };
        match kernel.session.decode(frames) {
            Ok(message) => {
                let request = Request {
                    message,
                    session: kernel.session.clone(),
                    replies: replies.clone(),
                };
                handlers::handle(&kernel, name, request).await;
            }
            Err(error) => tracing::warn!(channel = ?name, %error, "dropped a message"),
        }
    }
}

async fn send(
    name: Name,
    mut half: RouterSendHalf,
    mut replies: mpsc::UnboundedReceiver<ZmqMessage>,
) {
    while let Some(reply) = replies.recv().await {
        match tokio::time::timeout(SEND_LIMIT, half.send(reply)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(channel = ?name, %error, "a reply was not sent"),
            Err(_) => tracing::warn!(channel = ?name, "a front end does not read its replies"),
        }
    }
}
