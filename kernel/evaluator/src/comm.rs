//! Comms: messages between user code and front ends outside cell execution.
//!
//! The thread that reads the cell process forwards messages of user code to a [`CommListener`] at
//! once. A dedicated thread writes messages of front ends to the cell process, because the process
//! may not read them. The backlog is bounded; messages beyond the limit are rejected.
//!
//! A callback is interrupted like a cell: the first interrupt sends a signal, the second kills the
//! process. Without a second interrupt the process is not killed, because cells run in the same
//! process and their variables matter more than a widget.

use std::io::Write;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Event;
use crate::programs::{self, REACTION};

/// Maximum number of bytes queued for the cell process.
const LARGEST_BACKLOG: usize = 256 << 20;

/// Interval at which the interrupt signal is repeated: a callback may have started to block right
/// after the previous signal.
const ASK_AGAIN: Duration = Duration::from_millis(50);

/// The message shown when a callback does not react to an interrupt.
const STUCK: &str = "the callback of a widget does not stop: it computes, or waits for a lock or a channel\n\
    hint: cells run beside it, but no widget hears anything until it ends; press stop again while no cell runs to end it by force, \
    and all variables with it\n";

/// A comm message, in either direction.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CommMessage {
    /// The id of the comm.
    pub comm_id: String,
    /// The message type.
    pub what: CommMessageType,
    /// The target name of a new comm; only in [`CommMessageType::Open`].
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub target_name: String,
    /// The `data` member.
    #[serde(default)]
    pub data: Value,
    /// The `metadata` member.
    #[serde(default)]
    pub metadata: Value,
    /// Binary buffers, as base64 text.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub buffers: Vec<String>,
}

/// The types of comm messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CommMessageType {
    /// `comm_open`.
    Open,
    /// `comm_msg`.
    Msg,
    /// `comm_close`.
    Close,
}

/// Receives the comm events of user code, in order. Never blocks on the front end.
pub trait CommListener: Send + Sync {
    /// Takes a comm message, or output that a callback produced while it handled the message
    /// `token`.
    fn emit(&self, token: Option<u64>, event: Event);

    /// The message `token` has been handled. Called once for each message sent, unless
    /// [`gone`](Self::gone) is called first.
    fn handled(&self, token: u64);

    /// The cell process has ended, and all comms with it.
    fn gone(&self);
}

/// A notice for [`Comms`]: comm state changes and output, in order.
#[derive(Debug)]
pub(crate) enum Notice {
    /// A comm message, or output of a comm callback.
    Event(Event),
    /// User code has started to read comm messages.
    Listening,
    /// The comm thread has begun to handle this message; the output that follows belongs to it.
    Handling(u64),
    /// The message has been handled.
    Handled(u64),
}

/// The comms of user code; all clones share one state.
#[derive(Clone, Default)]
pub struct Comms {
    inner: Arc<Mutex<Inner>>,
    /// Notified when a callback has ended.
    ended: Arc<Condvar>,
}

#[derive(Default)]
struct Inner {
    listener: Option<Arc<dyn CommListener>>,
    way: Option<Way>,
    /// Whether user code reads the comm messages.
    listening: bool,
    /// The message that a callback is handling.
    handling: Option<u64>,
    /// The last message whose callback was interrupted.
    asked: Option<u64>,
    /// Whether the process was killed because of a callback.
    killed: bool,
}

impl Comms {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the listener that receives all further comm events.
    pub fn listen(&self, listener: Arc<dyn CommListener>) {
        self.lock().listener = Some(listener);
    }

