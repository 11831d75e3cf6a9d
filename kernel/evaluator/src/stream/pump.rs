//! The thread that reads the output of the cell process, and the state it shares with the
//! evaluator.

use std::collections::VecDeque;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendFlags, SocketAddrUnix,
    SocketFlags, SocketType,
};
use rustix::process::Pid;

use super::assembler::Assembler;
use super::pipe::Pipe;
use super::run_end::RunEnd;
use crate::comm::{Comms, Way};
use crate::ending::is_unit;
use crate::link::{self, Frame, Head};
use crate::tag::Tag;
use crate::{Event, Events, InputAnswer, LateEvents, MimeBundle, programs};

/// Maximum time for which text that may belong to a failed `?` is held back, waiting for the
/// marker.
const HOLD: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 50_000_000,
};

/// Maximum number of frames before their events are forwarded.
const BATCH: usize = 256;

/// Maximum number of events kept between cells for the next one: threads of earlier cells may print
/// for ever.
const KEPT_BETWEEN_CELLS: usize = 10_000;

/// Number of runs for which the cell is remembered.
const RUNS_KEPT: usize = 1000;

/// Maximum time to wait for the end of the socket after the process has ended: a forked child may
/// keep the socket open.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A message from the pump to the evaluator.
#[derive(Debug)]
enum Message {
    /// An event to show.
    Event(Event),
    /// All events of this cell have been sent.
    CellEnded,
}

/// State shared by the pump and the evaluator.
// Each flag is set and read by different threads, and all combinations occur.
#[allow(clippy::struct_excessive_bools)]
#[derive(Debug, Default)]
pub(crate) struct State {
    /// The result of the functions of the running cell.
    pub end: RunEnd,
    /// The reason why a library could not be loaded.
    pub load_error: Option<String>,
    /// The cell process, after it has connected.
    pub(crate) process: Option<Pid>,
    /// Whether user code is running.
    pub(crate) running: bool,
    /// Number of times that user code has started; distinguishes one run from the next.
    pub(crate) runs: u64,
    /// Execution count of the running cell, or of the last one.
    pub(crate) cell: Option<u32>,
    /// Run numbers and the execution counts of their cells.
    cells: VecDeque<(u32, Option<u32>)>,
    /// Number of cell processes that have ended.
    pub(crate) processes_gone: u64,
    /// Whether a cell is being compiled or run.
    pub(crate) busy: bool,
    /// Whether the running cell was interrupted.
    pub interrupted: bool,
    /// Whether the running cell's function was not run because of the interrupt.
    pub skipped: bool,
    stop: bool,
}

impl State {
    /// Records the cell of the run that begins; returns the run number.
    fn remember_run(&mut self) -> u32 {
        let run = u32::try_from(self.runs).unwrap_or(u32::MAX);
        self.cells.push_back((run, self.cell));
        if self.cells.len() > RUNS_KEPT {
            self.cells.pop_front();
        }
        run
    }

    /// Returns the cell of a run, or the last cell for an unknown run.
    fn cell_of(&self, run: u32) -> Option<u32> {
        let known = self.cells.iter().find(|(known, _)| *known == run);
        known.map_or(self.cell, |(_, cell)| *cell)
    }
}

/// The result of a cell; the members are those of [`State`].
pub struct Ending {
    /// The result of the cell's function.
    pub end: RunEnd,
    /// The error of the dynamic loader, if the library could not be loaded.
    pub load_error: Option<String>,
    /// Whether the user interrupted the cell.
    pub interrupted: bool,
    /// Whether the interrupt came before user code had started.
    pub skipped: bool,
}

/// The state, and a condition variable for its changes.
#[derive(Debug)]
pub struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    wake: OwnedFd,
    /// Receives events that arrive between cells.
    pub late: OnceLock<Arc<dyn LateEvents>>,
}

impl Shared {
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for `done`, at most for `limit`; returns whether the condition holds.
    pub(crate) fn wait(&self, limit: Duration, mut done: impl FnMut(&State) -> bool) -> bool {
        let (state, _) = self
            .changed
            .wait_timeout_while(self.lock(), limit, |state| !done(state))
            .unwrap_or_else(PoisonError::into_inner);
        done(&state)
    }

    /// The number of cell processes whose connection has ended.
    pub fn processes_gone(&self) -> u64 {
        self.lock().processes_gone
    }

