//! The IOPub channel: a queue to which any component can publish, and a task for each front end
//! that sends the messages.
//!
//! No message is sent before the first front end has subscribed or a timeout has passed, so that
//! the first outputs of a kernel are not lost. Each subscription is answered with `iopub_welcome`.
//! A front end that stops reading is disconnected after a timeout and does not delay the others.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::message::{Parent, Session};
use crate::zmtp::listener::Listener;
use crate::zmtp::publisher::{self, Gone, Subscriber};
use crate::zmtp::{Context, Frames};
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

/// Maximum time that messages wait for the first subscriber.
const FIRST_SUBSCRIBER: Duration = Duration::from_secs(5);

#[derive(Clone)]
enum Item {
    Message(Arc<Frames>),
    /// Dropped when all earlier messages have been sent.
    Flush(mpsc::UnboundedSender<()>),
}

/// Publishes messages to the IOPub queue; cheap to clone, never blocks.
#[derive(Clone)]
pub struct IoPub {
    session: Arc<Session>,
    queue: mpsc::UnboundedSender<Item>,
    shared: Arc<Shared>,
}

/// The state that the queue and the tasks share.
#[derive(Default)]
struct Shared {
    /// Number of bytes queued for all front ends.
    waiting: AtomicUsize,
    front_ends: Mutex<Vec<FrontEnd>>,
}

/// A connected front end.
struct FrontEnd {
    queue: mpsc::UnboundedSender<Item>,
    /// Number of bytes queued for this front end.
    waiting: Arc<AtomicUsize>,
}

impl IoPub {
    /// Starts the tasks that send to the front ends that connect to `listener`.
    pub fn start(session: Arc<Session>, listener: Listener, context: &Context) -> Self {
        let (queue, items) = mpsc::unbounded_channel();
        let shared = Arc::<Shared>::default();
        let (opened, subscription) = watch::channel(false);
        tokio::spawn(distribute(items, shared.clone(), subscription));
        tokio::spawn(accept(
            session.clone(),
            publisher::start(listener, context),
            shared.clone(),
            Arc::new(opened),
        ));
        Self {
            session,
            queue,
            shared,
        }
    }

    /// Broadcasts a message.
    pub fn publish(&self, parent: Option<&Parent>, msg_type: &str, content: &Value) {
        let metadata = Value::Object(serde_json::Map::new());
        self.publish_with(parent, msg_type, &metadata, content, &[]);
    }

    /// Like [`publish`](Self::publish), with metadata and binary buffers.
    pub fn publish_with(
        &self,
        parent: Option<&Parent>,
        msg_type: &str,
        metadata: &Value,
        content: &Value,
        buffers: &[Bytes],
    ) {
        let topic = Bytes::from(format!("kernel.{}.{msg_type}", self.session.id()));
        let message =
            self.session
                .encode_with(&[topic], msg_type, parent, metadata, content, buffers);
        let size = size(&message);
        self.shared.waiting.fetch_add(size, Ordering::Relaxed);
        // Cannot fail: the task ends only with the process.
        let _ = self.queue.send(Item::Message(Arc::new(message)));
    }

    /// Broadcasts `busy`, `idle` or `starting`.
    pub fn status(&self, parent: Option<&Parent>, state: &str) {
        self.publish(parent, "status", &json!({ "execution_state": state }));
    }

    /// Returns the number of bytes queued for the slowest front end.
    pub fn waiting(&self) -> usize {
        let front_ends = self.shared.front_ends();
        let each = front_ends
            .iter()
            .map(|front_end| front_end.waiting.load(Ordering::Relaxed));
        self.shared.waiting.load(Ordering::Relaxed) + each.max().unwrap_or(0)
    }

    /// Waits until all messages published so far have been sent, at most for `limit`.
    pub async fn flush(&self, limit: Duration) {
        let (sending, mut sent) = mpsc::unbounded_channel();
        if self.queue.send(Item::Flush(sending)).is_ok()
            && timeout(limit, sent.recv()).await.is_err()
        {
            tracing::warn!("the last messages were not read by a front end in time");
        }
    }
}