    /// Sends a front end's message to user code. The listener later reports `token` as handled.
    ///
    /// Returns `false` when no user code reads comm messages or the backlog is full.
    pub fn send(&self, token: u64, message: &CommMessage) -> bool {
        #[derive(Serialize)]
        struct Line<'a> {
            token: u64,
            #[serde(flatten)]
            message: &'a CommMessage,
        }
        let inner = self.lock();
        let Some(way) = inner.way.as_ref().filter(|_| inner.listening) else {
            return false;
        };
        serde_json::to_vec(&Line { token, message }).is_ok_and(|line| way.send(line))
    }

    /// Interrupts the running callback; for an interrupt while no cell runs. A second interrupt of
    /// the same callback kills the process, and its variables are lost.
    pub fn interrupt(&self) {
        let (token, process) = {
            let mut inner = self.lock();
            let (Some(token), Some(way)) = (inner.handling, &inner.way) else {
                return;
            };
            let process = way.process;
            if inner.asked.replace(token) == Some(token) {
                inner.killed = true;
                drop(inner);
                return programs::stop_group(process, Signal::KILL);
            }
            (token, process)
        };
        let comms = self.clone();
        // If the thread cannot start, no signal is sent; the next interrupt kills the process.
        std::thread::Builder::new()
            .name("interrupt".to_owned())
            .spawn(move || comms.insist(token, process))
            .ok();
    }

    /// Interrupts the callback of this message repeatedly; shows a warning when it does not end.
    fn insist(&self, token: u64, process: Pid) {
        let begin = Instant::now();
        let mut programs = programs::children(process, |_| true);
        let mut inner = self.lock();
        while inner.handling == Some(token) {
            if begin.elapsed() > REACTION {
                let listener = inner.listener.clone();
                drop(inner);
                if let Some(listener) = listener {
                    listener.emit(Some(token), Event::Stderr(STUCK.to_owned()));
                }
                return;
            }
            rustix::process::kill_process(process, Signal::URG).ok();
            (inner, _) = self
                .ended
                .wait_timeout(inner, ASK_AGAIN)
                .unwrap_or_else(PoisonError::into_inner);
            // Programs are stopped only after the callback has received the signal. Otherwise the
            // callback would mistake an interrupted program for one that has ended, and continue.
            programs::stop_each(programs.drain(..), Signal::INT);
        }
    }

    /// The warning to show when a cell begins while an interrupted callback is still running.
    pub fn stuck(&self) -> Option<Event> {
        let inner = self.lock();
        (inner.handling.is_some() && inner.asked == inner.handling)
            .then(|| Event::Stderr(STUCK.to_owned()))
    }

    /// Returns whether the last process was killed because of a stuck callback, and resets the
    /// flag.
    pub fn take_killed(&self) -> bool {
        std::mem::take(&mut self.lock().killed)
    }

    /// Sets the connection to a new cell process.
    pub(crate) fn set_way(&self, way: Option<Way>) {
        self.lock().way = way;
    }

    /// Processes notices of the cell process.
    pub(crate) fn hear(&self, notices: Vec<Notice>) {
        for notice in notices {
            let mut inner = self.lock();
            let handled = match &notice {
                Notice::Listening => {
                    inner.listening = true;
                    continue;
                }
                Notice::Handling(token) => {
                    inner.handling = Some(*token);
                    continue;
                }
                Notice::Handled(token) => {
                    inner.handling = None;
                    self.ended.notify_all();
                    Some(*token)
                }
                Notice::Event(_) => None,
            };
            let (listener, handling) = (inner.listener.clone(), inner.handling);
            // The listener may call `send` at once, which takes this lock.
            drop(inner);
            match (listener, notice, handled) {
                (Some(listener), Notice::Event(event), _) => listener.emit(handling, event),
                (Some(listener), _, Some(token)) => listener.handled(token),
                _ => {}
            }
        }
    }

    /// Resets the state after the cell process has ended.
    pub(crate) fn gone(&self) {
        let mut inner = self.lock();
        inner.way = None;
        inner.listening = false;
        inner.handling = None;
        inner.asked = None;
        self.ended.notify_all();
        let listener = inner.listener.clone();
        drop(inner);
        if let Some(listener) = listener {
            listener.gone();
        }
    }
}

/// The connection to one cell process.
pub(crate) struct Way {
    lines: Sender<Vec<u8>>,
    waiting: Arc<AtomicUsize>,
    socket: UnixStream,
    process: Pid,
}

impl Way {
    /// Starts the writer thread.
    pub(crate) fn start(socket: OwnedFd, process: Pid) -> Option<Self> {
        let socket = UnixStream::from(socket);
        let mut writer = socket.try_clone().ok()?;
        let (lines, waiting_lines) = channel::<Vec<u8>>();
        let waiting = Arc::new(AtomicUsize::new(0));
        let write = {
            let waiting = waiting.clone();
            move || {
                for line in waiting_lines {
                    if writer.write_all(&line).is_err() {
                        // The process has ended; the pump detects that.
                        return;
                    }
                    waiting.fetch_sub(line.len(), Ordering::Relaxed);
                }
            }
        };
        std::thread::Builder::new()
            .name("comms-to-cells".to_owned())
            .spawn(write)
            .ok()?;
        Some(Self {
            lines,
            waiting,
            socket,
            process,
        })
    }

    fn send(&self, mut line: Vec<u8>) -> bool {
        line.push(b'\n');
        let length = line.len();
        if self.waiting.load(Ordering::Relaxed) + length > LARGEST_BACKLOG {
            return false;
        }
        self.waiting.fetch_add(length, Ordering::Relaxed);
        self.lines.send(line).is_ok()
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        // Unblocks the writer thread when the process does not read.
        self.socket.shutdown(Shutdown::Both).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_process_that_does_not_read_keeps_nobody_waiting() {
        let (kernel, cell) = UnixStream::pair().expect("a pair");
        let comms = Comms::default();
        comms.set_way(Way::start(kernel.into(), rustix::process::getpid()));
        let message = CommMessage {
            comm_id: "c".to_owned(),
            what: CommMessageType::Msg,
            target_name: String::new(),
            data: "x".repeat(LARGEST_BACKLOG / 4).into(),
            metadata: Value::Null,
            buffers: Vec::new(),
        };
        assert!(!comms.send(1, &message), "nobody listens yet");
        comms.hear(vec![Notice::Listening]);
        let sent = (0..8).filter(|token| comms.send(*token, &message)).count();
        assert!((2..=4).contains(&sent), "{sent}");
        drop(cell);
    }
}
