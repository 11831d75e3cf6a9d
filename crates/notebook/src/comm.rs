//! Comms: messages between values of a cell and front ends, in both directions, while a cell runs
//! and between cells.
//!
//! ```
//! use notebook::comm::Comm;
//! use serde_json::json;
//!
//! let comm = Comm::open("my-extension", json!({ "hello": 1 }));
//! comm.on_message(|message| println!("{}", message.data));
//! comm.send(json!({ "answer": 42 }));
//! ```
//!
//! A dedicated thread of the cell process calls the callbacks, one message after the other. Front
//! ends attribute the output of a callback to the message that caused it. A panic of a callback is
//! reported in its output, and the callback is called again for the next message. When no cell
//! runs, the stop button interrupts a callback that takes too long, by the same mechanism as a cell
//! ([`interrupted`](crate::interrupted)). Outside a notebook nothing is sent.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, Once, OnceLock, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
pub use serde_json::Value;
use serde_json::json;

use crate::channel::{self, Channel, CommMessage, CommMessageType, Incoming};
use crate::live::unique_id;
use crate::stop;

/// A message that was received on a comm.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// The message itself.
    pub data: Value,
    /// Metadata of the message; mostly an empty object.
    pub metadata: Value,
    /// Binary buffers of the message.
    pub buffers: Vec<Vec<u8>>,
}

type Callback = Arc<Mutex<dyn FnMut(&Message) + Send>>;
type Target = Arc<Mutex<dyn FnMut(Comm, &Message) + Send>>;

/// One comm; clones are the same comm. It stays open until [`close`](Self::close), or until a front
/// end closes it.
#[derive(Debug, Clone)]
pub struct Comm {
    id: Arc<str>,
}

/// The callbacks of an open comm.
#[derive(Default)]
struct Entry {
    on_message: Vec<Callback>,
    on_close: Vec<Callback>,
}

#[derive(Default)]
struct Registry {
    open: HashMap<Arc<str>, Entry>,
    targets: HashMap<String, Target>,
}

fn registry() -> MutexGuard<'static, Registry> {
    static REGISTRY: OnceLock<Mutex<Registry>> = OnceLock::new();
    REGISTRY
        .get_or_init(Mutex::default)
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
}

impl Comm {
    /// Opens a comm to the front end's `target`. A front end that does not know the target closes
    /// the comm again.
    pub fn open(target: &str, data: Value) -> Self {
        let comm = Self::prepare();
        comm.announce(target, data, json!({}));
        comm
    }

    /// Creates a comm that no front end knows yet, so that callbacks can be set before the first
    /// message.
    pub(crate) fn prepare() -> Self {
        listen();
        Self::register(&unique_id("comm"))
    }

    /// Opens a comm that [`prepare`](Self::prepare) has created.
    pub(crate) fn announce(&self, target: &str, data: Value, metadata: Value) {
        say(&CommMessage {
            target_name: target.to_owned(),
            metadata,
            ..self.message(CommMessageType::Open, data)
        });
    }

    fn register(id: &str) -> Self {
        let id: Arc<str> = id.into();
        registry().open.insert(id.clone(), Entry::default());
        Self { id }
    }

    /// The id under which front ends know this comm.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Whether neither side has closed the comm.
    pub fn is_open(&self) -> bool {
        registry().open.contains_key(&self.id)
    }

    /// Sends a message to every front end.
    pub fn send(&self, data: Value) {
        self.send_with(data, json!({}), &[]);
    }

    /// Sends a message with metadata and binary buffers.
    pub fn send_with(&self, data: Value, metadata: Value, buffers: &[&[u8]]) {
        say(&CommMessage {
            metadata,
            buffers: buffers.iter().map(|bytes| STANDARD.encode(bytes)).collect(),
            ..self.message(CommMessageType::Msg, data)
        });
    }

    /// Registers a callback for each message that is received.
    pub fn on_message(&self, callback: impl FnMut(&Message) + Send + 'static) {
        if let Some(entry) = registry().open.get_mut(&self.id) {
            entry.on_message.push(Arc::new(Mutex::new(callback)));
        }
    }

    /// Registers a callback for the closing of the comm by a front end.
    pub fn on_close(&self, mut callback: impl FnMut() + Send + 'static) {
        if let Some(entry) = registry().open.get_mut(&self.id) {
            entry
                .on_close
                .push(Arc::new(Mutex::new(move |_: &Message| callback())));
        }
    }

    /// Closes the comm in all front ends.
    pub fn close(&self) {
        // Dropped without a lock: the callbacks own values of user code, whose `drop` may use
        // comms.
        let entry = registry().open.remove(&self.id);
        if entry.is_some() {
            say(&self.message(CommMessageType::Close, json!({})));
        }
    }

    fn message(&self, what: CommMessageType, data: Value) -> CommMessage {
        CommMessage {
            comm_id: self.id.to_string(),
            what,
            target_name: String::new(),
            data,
            metadata: json!({}),
            buffers: Vec::new(),
        }
    }
}