impl Shared {
    fn front_ends(&self) -> MutexGuard<'_, Vec<FrontEnd>> {
        self.front_ends
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn size(message: &Frames) -> usize {
    message.iter().map(Bytes::len).sum()
}

/// Distributes each message to all front ends, once the first one has subscribed.
async fn distribute(
    mut items: mpsc::UnboundedReceiver<Item>,
    shared: Arc<Shared>,
    mut subscription: watch::Receiver<bool>,
) {
    let first = subscription.wait_for(|open| *open);
    if timeout(FIRST_SUBSCRIBER, first).await.is_err() {
        tracing::info!("no front end has subscribed yet; output is sent from now on");
    }
    while let Some(item) = items.recv().await {
        let size = match &item {
            Item::Message(message) => size(message),
            Item::Flush(_) => 0,
        };
        shared.front_ends().retain(|front_end| {
            front_end.waiting.fetch_add(size, Ordering::Relaxed);
            front_end.queue.send(item.clone()).is_ok()
        });
        shared.waiting.fetch_sub(size, Ordering::Relaxed);
    }
}

/// Starts a task for each connecting front end.
async fn accept(
    session: Arc<Session>,
    mut subscribers: mpsc::Receiver<Subscriber>,
    shared: Arc<Shared>,
    opened: Arc<watch::Sender<bool>>,
) {
    while let Some(subscriber) = subscribers.recv().await {
        let (queue, items) = mpsc::unbounded_channel();
        let waiting = Arc::<AtomicUsize>::default();
        shared.front_ends().push(FrontEnd {
            queue,
            waiting: waiting.clone(),
        });
        let (session, opened) = (session.clone(), opened.clone());
        tokio::spawn(async move {
            // The reason for the disconnection does not matter.
            let _ = send_all(&session, subscriber, items, &waiting, &opened).await;
        });
    }
}

/// Sends to one front end until it disconnects or is disconnected.
async fn send_all(
    session: &Session,
    mut subscriber: Subscriber,
    mut items: mpsc::UnboundedReceiver<Item>,
    waiting: &AtomicUsize,
    opened: &watch::Sender<bool>,
) -> Result<(), Gone> {
    loop {
        // All branches are cancellation-safe.
        tokio::select! {
            biased;
            event = subscriber.next() => {
                let event = event.ok_or(Gone)?;
                if let Some(topic) = subscriber.apply(event).await? {
                    subscriber.send(&welcome(session, topic)).await?;
                    opened.send_replace(true);
                }
            }
            item = items.recv() => match item {
                Some(Item::Message(message)) => {
                    subscriber.send(&message).await?;
                    waiting.fetch_sub(size(&message), Ordering::Relaxed);
                }
                Some(Item::Flush(sent)) => drop(sent),
                None => return Ok(()),
            },
        }
    }
}

fn welcome(session: &Session, topic: Bytes) -> Frames {
    let content = json!({ "subscription": String::from_utf8_lossy(&topic) });
    session.encode(&[topic], "iopub_welcome", None, &content)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zmtp::Limits;
    use zeromq::{Socket, SocketRecv, SubSocket};

    /// The time after which the test reports a hang.
    const HANGS: Duration = Duration::from_mins(1);

    async fn subscriber(path: &std::path::Path) -> SubSocket {
        let mut socket = SubSocket::new();
        let endpoint = format!("ipc://{}", path.display());
        socket.connect(&endpoint).await.expect("somebody listens");
        socket.subscribe("").await.expect("it is sent");
        socket
    }

    #[tokio::test]
    async fn a_front_end_that_reads_nothing_is_cut_off_and_the_next_one_is_served() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("iopub");
        let listener = Listener::ipc(&path).expect("the folder is ours");
        let session = Arc::new(Session::new("key"));
        let limits = Context::new(Limits {
            send: Duration::from_millis(100),
            ..Limits::default()
        });
        let iopub = IoPub::start(session, listener, &limits);
        let silent = subscriber(&path).await;
        // Larger than the buffers between the sockets.
        let large = json!({ "text": "x".repeat(16 << 20) });
        let cut_off = async {
            loop {
                iopub.publish(None, "stream", &large);
                iopub.flush(HANGS).await;
                // A disconnected front end is only detected by the next message.
                iopub.status(None, "idle");
                iopub.flush(HANGS).await;
                if iopub.shared.front_ends().is_empty() {
                    return;
                }
            }
        };
        timeout(HANGS, cut_off).await.expect("it is cut off");
        assert_eq!(iopub.waiting(), 0);
        let mut reading = subscriber(&path).await;
        let welcomed = timeout(HANGS, reading.recv()).await.expect("in time");
        let content = welcomed.expect("a message").into_vec().pop();
        assert_eq!(content.as_deref(), Some(&br#"{"subscription":""}"#[..]));
        iopub.publish(None, "stream", &json!({ "text": "again" }));
        let heard = timeout(HANGS, reading.recv()).await.expect("in time");
        let content = heard.expect("a message").into_vec().pop();
        assert_eq!(content.as_deref(), Some(&br#"{"text":"again"}"#[..]));
        drop(silent);
    }
}
