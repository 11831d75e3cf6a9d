//! A ROUTER socket: receives messages from many peers and routes replies by identity.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::Context;
use super::broken::Broken;
use super::budget::Account;
use super::listener::{Listener, Stream};
use super::peers::{Evicted, Peers, Seat, Standing};
use super::wire::{self, Frames, Incoming, Reader, SocketType, Writer};

/// Delay after a failure to accept a connection, usually because of a lack of file descriptors.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// Number of messages that can wait to be handled; further ones cause backpressure on the peer.
const WAITING: usize = 64;

/// Number of PONG commands that can wait to be written.
const PONGS: usize = 8;

/// Decodes and verifies messages.
pub trait Verify: Send + Sync + 'static {
    /// The decoded message.
    type Message: Send;

    /// Decodes a message whose first frame is the peer's identity. `None` if it is not valid; the
    /// message is then dropped.
    fn read(&self, frames: Frames) -> Option<Self::Message>;

    /// Whether the first frames of a message (without the identity) prove that the peer knows the
    /// key.
    fn proves(&self, frames: &[Bytes]) -> bool;
}

/// The received messages.
pub type Receiver<M> = mpsc::Receiver<M>;

/// Sends messages to peers; cheap to clone, never blocks.
#[derive(Debug, Clone)]
pub struct Sender {
    peers: Arc<Peers>,
}

impl Sender {
    /// Sends a message whose first frame is the peer's identity; returns false when no such peer
    /// exists.
    #[must_use]
    pub fn send(&self, mut frames: Frames) -> bool {
        if frames.is_empty() {
            return false;
        }
        let identity = frames.remove(0);
        self.peers.send(&identity, frames)
    }
}

/// Starts a ROUTER socket on a listener.
pub fn start<V: Verify>(
    listener: Listener,
    context: &Context,
    verify: V,
) -> (Sender, Receiver<V::Message>) {
    let (messages, receiver) = mpsc::channel(WAITING);
    let peers = Peers::new(context.limits.connections);
    let sender = Sender {
        peers: peers.clone(),
    };
    let context = context.clone();
    let verify = Arc::new(verify);
    tokio::spawn(accept(listener, peers, move |stream, seat, evicted| {
        let connection = Connection {
            seat,
            context: context.clone(),
            verify: verify.clone(),
            messages: messages.clone(),
        };
        tokio::spawn(until_evicted(evicted, connection.serve(stream)));
    }));
    (sender, receiver)
}

/// Accepts connections until the process ends; `serve` starts a task for each.
pub(super) async fn accept(
    listener: Listener,
    peers: Arc<Peers>,
    serve: impl Fn(Stream, Seat, Evicted),
) {
    loop {
        match listener.accept().await {
            Ok(stream) => {
                if let Some((seat, evicted)) = peers.admit() {
                    serve(stream, seat, evicted);
                } else {
                    tracing::warn!("refused a connection: there are too many front ends");
                }
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                peers.evict();
                tokio::time::sleep(ACCEPT_AGAIN).await;
            }
        }
    }
}

/// Serves a connection until it ends or must be closed.
pub(super) async fn until_evicted(
    evicted: Evicted,
    served: impl Future<Output = Result<(), Broken>>,
) {
    tokio::select! {
        _ = evicted => tracing::debug!("a connection made room for another"),
        served = served => match served {
            // A normal disconnection, which needs no warning.
            Ok(()) | Err(Broken::Io(_)) => {}
            Err(error) => tracing::warn!(%error, "cut off a connection"),
        },
    }
}

/// One connection of a ROUTER socket.
struct Connection<V: Verify> {
    seat: Seat,
    context: Context,
    verify: Arc<V>,
    messages: mpsc::Sender<V::Message>,
}

impl<V: Verify> Connection<V> {
    async fn serve(self, stream: Stream) -> Result<(), Broken> {
        let account = Account::new(&self.context);
        let (reader, writer, chosen) = wire::handshake(stream, SocketType::Router, account).await?;
        self.seat.rise(Standing::Greeted);
        let (outgoing, queue) = mpsc::unbounded_channel();
        let identified = self.seat.identify(&chosen, &outgoing);
        let Ok(identity) = timeout(self.context.limits.handshake, identified).await else {
            return Err(Broken::Protocol("the identity of another peer"));
        };
        let (pongs, pinged) = mpsc::channel(PONGS);
        tokio::select! {
            read = self.read(reader, &identity, pongs) => read,
            written = write(writer, queue, pinged) => written,
        }
    }

    async fn read(
        &self,
        mut reader: Reader,
        identity: &Bytes,
        pongs: mpsc::Sender<Vec<u8>>,
    ) -> Result<(), Broken> {
        loop {
            let next = reader
                .next_verified(&|frames| self.verify.proves(frames))
                .await?;
            let mut frames = match next {
                Incoming::Message(frames) => frames,
                Incoming::Command(command) => {
                    if let Some(pong) = wire::pong(&command) {
                        // A peer that does not read its PONGs gets no more of them.
                        let _ = pongs.try_send(pong);
                    }
                    continue;
                }
            };
            frames.insert(0, identity.clone());
            let message = self.verify.read(frames);
            if message.is_some() && !reader.account.verified() {
                reader.account.verify();
                self.seat.rise(Standing::Trusted);
            }
            reader.account.settle();
            if let Some(message) = message
                && self.messages.send(message).await.is_err()
            {
                return Ok(());
            }
        }
    }
}

/// Writes the messages queued for a peer.
async fn write(
    mut writer: Writer,
    mut messages: mpsc::UnboundedReceiver<Frames>,
    mut pongs: mpsc::Receiver<Vec<u8>>,
) -> Result<(), Broken> {
    loop {
        tokio::select! {
            Some(frames) = messages.recv() => writer.write(&frames).await?,
            Some(pong) = pongs.recv() => writer.write_command(&pong).await?,
            else => return Ok(()),
        }
    }
}
