//! The connections of one socket: their maximum number, the choice of the connection to close when
//! there are too many, and the mapping of identities to connections.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::{Notify, mpsc, oneshot};

use super::wire::Frames;

/// The trust level of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Standing {
    /// The peer has connected.
    Connected,
    /// The peer has completed the handshake.
    Greeted,
    /// The peer has proved that it is a front end, if its socket requires a proof.
    Trusted,
}

/// The connections of one socket.
#[derive(Debug)]
pub(super) struct Peers {
    most: usize,
    state: Mutex<State>,
    /// Notified when a peer disconnects.
    left: Notify,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    /// The peers in the order of their connection.
    all: BTreeMap<u64, Peer>,
    identities: HashMap<Bytes, mpsc::UnboundedSender<Frames>>,
}

#[derive(Debug)]
struct Peer {
    standing: Standing,
    identity: Option<Bytes>,
    /// Dropped to disconnect the peer.
    _stay: oneshot::Sender<Infallible>,
}

/// The registration of a connection, which ends on drop.
#[derive(Debug)]
pub(super) struct Seat {
    peers: Arc<Peers>,
    number: u64,
}

/// Resolves when the peer must be disconnected.
pub(super) type Evicted = oneshot::Receiver<Infallible>;

impl Peers {
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self {
            most,
            state: Mutex::default(),
            left: Notify::new(),
        })
    }

    /// Admits a connection. When there are too many, the connection with the lowest standing is
    /// closed, the oldest first; `None` when all are trusted.
    pub(super) fn admit(self: &Arc<Self>) -> Option<(Seat, Evicted)> {
        let mut state = self.lock();
        if state.all.len() >= self.most && !state.evict() {
            return None;
        }
        let number = state.next;
        state.next += 1;
        let (stay, evicted) = oneshot::channel();
        let peer = Peer {
            standing: Standing::Connected,
            identity: None,
            _stay: stay,
        };
        state.all.insert(number, peer);
        let peers = Arc::clone(self);
        Some((Seat { peers, number }, evicted))
    }

    /// Closes a connection in a process that has no file descriptors left.
    pub(super) fn evict(&self) {
        self.lock().evict();
    }

    /// Queues a message for the peer with this identity; returns false when no such peer exists.
    pub(super) fn send(&self, identity: &[u8], frames: Frames) -> bool {
        self.lock()
            .identities
            .get(identity)
            .is_some_and(|queue| queue.send(frames).is_ok())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn evict(&mut self) -> bool {
        let least = self
            .all
            .iter()
            .filter(|(_, peer)| peer.standing < Standing::Trusted)
            .min_by_key(|(number, peer)| (peer.standing, **number));
        let Some((&number, _)) = least else {
            return false;
        };
        self.remove(number);
        true
    }

    fn remove(&mut self, number: u64) {
        let identity = self.all.remove(&number).and_then(|peer| peer.identity);
        if let Some(identity) = identity {
            self.identities.remove(&identity);
        }
    }
}

impl Seat {
    /// Raises the trust level of the peer.
    pub(super) fn rise(&self, to: Standing) {
        if let Some(peer) = self.peers.lock().all.get_mut(&self.number) {
            peer.standing = peer.standing.max(to);
        }
    }

    /// Registers an identity whose messages go to `queue`: the one that the peer chose, or a
    /// generated one. Returns the identity.
    ///
    /// An identity stays with its connection, so that no peer receives the replies of another: a
    /// new connection with the same identity waits until it is free.
    pub(super) async fn identify(
        &self,
        chosen: &Bytes,
        queue: &mpsc::UnboundedSender<Frames>,
    ) -> Bytes {
        loop {
            let left = self.peers.left.notified();
            tokio::pin!(left);
            // From here on, no disconnection is missed.
            left.as_mut().enable();
            if let Some(identity) = self.try_identify(chosen, queue) {
                return identity;
            }
            left.await;
        }
    }

    fn try_identify(&self, chosen: &Bytes, queue: &mpsc::UnboundedSender<Frames>) -> Option<Bytes> {
        let identity = if chosen.is_empty() {
            // Peers cannot choose an identity that begins with 0.
            let random = uuid::Uuid::new_v4();
            Bytes::from([&[0][..], random.as_bytes()].concat())
        } else {
            chosen.clone()
        };
        let mut state = self.peers.lock();
        if state.identities.contains_key(&identity) {
            return None;
        }
        let peer = state.all.get_mut(&self.number)?;
        peer.identity = Some(identity.clone());
        state.identities.insert(identity.clone(), queue.clone());
        Some(identity)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.peers.lock().remove(self.number);
        self.peers.left.notify_waiters();
    }
}
