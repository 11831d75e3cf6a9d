//! The connections of one socket: how many there may be, which one leaves when there are too many,
//! and which one an identity means.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::{Notify, mpsc, oneshot};

use super::wire::Frames;

/// What a peer has shown of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Standing {
    /// It has connected.
    Connected,
    /// It speaks the protocol.
    Greeted,
    /// It has proved that it is a front end, as far as its socket asks for that.
    Trusted,
}

/// The connections of one socket.
#[derive(Debug)]
pub(super) struct Peers {
    most: usize,
    state: Mutex<State>,
    /// Somebody has left.
    left: Notify,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    /// In the order in which they came.
    all: BTreeMap<u64, Peer>,
    identities: HashMap<Bytes, mpsc::UnboundedSender<Frames>>,
}

#[derive(Debug)]
struct Peer {
    standing: Standing,
    identity: Option<Bytes>,
    /// Dropped when the peer has to leave.
    _stay: oneshot::Sender<Infallible>,
}

/// A place among the connections; given up when dropped.
#[derive(Debug)]
pub(super) struct Seat {
    peers: Arc<Peers>,
    number: u64,
}

/// Resolves when the peer has to leave.
pub(super) type Evicted = oneshot::Receiver<Infallible>;

impl Peers {
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self {
            most,
            state: Mutex::default(),
            left: Notify::new(),
        })
    }

    /// Takes in a connection. When there are too many, the one that has shown least of itself leaves, the
    /// oldest first; `None` when all are trusted.
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

    /// Makes room in a process that has no descriptors left.
    pub(super) fn evict(&self) {
        self.lock().evict();
    }

    /// Queues a message for the peer of this identity; false when there is none.
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
    /// Notes what the peer has shown of itself.
    pub(super) fn rise(&self, to: Standing) {
        if let Some(peer) = self.peers.lock().all.get_mut(&self.number) {
            peer.standing = peer.standing.max(to);
        }
    }

    /// Takes messages for an identity, an own one where the peer has chosen none; gives the identity.
    ///
    /// Whoever has an identity keeps it, so that nobody gets another's replies: a newcomer waits.
    pub(super) async fn identify(
        &self,
        chosen: &Bytes,
        queue: &mpsc::UnboundedSender<Frames>,
    ) -> Bytes {
        loop {
            let left = self.peers.left.notified();
            tokio::pin!(left);
            // From here on, nobody leaves unseen.
            left.as_mut().enable();
            if let Some(identity) = self.try_identify(chosen, queue) {
                return identity;
            }
            left.await;
        }
    }

    fn try_identify(&self, chosen: &Bytes, queue: &mpsc::UnboundedSender<Frames>) -> Option<Bytes> {
        let identity = if chosen.is_empty() {
            // No peer may choose one that begins so.
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