/// Allows front ends to open comms to `target`. `open` receives each new comm and the message that
/// opened it.
pub fn register_target(target: &str, open: impl FnMut(Comm, &Message) + Send + 'static) {
    listen();
    let open: Target = Arc::new(Mutex::new(open));
    registry().targets.insert(target.to_owned(), open);
}

fn say(message: &CommMessage) {
    if let Some(channel) = Channel::get() {
        channel.send(&channel::Message::Comm { message });
    }
}

/// Starts the thread that reads comm messages, once per process.
fn listen() {
    static STARTED: Once = Once::new();
    let Some(channel) = Channel::get() else {
        return;
    };
    STARTED.call_once(|| {
        if !stop::claim_comms() {
            eprintln!(
                "the widgets of this cell cannot hear the notebook: an earlier cell has another copy of the crate `notebook`, which hears it\n\
                 hint: use the crate as the installed kernel has it, without `:dep`; the engine evcxr gives each cell a copy of its own of a `:dep`"
            );
            return;
        }
        channel.send(&channel::Message::CommListen);
        let started = std::thread::Builder::new()
            .name("comms".to_owned())
            .spawn(|| {
                stop::enter_callbacks();
                channel::read_comms(|incoming| handle(channel, incoming))
            });
        if let Err(error) = started {
            eprintln!("widgets cannot hear the notebook: {error}\nhint: restart the kernel");
        }
    });
}

/// Handles one message. The kernel is notified of the end also when a callback panics.
fn handle(channel: &Channel, incoming: Incoming) {
    let Incoming { token, message } = incoming;
    stop::begin_callback();
    channel.send(&channel::Message::CommHandling { token });
    // The panic hook has already reported the panic to the user.
    catch_unwind(AssertUnwindSafe(|| dispatch(message))).ok();
    channel.send(&channel::Message::CommHandled { token });
}

fn dispatch(message: CommMessage) {
    let id: Arc<str> = message.comm_id.as_str().into();
    let content = Message {
        data: message.data,
        metadata: message.metadata,
        buffers: message
            .buffers
            .iter()
            .filter_map(|text| STANDARD.decode(text).ok())
            .collect(),
    };
    match message.what {
        CommMessageType::Open => {
            let target = registry().targets.get(&message.target_name).cloned();
            let comm = Comm::register(&id);
            match target {
                Some(target) => {
                    (target.lock().unwrap_or_else(PoisonError::into_inner))(comm, &content);
                }
                None => comm.close(),
            }
        }
        CommMessageType::Msg => {
            let callbacks = registry()
                .open
                .get(&id)
                .map(|entry| entry.on_message.clone());
            call(callbacks.unwrap_or_default(), &content);
        }
        CommMessageType::Close => {
            let entry = registry().open.remove(&id);
            call(
                entry.map(|entry| entry.on_close).unwrap_or_default(),
                &content,
            );
        }
    }
}

/// Calls all callbacks, also when one panics. Only the callback itself is locked, so that it can
/// send on, open and close comms.
fn call(callbacks: Vec<Callback>, message: &Message) {
    for callback in callbacks {
        let mut callback = callback.lock().unwrap_or_else(PoisonError::into_inner);
        // The panic hook has already reported the panic to the user.
        catch_unwind(AssertUnwindSafe(|| callback(message))).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn came(comm: &Comm, what: CommMessageType, data: Value) {
        dispatch(comm.message(what, data));
    }

    #[test]
    fn a_callback_that_panics_is_called_again_and_stops_no_other() {
        let comm = Comm::open("test", json!({}));
        let heard = Arc::new(Mutex::new(Vec::new()));
        comm.on_message(|_| panic!("on purpose"));
        comm.on_message({
            let heard = heard.clone();
            move |message| heard.lock().unwrap().push(message.data.clone())
        });
        came(&comm, CommMessageType::Msg, json!(1));
        came(&comm, CommMessageType::Msg, json!(2));
        assert_eq!(*heard.lock().unwrap(), [json!(1), json!(2)]);
    }

    #[test]
    fn a_callback_may_close_its_comm_and_open_another() {
        let comm = Comm::open("test", json!({}));
        let opened = Arc::new(OnceLock::new());
        comm.on_message({
            let (comm, opened) = (comm.clone(), opened.clone());
            move |_| {
                comm.close();
                opened.set(Comm::open("test", json!({}))).unwrap();
            }
        });
        came(&comm, CommMessageType::Msg, json!({}));
        assert!(!comm.is_open());
        assert!(opened.get().unwrap().is_open());
    }

    #[test]
    fn who_opens_an_unknown_target_is_closed_and_a_known_one_is_told() {
        let comm = Comm {
            id: "from-outside".into(),
        };
        let open = |target: &str| CommMessage {
            target_name: target.to_owned(),
            ..comm.message(CommMessageType::Open, json!({"x": 1}))
        };
        dispatch(open("nobody"));
        assert!(!comm.is_open());
        register_target("somebody", |comm, message| {
            assert_eq!(message.data, json!({"x": 1}));
            comm.on_close(|| {});
        });
        dispatch(open("somebody"));
        assert!(comm.is_open());
        came(&comm, CommMessageType::Close, json!({}));
        assert!(!comm.is_open());
    }
}