    /// Resets the state at the beginning of a cell.
    pub fn begin(&self, cell: Option<u32>) {
        let mut state = self.lock();
        state.busy = true;
        state.cell = cell;
        state.interrupted = false;
        state.skipped = false;
        state.end = RunEnd::default();
    }

    /// Takes the result of the cell that has just run.
    pub fn ending(&self) -> Ending {
        let mut state = self.lock();
        Ending {
            end: std::mem::take(&mut state.end),
            load_error: state.load_error.take(),
            interrupted: state.interrupted,
            skipped: state.skipped,
        }
    }

    /// Waits until the output of an ended process has been read completely.
    pub fn wait_for_last_words(&self, processes_gone_before: u64) {
        self.wait(LAST_WORDS, |state| {
            state.processes_gone > processes_gone_before
        });
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }
}

/// The evaluator's side of the pump; dropping it ends the thread.
pub struct Pump {
    /// The state that the reading thread and the evaluator share.
    pub shared: Arc<Shared>,
    /// Locked by the [`Forwarder`] of the running cell.
    messages: Arc<Mutex<Receiver<Message>>>,
    sender: Sender<Message>,
    thread: Option<JoinHandle<()>>,
    /// The comms of user code.
    pub comms: Comms,
}

impl Pump {
    /// Listens at `path` for cell processes.
    pub fn listen(path: &Path) -> std::io::Result<Self> {
        let listener = rustix::net::socket_with(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
            None,
        )?;
        rustix::net::bind(&listener, &SocketAddrUnix::new(path)?)?;
        rustix::net::listen(&listener, 8)?;
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            changed: Condvar::new(),
            wake: rustix::event::eventfd(0, EventfdFlags::CLOEXEC)?,
            late: OnceLock::new(),
        });
        let (sender, messages) = channel();
        let comms = Comms::default();
        let mut worker = Worker {
            listener,
            connection: None,
            pipes: Default::default(),
            assembler: Assembler::default(),
            comm_assembler: Assembler::default(),
            comms: comms.clone(),
            shared: Arc::clone(&shared),
            sender: sender.clone(),
            buffer: vec![0; link::MAX_PAYLOAD + link::HEAD],
            written: 0,
            kept: 0,
            run: 0,
            tag: Tag::of_cells(path),
        };
        let thread = std::thread::Builder::new()
            .name("cell-output".to_owned())
            .spawn(move || worker.run())?;
        Ok(Self {
            shared,
            messages: Arc::new(Mutex::new(messages)),
            sender,
            thread: Some(thread),
            comms,
        })
    }

    /// Returns a forwarder for the events of a cell.
    pub fn forwarder(&self) -> Forwarder {
        Forwarder {
            messages: Arc::clone(&self.messages),
            sender: self.sender.clone(),
        }
    }

    /// Ends a cell. Events of threads that arrived after the cell's last event are sent to `late`.
    pub fn end(&self) {
        let cell = {
            let mut state = self.shared.lock();
            state.busy = false;
            state.cell
        };
        let Some(late) = self.shared.late.get() else {
            return;
        };
        let messages = self.messages.lock().unwrap_or_else(PoisonError::into_inner);
        for message in messages.try_iter() {
            if let Message::Event(event) = message {
                late.emit(cell, event);
            }
        }
    }

    /// Adds an event to the output of the running cell.
    pub(crate) fn show(&self, event: Event) {
        // The receiver lives as long as the pump.
        self.sender.send(Message::Event(event)).ok();
    }

    /// Returns the value of a cell: the value of its last expression, or the output of a command
    /// such as `:vars`. If both exist, the command's output is displayed first.
    pub fn value(&self, answered: MimeBundle, shown: Option<MimeBundle>) -> Option<MimeBundle> {
        let shown = shown.filter(|shown| !is_unit(shown));
        if answered.is_empty() {
            return shown;
        }
        if shown.is_none() {
            return Some(answered);
        }
        self.show(Event::Display {
            data: answered,
            id: None,
        });
        shown
    }
}

/// Forwards the events of one cell.
pub struct Forwarder {
    messages: Arc<Mutex<Receiver<Message>>>,
    sender: Sender<Message>,
}

impl Forwarder {
    /// Runs a cell and forwards its events in the meantime. All of them have been emitted when this
    /// returns.
    pub fn forward<T>(&self, events: &dyn Events, cell: impl FnOnce() -> T) -> T {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let messages = self.messages.lock().unwrap_or_else(PoisonError::into_inner);
                while let Ok(Message::Event(event)) = messages.recv() {
                    events.emit(event);
                }
            });
            let outcome = cell();
            self.sender.send(Message::CellEnded).ok();
            outcome
        })
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        self.shared.change(|state| state.stop = true);
        rustix::io::write(&self.shared.wake, &1_u64.to_ne_bytes()).ok();
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

