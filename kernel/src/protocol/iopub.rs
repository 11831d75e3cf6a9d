//! The broadcast channel: a queue that anyone may put messages into, and the task that sends them.
//!
//! Nothing is sent before the first front end has subscribed (or a short while has passed), so that the first outputs of a kernel
//! are not lost. Each subscription is answered with `iopub_welcome`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout};
use zeromq::{SocketRecv, SocketSend, XPubSocket, ZmqMessage};

use super::message::{Parent, Session};

/// How long messages wait for the first subscriber.
const FIRST_SUBSCRIBER: Duration = Duration::from_secs(5);

/// How long one message may take to go out. A subscriber that reads nothing for so long is skipped for this message.
const SEND_LIMIT: Duration = Duration::from_secs(20);

enum Item {
    Message(ZmqMessage),
    Flush(oneshot::Sender<()>),
}

/// Puts messages into the broadcast queue; cheap to clone, never blocks.
#[derive(Clone)]
pub struct IoPub {
    session: Arc<Session>,
    queue: mpsc::UnboundedSender<Item>,
    waiting: Arc<AtomicUsize>,
}

impl IoPub {
    /// Starts the task that sends on `socket`.
    pub fn start(session: Arc<Session>, socket: XPubSocket) -> Self {
        let (queue, items) = mpsc::unbounded_channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        tokio::spawn(run(session.clone(), socket, items, waiting.clone()));
        Self {
            session,
            queue,
            waiting,
        }
    }

    /// Broadcasts a message.
    pub fn publish(&self, parent: Option<&Parent>, msg_type: &str, content: &Value) {
        let topic = Bytes::from(format!("kernel.{}.{msg_type}", self.session.id()));
        let message = self.session.encode(&[topic], msg_type, parent, content);
        self.waiting.fetch_add(size(&message), Ordering::Relaxed);
        // The task only ends with the process.
        let _ = self.queue.send(Item::Message(message));
    }

    /// Broadcasts `busy`, `idle` or `starting`.
    pub fn status(&self, parent: Option<&Parent>, state: &str) {
        self.publish(parent, "status", &json!({ "execution_state": state }));
    }

    /// The bytes that wait to be sent.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Waits until all that was published so far has been sent, but no longer than `limit`.
    pub async fn flush(&self, limit: Duration) {
        let (done, flushed) = oneshot::channel();
        if self.queue.send(Item::Flush(done)).is_ok() && timeout(limit, flushed).await.is_err() {
            tracing::warn!("the last messages were not read by a front end in time");
        }
    }
}

fn size(message: &ZmqMessage) -> usize {
    message.iter().map(Bytes::len).sum()
}

async fn run(
    session: Arc<Session>,
    mut socket: XPubSocket,
    mut items: mpsc::UnboundedReceiver<Item>,
    waiting: Arc<AtomicUsize>,
) {
    let patience = Instant::now() + FIRST_SUBSCRIBER;
    let mut subscribed = false;
    loop {
        // The queue is looked at only once somebody listens; cancelling either future loses nothing.
        tokio::select! {
            biased;
            event = socket.recv() => match event {
                Ok(event) => {
                    if let Some(topic) = subscription(&event) {
                        subscribed = true;
                        welcome(&session, &mut socket, topic).await;
                    }
                }
                Err(error) => tracing::debug!(%error, "an iopub subscriber left"),
            },
            item = items.recv(), if subscribed => match item {
                Some(Item::Message(message)) => {
                    waiting.fetch_sub(size(&message), Ordering::Relaxed);
                    send(&mut socket, message).await;
                }
                Some(Item::Flush(done)) => {
                    let _ = done.send(());
                }
                None => return,
            },
            () = tokio::time::sleep_until(patience), if !subscribed => {
                subscribed = true;
                tracing::info!("no front end has subscribed yet; output is sent from now on");
            }
        }
    }
}

/// The topic of a subscription; `None` when the event is something else.
fn subscription(event: &ZmqMessage) -> Option<&[u8]> {
    event.get(0)?.strip_prefix(&[1])
}

async fn welcome(session: &Session, socket: &mut XPubSocket, topic: &[u8]) {
    let topic = Bytes::copy_from_slice(topic);
    let content = json!({ "subscription": String::from_utf8_lossy(&topic) });
    let message = session.encode(&[topic], "iopub_welcome", None, &content);
    send(socket, message).await;
}

async fn send(socket: &mut XPubSocket, message: ZmqMessage) {
    match timeout(SEND_LIMIT, socket.send(message)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "a broadcast was not sent"),
        Err(_) => tracing::warn!("a front end does not read its output; a broadcast was skipped"),
    }
}
