//! Comms: what user code and front ends say to each other beside cells.
//!
//! What user code says goes to a [`CommListener`] at once, from the thread that reads the cell process. What front ends say is written to the cell
//! process by a thread of its own, for the process may not read: then what waits is bounded, and more is refused.
//!
//! A callback is stopped like a cell: it is asked, and at the second press the process is killed. It is not killed without that press, for
//! cells run beside it and their variables are worth more than a widget.

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
use crate::interrupt::{self, GRACE};
use crate::programs;
use crate::stream::Notice;

/// The bytes that may wait for the cell process to read them.
const LARGEST_BACKLOG: usize = 256 << 20;

/// How often a callback is asked to stop: it may have begun to wait right after it was asked.
const ASK_AGAIN: Duration = Duration::from_millis(50);

/// What is said of a callback that does not stop.
const STUCK: &str = "the callback of a widget does not stop: it computes, or waits for a lock or a channel\n\
    hint: cells run beside it, but no widget hears anything until it ends; press stop again while no cell runs to end it by force, \
    and all variables with it\n";

/// What one side says to the other on a comm.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CommMessage {
    /// The comm.
    pub comm_id: String,
    /// What kind of message it is.
    pub what: CommWhat,
    /// Whom the new comm is for; of [`CommWhat::Open`] only.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub target_name: String,
    /// The message itself.
    #[serde(default)]
    pub data: Value,
    /// What else is said about it.
    #[serde(default)]
    pub metadata: Value,
    /// Bytes beside the data, as base64 text.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub buffers: Vec<String>,
}

/// The kinds of what is said on a comm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CommWhat {
    /// `comm_open`.
    Open,
    /// `comm_msg`.
    Msg,
    /// `comm_close`.
    Close,
}

/// Hears what user code does with comms, in order. Never blocks on the front end.
pub trait CommListener: Send + Sync {
    /// Something was said on a comm; or shown by a callback, while it deals with the message of this number.
    fn emit(&self, token: Option<u64>, event: Event);

    /// The message of this number is dealt with. Heard once for each that was sent, unless [`gone`](Self::gone) is heard first.
    fn handled(&self, token: u64);

    /// The cell process is gone, and all comms with it.
    fn gone(&self);
}

/// The comms of user code; clones are the same.
#[derive(Clone, Default)]
pub struct Comms {
    inner: Arc<Mutex<Inner>>,
    /// Callbacks have ended.
    ended: Arc<Condvar>,
}

#[derive(Default)]
struct Inner {
    listener: Option<Arc<dyn CommListener>>,
    way: Option<Way>,
    /// Whether user code reads what is sent.
    listening: bool,
    /// The message that a callback deals with.
    handling: Option<u64>,
    /// The last such message whose callback was asked to stop.
    asked: Option<u64>,
    /// Whether the process was killed because of a callback.
    killed: bool,
}

impl Comms {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From here on this is told what happens.
    pub fn listen(&self, listener: Arc<dyn CommListener>) {
        self.lock().listener = Some(listener);
    }

    /// Sends what a front end says to user code, under a number by which it is told when that is dealt with. `false` when there is no user
    /// code that hears, or it has not read what was sent before.
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

    /// The stop button while no cell runs: stops the callback that runs. The second press for the same one ends the process, and its variables.
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
                return interrupt::stop_group(process, Signal::KILL);
            }
            (token, process)
        };
        let comms = self.clone();
        // Without the thread nothing is stopped: the next press kills.
        std::thread::Builder::new()
            .name("interrupt".to_owned())
            .spawn(move || comms.insist(token, process))
            .ok();
    }

    /// Asks the callback that deals with this message to stop, again and again; says so when it does not.
    fn insist(&self, token: u64, process: Pid) {
        let begin = Instant::now();
        let mut programs = interrupt::programs_of(process);
        let mut inner = self.lock();
        while inner.handling == Some(token) {
            if begin.elapsed() > GRACE {
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
            // Not before: the callback would take a program that has been stopped for one that has ended, and go on.
            programs::stop_each(programs.drain(..), Signal::INT);
        }
    }

    /// What to say when a cell begins: that there is a callback that was to stop and goes on.
    pub(crate) fn stuck(&self) -> Option<Event> {
        let inner = self.lock();
        (inner.handling.is_some() && inner.asked == inner.handling)
            .then(|| Event::Stderr(STUCK.to_owned()))
    }

    /// Whether the last process was killed because of a callback that did not stop.
    pub(crate) fn take_killed(&self) -> bool {
        std::mem::take(&mut self.lock().killed)
    }

    /// There is a new cell process.
    pub(crate) fn set_way(&self, way: Option<Way>) {
        self.lock().way = way;
    }

    /// The cell process says these things.
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
            // The listener may send at once.
            drop(inner);
            match (listener, notice, handled) {
                (Some(listener), Notice::Event(event), _) => listener.emit(handling, event),
                (Some(listener), _, Some(token)) => listener.handled(token),
                _ => {}
            }
        }
    }

    /// The cell process is gone.
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

/// The way to one cell process.
pub(crate) struct Way {
    lines: Sender<Vec<u8>>,
    waiting: Arc<AtomicUsize>,
    socket: UnixStream,
    process: Pid,
}

impl Way {
    /// Starts the thread that writes.
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
                        // The process has gone, which is seen elsewhere.
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
        // Frees the thread that may be writing to a process that does not read.
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
            what: CommWhat::Msg,
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
