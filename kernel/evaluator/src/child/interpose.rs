//! Overrides of `write`, `writev` and `read` of the C library, for the cell process.
//!
//! Rust's standard library uses these symbols for the standard streams, also in the cells'
//! libraries. A definition in the executable overrides that of the C library. In the cell process,
//! each write to a standard stream becomes a frame on the one socket to the kernel, and a read of
//! standard input becomes an input request to the front end. C `stdio` and started programs bypass
//! these functions; their output goes to ordinary pipes.
//!
//! In every other role the functions are plain system calls. Redirection (`dup2`) is respected: the
//! functions compare the file behind the descriptor, not its number.

// The C library's interface consists of raw pointers and numbers; each use has a `SAFETY` comment.
#![allow(unsafe_code)]

use std::ffi::{c_int, c_void};
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags};

use super::{stop, threads};
use crate::link::{self, Frame, Head};

/// The descriptors that the cell process uses to communicate with the kernel.
#[derive(Debug)]
pub(super) struct Streams {
    /// The socket to the kernel.
    pub(super) link: OwnedFd,
    /// The socket that receives input.
    pub(super) input: OwnedFd,
    /// The standard output and standard error pipes; used to check whether they hold bytes.
    pub(super) pipes: [OwnedFd; 2],
    /// The file that the crate `notebook` writes displays to; kept open here.
    pub(super) _display: OwnedFd,
    /// Identities of the files behind the descriptors 0, 1, 2 and the display descriptor at start.
    pub(super) originals: [Identity; 4],
    /// The display descriptor.
    pub(super) display_number: RawFd,
    /// The socket from which the crate `notebook` reads comm messages; kept open here.
    pub(super) comms: OwnedFd,
}

/// Identity of the file behind a descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    pub(super) fn of(fd: impl AsFd) -> Option<Self> {
        let stat = rustix::fs::fstat(fd).ok()?;
        Some(Self {
            device: stat.st_dev,
            inode: stat.st_ino,
        })
    }
}

static STREAMS: OnceLock<Streams> = OnceLock::new();

/// Flushes Rust's buffered standard output; set after the cells' standard library is loaded.
static FLUSH: OnceLock<extern "C" fn()> = OnceLock::new();

/// Whether the cell thread is inside a write to standard output, where a flush would be re-entrant.
static WRITING_STDOUT: AtomicBool = AtomicBool::new(false);

/// Connects the standard streams to the kernel from now on.
pub(super) fn activate(streams: Streams) -> &'static Streams {
    STREAMS.get_or_init(|| streams)
}

/// Sets the function that flushes standard output before anything that must follow it.
pub(super) fn flush_with(flush: extern "C" fn()) {
    FLUSH.get_or_init(|| flush);
}

/// Flushes Rust's standard output, unless the cell thread is writing to it.
pub(super) fn flush() {
    if !WRITING_STDOUT.load(Ordering::Relaxed)
        && let Some(flush) = FLUSH.get()
    {
        flush();
    }
}

/// Longest time between readings that count as simultaneous, in nanoseconds.
const SIMULTANEOUS: u64 = 20_000;

/// How often the pipes are read again on a busy machine.
const MOST_TRIES: u32 = 5;

/// Sends a frame, ordered after all earlier writes.
pub(super) fn send(frame: Frame, payload: &[u8]) -> Result<(), Errno> {
    let streams = STREAMS.get().ok_or(Errno::NOTCONN)?;
    send_on(streams, frame, payload)
}

fn send_on(streams: &Streams, frame: Frame, payload: &[u8]) -> Result<(), Errno> {
    let (time, waiting) = waiting_now(&streams.pipes);
    let flags = if stop::on_cell_thread() {
        link::ON_CELL_THREAD
    } else if stop::on_comm_thread() {
        link::ON_COMM_THREAD
    } else {
        0
    };
    let head = Head {
        kind: frame as u8,
        flags,
        run: threads::run(),
        time,
        waiting,
    };
    send_packet(&streams.link, &head.to_bytes(), payload)
}