/// The connection to a cell process.
struct Connection {
    socket: OwnedFd,
    /// The descriptors received with the hello frame: standard output pipe, standard error pipe,
    /// input socket, comm socket.
    passed: Option<[OwnedFd; link::PASSED_DESCRIPTORS]>,
}

struct Worker {
    listener: OwnedFd,
    connection: Option<Connection>,
    /// The pipes of standard output and standard error.
    pipes: [Pipe; 2],
    assembler: Assembler,
    /// The assembler for the thread that calls comm callbacks.
    comm_assembler: Assembler,
    comms: Comms,
    shared: Arc<Shared>,
    sender: Sender<Message>,
    buffer: Vec<u8>,
    written: usize,
    /// Number of events since the last cell ended.
    kept: usize,
    /// The run that the bytes read last belong to.
    run: u32,
    /// The tag that marks programs that cells have started.
    tag: Tag,
}

impl Worker {
    fn run(&mut self) {
        loop {
            if self.shared.lock().stop {
                return;
            }
            if let Err(error) = self.wait() {
                tracing::error!(%error, "the output of cells cannot be read any more");
                return;
            }
            if self.connection.is_none() {
                self.accept();
            } else {
                // Every frame that precedes these bytes is in the socket after they were read.
                self.fill_pipes();
                self.read_frames();
                self.pass_on_pipes();
            }
            self.hand_over();
        }
    }

    /// Waits for input.
    fn wait(&mut self) -> Result<(), Errno> {
        let mut sources = vec![PollFd::new(&self.shared.wake, PollFlags::IN)];
        match &self.connection {
            None => sources.push(PollFd::new(&self.listener, PollFlags::IN)),
            Some(connection) => {
                sources.push(PollFd::new(&connection.socket, PollFlags::IN));
                for pipe in connection.passed.iter().flatten().take(2) {
                    sources.push(PollFd::new(pipe, PollFlags::IN));
                }
            }
        }
        let limit = self.assembler.holds_text().then_some(HOLD);
        match rustix::event::poll(&mut sources, limit.as_ref()) {
            Ok(0) => self.assembler.release(),
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn accept(&mut self) {
        match rustix::net::accept_with(&self.listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)
        {
            Ok(socket) => {
                let process = rustix::net::sockopt::socket_peercred(&socket)
                    .ok()
                    .map(|credentials| credentials.pid);
                self.shared.change(|state| state.process = process);
                self.connection = Some(Connection {
                    socket,
                    passed: None,
                });
            }
            Err(error) => tracing::debug!(%error, "no cell process to accept"),
        }
    }

    /// Reads all available frames.
    fn read_frames(&mut self) {
        while let Some(connection) = &mut self.connection {
            let mut space =
                [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(link::PASSED_DESCRIPTORS))];
            let mut ancillary = RecvAncillaryBuffer::new(&mut space);
            let received = rustix::net::recvmsg(
                &connection.socket,
                &mut [IoSliceMut::new(&mut self.buffer)],
                &mut ancillary,
                RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC,
            );
            let length = match received {
                Ok(received) => received.bytes,
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => return,
                Err(_) => 0,
            };
            let Some(head) = Head::from_bytes(&self.buffer[..length]) else {
                self.process_gone();
                return;
            };
            for message in ancillary.drain() {
                if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                    connection.passed = descriptors.collect::<Vec<_>>().try_into().ok();
                    if let Some(passed) = &connection.passed
                        && let Ok(socket) = passed[3].try_clone()
                        && let Some(process) = self.shared.lock().process
                    {
                        self.comms.set_way(Way::start(socket, process));
                    }
                }
            }
            self.frame(head, length);
            if self.written >= BATCH {
                self.hand_over();
            }
        }
    }

