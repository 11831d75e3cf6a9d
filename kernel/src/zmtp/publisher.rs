//! An XPUB socket whose subscribers are independent: each one is returned separately, so that none
//! delays another.

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::Context;
use super::broken::Broken;
use super::budget::Account;
use super::listener::{Listener, Stream};
use super::peers::{Evicted, Peers, Seat, Standing};
use super::router::{accept, until_evicted};
use super::wire::{self, Frames, Incoming, Reader, SocketType, Writer};

/// Maximum number of bytes of one subscriber's topics, and the overhead counted for each topic.
const TOPICS: usize = 64 << 10;
const TOPIC_OVERHEAD: usize = 64;

/// Maximum length of a topic, in bytes.
const LARGEST_TOPIC: usize = 4 << 10;

/// Number of subscriptions that can wait for an answer; further ones cause backpressure on the
/// peer.
const WAITING: usize = 16;

/// A connected front end.
pub struct Subscriber {
    writer: Writer,
    topics: Vec<Bytes>,
    events: mpsc::Receiver<Event>,
    /// The task that reads from the front end.
    _reading: JoinSet<()>,
}

/// A request of a front end to the publisher.
pub struct Event(Asked);

enum Asked {
    Subscribed(Bytes),
    Canceled(Bytes),
    Pinged(Vec<u8>),
}

/// The front end has disconnected, reads nothing, or was disconnected.
#[derive(Debug)]
pub struct Gone;

/// Accepts subscribers on a listener until the process ends.
pub fn start(listener: Listener, context: &Context) -> mpsc::Receiver<Subscriber> {
    let (subscribers, receiver) = mpsc::channel(1);
    let peers = Peers::new(context.limits.connections);
    let context = context.clone();
    tokio::spawn(accept(listener, peers, move |stream, seat, evicted| {
        tokio::spawn(welcome(
            stream,
            seat,
            evicted,
            context.clone(),
            subscribers.clone(),
        ));
    }));
    receiver
}

async fn welcome(
    stream: Stream,
    seat: Seat,
    mut evicted: Evicted,
    context: Context,
    subscribers: mpsc::Sender<Subscriber>,
) {
    let account = Account::new(&context);
    let greeted = tokio::select! {
        _ = &mut evicted => return,
        greeted = wire::handshake(stream, SocketType::XPub, account) => greeted,
    };
    let (reader, writer) = match greeted {
        Ok((reader, writer, _)) => (reader, writer),
        Err(Broken::Io(_)) => return,
        Err(error) => return tracing::warn!(%error, "cut off a connection to iopub"),
    };
    seat.rise(Standing::Greeted);
    let (sender, events) = mpsc::channel(WAITING);
    let mut reading = JoinSet::new();
    reading.spawn(until_evicted(evicted, read(reader, seat, sender)));
    let subscriber = Subscriber {
        writer,
        topics: Vec::new(),
        events,
        _reading: reading,
    };
    // Fails only when the kernel ends and the receiver is gone.
    let _ = subscribers.send(subscriber).await;
}

/// Reads subscriptions.
async fn read(mut reader: Reader, seat: Seat, events: mpsc::Sender<Event>) -> Result<(), Broken> {
    loop {
        let asked = asked(reader.next().await?);
        reader.account.settle();
        match &asked {
            Some(Asked::Subscribed(topic) | Asked::Canceled(topic))
                if topic.len() > LARGEST_TOPIC =>
            {
                return Err(Broken::TooLarge(LARGEST_TOPIC));
            }
            Some(Asked::Subscribed(_)) => seat.rise(Standing::Trusted),
            _ => {}
        }
        if let Some(asked) = asked
            && events.send(Event(asked)).await.is_err()
        {
            return Ok(());
        }
    }
}

/// Parses a subscription: a message that begins with 1 subscribes, one that begins with 0
/// unsubscribes. ZMTP 3.1 uses commands instead.
fn asked(incoming: Incoming) -> Option<Asked> {
    match incoming {
        Incoming::Message(frames) => match frames.first()?.split_first()? {
            (1, topic) => Some(Asked::Subscribed(Bytes::copy_from_slice(topic))),
            (0, topic) => Some(Asked::Canceled(Bytes::copy_from_slice(topic))),
            _ => None,
        },
        Incoming::Command(command) => {
            if let Some(topic) = command.strip_prefix(b"\x09SUBSCRIBE") {
                Some(Asked::Subscribed(Bytes::copy_from_slice(topic)))
            } else if let Some(topic) = command.strip_prefix(b"\x06CANCEL") {
                Some(Asked::Canceled(Bytes::copy_from_slice(topic)))
            } else {
                wire::pong(&command).map(Asked::Pinged)
            }
        }
    }
}

impl Subscriber {
    /// Returns the next request of the front end; `None` when it has disconnected.
    /// Cancellation-safe.
    pub async fn next(&mut self) -> Option<Event> {
        self.events.recv().await
    }

    /// Applies a request of the front end; returns the topic if it is a subscription.
    pub async fn apply(&mut self, event: Event) -> Result<Option<Bytes>, Gone> {
        match event.0 {
            Asked::Subscribed(topic) => {
                let held = |topic: &Bytes| topic.len() + TOPIC_OVERHEAD;
                let all: usize = self.topics.iter().map(held).sum();
                if all + held(&topic) > TOPICS {
                    tracing::warn!("cut off a front end with too many subscriptions");
                    return Err(Gone);
                }
                self.topics.push(topic.clone());
                Ok(Some(topic))
            }
            Asked::Canceled(topic) => {
                if let Some(index) = self.topics.iter().position(|known| *known == topic) {
                    self.topics.swap_remove(index);
                }
                Ok(None)
            }
            Asked::Pinged(pong) => gone(self.writer.write_command(&pong).await).map(|()| None),
        }
    }

    /// Sends a message if the front end has subscribed to it.
    pub async fn send(&mut self, frames: &Frames) -> Result<(), Gone> {
        let topic = frames.first().map(Bytes::as_ref).unwrap_or_default();
        if self.topics.iter().any(|known| topic.starts_with(known)) {
            gone(self.writer.write(frames).await)
        } else {
            Ok(())
        }
    }
}

fn gone(written: Result<(), Broken>) -> Result<(), Gone> {
    written.map_err(|error| {
        if !matches!(error, Broken::Io(_)) {
            tracing::warn!(%error, "cut off a front end");
        }
        Gone
    })
}