/// Returns the time and the number of bytes in each pipe at that time.
fn waiting_now(pipes: &[OwnedFd; 2]) -> (u64, [u32; 2]) {
    let count = |pipe| {
        let count = rustix::io::ioctl_fionread(pipe).unwrap_or_default();
        u32::try_from(count).unwrap_or_default()
    };
    let mut tries = 0;
    loop {
        let time = link::now();
        let waiting = [count(&pipes[0]), count(&pipes[1])];
        tries += 1;
        // A thread that was suspended in between has an outdated time or number.
        if link::now().saturating_sub(time) < SIMULTANEOUS || tries == MOST_TRIES {
            return (time, waiting);
        }
    }
}

/// Sends one packet; retries when a signal interrupts the call.
pub(super) fn send_packet(socket: impl AsFd, head: &[u8], payload: &[u8]) -> Result<(), Errno> {
    let parts = [IoSlice::new(head), IoSlice::new(payload)];
    loop {
        let sent = rustix::net::sendmsg(
            socket.as_fd(),
            &parts,
            &mut SendAncillaryBuffer::default(),
            SendFlags::NOSIGNAL,
        );
        match sent {
            Err(Errno::INTR) => {}
            other => return other.map(|_| ()),
        }
    }
}

/// Returns the stream of a descriptor, if the descriptor still refers to the original file.
fn stream_of(fd: c_int) -> Option<(&'static Streams, Frame)> {
    let streams = STREAMS.get()?;
    let (index, frame) = match fd {
        1 => (1, Frame::Stdout),
        2 => (2, Frame::Stderr),
        number if number == streams.display_number => (3, Frame::Display),
        _ => return None,
    };
    // SAFETY: the descriptor is only passed to `fstat`; a closed one returns an error.
    let now = Identity::of(unsafe { BorrowedFd::borrow_raw(fd) })?;
    (now == streams.originals[index]).then_some((streams, frame))
}

/// Writes to one of the kernel's streams; returns the number of bytes written.
fn write_frame(streams: &Streams, frame: Frame, bytes: &[u8]) -> Result<usize, Errno> {
    let on_cell_thread = stop::on_cell_thread();
    if frame != Frame::Display && stop::asked_here() {
        // `print!` panics on this error.
        return Err(Errno::CANCELED);
    }
    let taken = &bytes[..bytes.len().min(link::MAX_PAYLOAD)];
    if frame == Frame::Stdout {
        if on_cell_thread {
            WRITING_STDOUT.store(true, Ordering::Relaxed);
        }
        let sent = send_on(streams, frame, taken);
        if on_cell_thread {
            WRITING_STDOUT.store(false, Ordering::Relaxed);
        }
        sent?;
    } else {
        // Text without a newline may still be in Rust's buffer. Only the cell thread flushes it.
        // Another thread could deadlock: the holder of the buffer's lock may be waiting for it.
        if on_cell_thread {
            flush();
        }
        send_on(streams, frame, taken)?;
    }
    Ok(taken.len())
}

/// Converts a result to C's convention: a count, or -1 and `errno`.
fn c_result(result: Result<usize, Errno>) -> isize {
    match result {
        Ok(count) => count.cast_signed(),
        Err(error) => {
            // SAFETY: `errno` of the calling thread is always valid.
            unsafe { *libc::__errno_location() = error.raw_os_error() };
            -1
        }
    }
}

/// `write(2)`.
///
/// # Safety
/// Same as for the C function: `count` bytes can be read at `buffer`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn write(fd: c_int, buffer: *const c_void, count: usize) -> isize {
    if let Some((streams, frame)) = stream_of(fd) {
        if count == 0 {
            return 0;
        }
        // SAFETY: the caller passes a buffer of that size.
        let bytes = unsafe { std::slice::from_raw_parts(buffer.cast::<u8>(), count) };
        return c_result(write_frame(streams, frame, bytes));
    }
    // SAFETY: same arguments for the same system call.
    unsafe { libc::syscall(libc::SYS_write, fd, buffer, count) as isize }
}