    /// Handles the frame in the buffer.
    fn frame(&mut self, head: Head, length: usize) {
        let (kind, flags) = (Frame::from_byte(head.kind), head.flags);
        for index in 0..2 {
            let older = self.with_pipe(index, |pipe, fd| {
                pipe.before(fd, head.time, head.waiting[index])
            });
            self.piped(index, &older.unwrap_or_default());
        }
        self.written += 1;
        self.belongs_to(head.run);
        let payload = &self.buffer[link::HEAD..length];
        let of_the_cell = flags & link::ON_CELL_THREAD != 0;
        if flags & link::ON_COMM_THREAD != 0 {
            let known = match kind {
                Some(Frame::Stdout) => {
                    self.comm_assembler.thread_stdout(payload);
                    true
                }
                Some(Frame::Stderr) => {
                    self.comm_assembler.thread_stderr(payload);
                    true
                }
                Some(Frame::Display) => {
                    self.comm_assembler.display(payload);
                    true
                }
                _ => false,
            };
            if known {
                self.comms.hear(self.comm_assembler.take_all_notices());
                return;
            }
        }
        match kind {
            Some(Frame::Stdout) if of_the_cell => self.assembler.stdout(payload),
            Some(Frame::Stdout) => self.assembler.thread_stdout(payload),
            Some(Frame::Stderr) if of_the_cell => self.assembler.stderr(payload),
            Some(Frame::Stderr) => self.assembler.thread_stderr(payload),
            Some(Frame::Display) => {
                self.assembler.display(payload);
                self.comms.hear(self.assembler.take_notices());
            }
            Some(Frame::Panic) => self.assembler.panic(payload),
            Some(Frame::Panicked) => self.assembler.panicked(),
            Some(Frame::Failed) => self.assembler.failed(payload),
            Some(Frame::Value) => self.assembler.value(payload),
            Some(Frame::LoadError) => {
                let reason = String::from_utf8_lossy(payload).into_owned();
                self.shared.change(|state| state.load_error = Some(reason));
            }
            Some(Frame::Begin) => self.begin(),
            Some(Frame::Finish) => self.finish(),
            Some(Frame::Input) => self.ask(),
            Some(Frame::Hello) => {}
            None => tracing::warn!(kind = head.kind, "a frame of an unknown kind"),
        }
    }

    /// Replies to [`Frame::Begin`]. The function is skipped if the cell was interrupted before it
    /// ran.
    fn begin(&mut self) {
        let mut answer = vec![link::SKIP];
        self.shared.change(|state| {
            if state.interrupted {
                state.skipped = true;
            } else {
                state.running = true;
                state.runs += 1;
                answer = vec![link::RUN];
                answer.extend(state.remember_run().to_le_bytes());
            }
        });
        self.answer(&answer);
    }

    /// Replies to the frame for which the cell process waits.
    fn answer(&self, answer: &[u8]) {
        if let Some(connection) = &self.connection {
            // The socket has room: the reply is short and the process waits for it. If the process
            // has ended, the next read detects that.
            rustix::net::send(&connection.socket, answer, SendFlags::NOSIGNAL).ok();
        }
    }

    /// Ends a run: reads and forwards the remaining output, then lets the cell process continue.
    fn finish(&mut self) {
        self.drain_pipes();
        let mut end = self.assembler.finish();
        self.hand_over();
        let mut answer = vec![b'\n'];
        answer.extend_from_slice(end.for_engine.as_bytes());
        self.shared.change(|state| {
            state.running = false;
            if end.value.is_none() {
                end.value = state.end.value.take();
            }
            state.end = end;
        });
        self.answer(&answer);
    }

    /// Sends an input request to the front end. A separate thread waits for the reply, so that
    /// output continues in the meantime.
    fn ask(&mut self) {
        let (prompt, password) = self.assembler.take_prompt();
        self.hand_over();
        let input = self
            .connection
            .as_ref()
            .and_then(|connection| connection.passed.as_ref())
            .and_then(|passed| passed[2].try_clone().ok());
        let Some(input) = input else { return };
        let (reply, answer) = channel();
        let event = Event::Input {
            prompt,
            password,
            reply,
        };
        self.sender.send(Message::Event(event)).ok();
        let sender = self.sender.clone();
        let pass_on = move || {
            let packet = match answer.recv().unwrap_or(InputAnswer::Unavailable) {
                InputAnswer::Line(line) => {
                    let mut packet = vec![link::INPUT_LINE];
                    packet.extend_from_slice(line.as_bytes());
                    packet.truncate(link::MAX_INPUT - 1);
                    packet.push(b'\n');
                    packet
                }
                InputAnswer::End => vec![link::INPUT_END],
                InputAnswer::Cancelled => vec![link::INPUT_CANCELLED],
                InputAnswer::Unavailable => {
                    let text = "this cell reads standard input, which this front end does not offer\n\
                                hint: give the value in the cell, or run the notebook in JupyterLab\n";
                    let event = Event::Stderr(text.to_owned());
                    sender.send(Message::Event(event)).ok();
                    vec![link::INPUT_UNAVAILABLE]
                }
            };
            rustix::net::send(&input, &packet, SendFlags::NOSIGNAL).ok();
        };
        std::thread::Builder::new()
            .name("cell-input".to_owned())
            .spawn(pass_on)
            .ok();
    }

    fn process_gone(&mut self) {
        self.drain_pipes();
        self.connection = None;
        self.pipes = Default::default();
        let panic = self.assembler.died();
        self.hand_over();
        self.comms.hear(self.comm_assembler.take_all_notices());
        self.comm_assembler = Assembler::default();
        self.comms.gone();
        if let Some(process) = self.shared.lock().process {
            // The process group includes the programs that cells have started.
            programs::stop_group(process, rustix::process::Signal::KILL);
            programs::end(false, std::slice::from_ref(&self.tag));
        }
        self.shared.change(|state| {
            state.process = None;
            state.running = false;
            state.end.panic = panic;
            state.processes_gone += 1;
        });
    }

    /// Calls `action` with a pipe and its descriptor; `None` without a cell process.
    fn with_pipe<T>(
        &mut self,
        index: usize,
        action: impl FnOnce(&mut Pipe, BorrowedFd<'_>) -> T,
    ) -> Option<T> {
        let passed = self.connection.as_ref()?.passed.as_ref()?;
        Some(action(&mut self.pipes[index], passed[index].as_fd()))
    }

    /// Reads once from each pipe that holds bytes.
    fn fill_pipes(&mut self) {
        for index in 0..2 {
            self.with_pipe(index, |pipe, fd| pipe.fill(fd, link::MAX_PAYLOAD));
        }
    }

    /// Passes on the bytes that no frame follows.
    fn pass_on_pipes(&mut self) {
        for index in 0..2 {
            let bytes = self.pipes[index].rest();
            self.piped(index, &bytes);
        }
    }

    /// Reads the pipes until they are empty, and passes on their bytes.
    fn drain_pipes(&mut self) {
        for index in 0..2 {
            self.with_pipe(index, |pipe, fd| while pipe.fill(fd, link::MAX_PAYLOAD) {});
        }
        self.pass_on_pipes();
    }

    /// Passes on bytes of a pipe.
    fn piped(&mut self, index: usize, bytes: &[u8]) {
        match index {
            _ if bytes.is_empty() => {}
            0 => self.assembler.piped_stdout(bytes),
            _ => self.assembler.piped_stderr(bytes),
        }
    }

    /// Sets the run that the following bytes belong to; forwards the events of the previous run
    /// first.
    fn belongs_to(&mut self, run: u32) {
        if run != self.run {
            self.hand_over();
            self.run = run;
        }
    }

    fn hand_over(&mut self) {
        self.written = 0;
        let events = self.assembler.take_events();
        if events.is_empty() {
            return;
        }
        let (busy, cell) = {
            let state = self.shared.lock();
            (state.busy, state.cell_of(self.run))
        };
        let late = self.shared.late.get().filter(|_| !busy);
        for event in events {
            if let Some(late) = late {
                late.emit(cell, event);
                continue;
            }
            self.kept = if busy { 0 } else { self.kept + 1 };
            if self.kept > KEPT_BETWEEN_CELLS {
                continue;
            }
            self.sender.send(Message::Event(event)).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_that_came_before_the_cell_runs_is_not_lost() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("link");
        let pump = Pump::listen(&path).expect("it can listen");
        let cell = rustix::net::socket(AddressFamily::UNIX, SocketType::SEQPACKET, None)
            .expect("a socket");
        let address = SocketAddrUnix::new(&path).expect("a short path");
        rustix::net::connect(&cell, &address).expect("it listens");
        let begin = || {
            let head = Head::of(Frame::Begin).to_bytes();
            rustix::net::send(&cell, &head, SendFlags::empty()).expect("sent");
            let mut answer = [9; 8];
            let (length, _) =
                rustix::net::recv(&cell, &mut answer[..], RecvFlags::empty()).expect("an answer");
            answer[..length].to_vec()
        };
        assert_eq!(begin(), [link::RUN, 1, 0, 0, 0]);
        pump.shared.lock().interrupted = true;
        assert_eq!(begin(), [link::SKIP]);
        assert!(pump.shared.lock().skipped);
        // This process acts as the cell process; dropping the pump would kill its process group.
        pump.shared.lock().process = None;
    }
}