/// `writev(2)`.
///
/// # Safety
/// Same as for the C function: `count` entries can be read at `parts`, and the bytes of each entry.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn writev(fd: c_int, parts: *const libc::iovec, count: c_int) -> isize {
    if let Some((streams, frame)) = stream_of(fd) {
        let Ok(count) = usize::try_from(count) else {
            return c_result(Err(Errno::INVAL));
        };
        // SAFETY: the caller passes that many entries.
        let parts = unsafe { std::slice::from_raw_parts(parts, count) };
        let mut joined = Vec::new();
        for part in parts.iter().filter(|part| part.iov_len > 0) {
            // SAFETY: each entry describes readable bytes.
            joined.extend_from_slice(unsafe {
                std::slice::from_raw_parts(part.iov_base.cast::<u8>(), part.iov_len)
            });
            if joined.len() >= link::MAX_PAYLOAD {
                break;
            }
        }
        if joined.is_empty() {
            return 0;
        }
        return c_result(write_frame(streams, frame, &joined));
    }
    // SAFETY: same arguments for the same system call.
    unsafe { libc::syscall(libc::SYS_writev, fd, parts, count) as isize }
}

/// `read(2)`.
///
/// # Safety
/// Same as for the C function: `count` bytes can be written at `buffer`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn read(fd: c_int, buffer: *mut c_void, count: usize) -> isize {
    if fd == 0
        && let Some(streams) = STREAMS.get()
        // SAFETY: the descriptor is only passed to `fstat`.
        && Identity::of(unsafe { BorrowedFd::borrow_raw(0) }) == Some(streams.originals[0])
    {
        if count == 0 {
            return 0;
        }
        // SAFETY: the caller passes a buffer of that size; it is only written.
        let buffer =
            unsafe { std::slice::from_raw_parts_mut(buffer.cast::<MaybeUninit<u8>>(), count) };
        return c_result(read_input(streams, buffer));
    }
    if STREAMS
        .get()
        .is_some_and(|streams| streams.comms.as_raw_fd() == fd)
    {
        stop::no_callback_runs_here();
        // SAFETY: as below. No callback runs here that could be interrupted.
        return unsafe { libc::syscall(libc::SYS_read, fd, buffer, count) as isize };
    }
    if stop::asked_here() {
        return c_result(Err(Errno::CANCELED));
    }
    // SAFETY: same arguments for the same system call.
    let result = unsafe { libc::syscall(libc::SYS_read, fd, buffer, count) as isize };
    if result < 0 && stop::asked_here() {
        return c_result(Err(Errno::CANCELED));
    }
    result
}

/// Returns the rest of the last line, or requests another line from the kernel.
fn read_input(streams: &Streams, buffer: &mut [MaybeUninit<u8>]) -> Result<usize, Errno> {
    /// The last reply, including the part that was already read.
    static LINE: Mutex<Vec<u8>> = Mutex::new(Vec::new());
    /// Number of bytes of `LINE` that were read.
    static READ: AtomicUsize = AtomicUsize::new(0);

    let mut line = LINE.lock().unwrap_or_else(PoisonError::into_inner);
    if READ.load(Ordering::Relaxed) >= line.len() {
        if stop::on_cell_thread() {
            // A prompt is usually an incomplete line.
            flush();
        }
        if stop::asked_here() {
            return Err(Errno::CANCELED);
        }
        send_on(streams, Frame::Input, &[])?;
        line.resize(link::MAX_INPUT, 0);
        let received = loop {
            match rustix::net::recv(&streams.input, &mut line[..], RecvFlags::empty()) {
                // The kernel always replies, also when the cell is interrupted.
                Err(Errno::INTR) => {}
                other => break other,
            }
        };
        let length = match received {
            Ok((length, _)) => length,
            Err(error) => {
                line.clear();
                return Err(error);
            }
        };
        let answer = line.first().copied();
        line.truncate(length);
        READ.store(1, Ordering::Relaxed);
        match answer {
            Some(link::INPUT_LINE) => {}
            other => {
                line.clear();
                return match other {
                    Some(link::INPUT_END) => Ok(0),
                    Some(link::INPUT_CANCELLED) => Err(Errno::CANCELED),
                    _ => Err(Errno::OPNOTSUPP),
                };
            }
        }
    }
    let start = READ.load(Ordering::Relaxed).min(line.len());
    let given = buffer.len().min(line.len() - start);
    for (to, from) in buffer.iter_mut().zip(&line[start..]) {
        to.write(*from);
    }
    READ.store(start + given, Ordering::Relaxed);
    Ok(given)
}

/// Keeps the functions above linked into every executable that can become a cell process.
pub(super) fn keep_linked() {
    std::hint::black_box((
        write as *const c_void,
        writev as *const c_void,
        read as *const c_void,
    ));
}
