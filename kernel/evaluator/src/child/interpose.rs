//! `write`, `writev` and `read` of the C library, as the cell process sees them.
//!
//! Rust's standard library, in the cells' libraries too, reaches the standard streams through these symbols. A definition in the
//! executable comes before the C library's, so in the cell process each write to a standard stream becomes a frame on the one socket
//! to the kernel, and a read of standard input becomes a question to the front end. Writes of C's `stdio` and of started
//! programs do not come here; they end in ordinary pipes.
//!
//! In every other role these functions are the plain system calls. Redirecting a stream (`dup2`) is respected: what is compared is
//! the file behind the number, not the number.

// The C library's interface is made of raw pointers and numbers; each use says why it is sound.
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
use crate::link::{self, Frame};

/// The cell process's ends of everything.
#[derive(Debug)]
pub(super) struct Streams {
    /// The socket to the kernel.
    pub(super) link: OwnedFd,
    /// The socket on which input arrives.
    pub(super) input: OwnedFd,
    /// The pipes of standard output and error, to see whether something waits in them.
    pub(super) pipes: [OwnedFd; 2],
    /// The file to which the crate `notebook` writes; kept open here.
    pub(super) _display: OwnedFd,
    /// The files that were behind 0, 1, 2 and the display's number at the start.
    pub(super) originals: [Identity; 4],
    /// The display's number.
    pub(super) display_number: RawFd,
    /// Where the crate `notebook` hears what front ends say to comms; kept open here.
    pub(super) comms: OwnedFd,
}

/// Which file is behind a number.
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

/// Flushes what Rust's standard output still holds back; set once the cells' standard library is loaded.
static FLUSH: OnceLock<extern "C" fn()> = OnceLock::new();

/// Whether the cell's thread is inside a write to standard output, where flushing would be re-entrant.
static WRITING_STDOUT: AtomicBool = AtomicBool::new(false);

/// From here on standard streams go to the kernel.
pub(super) fn activate(streams: Streams) -> &'static Streams {
    STREAMS.get_or_init(|| streams)
}

/// From here on standard output is flushed before anything that must come after it.
pub(super) fn flush_with(flush: extern "C" fn()) {
    FLUSH.get_or_init(|| flush);
}

/// Writes out what Rust's standard output holds back, unless the cell's thread is just writing it.
pub(super) fn flush() {
    if !WRITING_STDOUT.load(Ordering::Relaxed)
        && let Some(flush) = FLUSH.get()
    {
        flush();
    }
}

/// Sends a frame that belongs after everything that was written before it.
pub(super) fn send(frame: Frame, payload: &[u8]) -> Result<(), Errno> {
    let streams = STREAMS.get().ok_or(Errno::NOTCONN)?;
    send_on(streams, frame, payload)
}

fn send_on(streams: &Streams, frame: Frame, payload: &[u8]) -> Result<(), Errno> {
    let waits = |pipe: &OwnedFd| rustix::io::ioctl_fionread(pipe).is_ok_and(|count| count > 0);
    let mut flags = 0;
    if waits(&streams.pipes[0]) {
        flags |= link::STDOUT_IS_OLDER;
    }
    if waits(&streams.pipes[1]) {
        flags |= link::STDERR_IS_OLDER;
    }
    if stop::on_cell_thread() {
        flags |= link::ON_CELL_THREAD;
    } else if stop::on_comm_thread() {
        flags |= link::ON_COMM_THREAD;
    }
    let head = link::head(frame, flags, threads::run());
    send_packet(&streams.link, &head, payload)
}

/// Sends one packet, however often a signal comes between.
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

/// What a number stands for, when it still stands for it.
fn stream_of(fd: c_int) -> Option<(&'static Streams, Frame)> {
    let streams = STREAMS.get()?;
    let (index, frame) = match fd {
        1 => (1, Frame::Stdout),
        2 => (2, Frame::Stderr),
        number if number == streams.display_number => (3, Frame::Display),
        _ => return None,
    };
    // SAFETY: the number is only asked what is behind it; one that was closed meanwhile answers with an error.
    let now = Identity::of(unsafe { BorrowedFd::borrow_raw(fd) })?;
    (now == streams.originals[index]).then_some((streams, frame))
}

/// Writes to a stream of the kernel; how many bytes were taken.
fn write_frame(streams: &Streams, frame: Frame, bytes: &[u8]) -> Result<usize, Errno> {
    let on_cell_thread = stop::on_cell_thread();
    if frame != Frame::Display && stop::asked_here() {
        // `print!` makes a panic of it.
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
        // Text without a newline may still wait in Rust's buffer. Only the cell's thread flushes it: another thread could wait here
        // for one that holds the lock and waits for it.
        if on_cell_thread {
            flush();
        }
        send_on(streams, frame, taken)?;
    }
    Ok(taken.len())
}

/// Puts a result into C's form: a count, or -1 and `errno`.
fn c_result(result: Result<usize, Errno>) -> isize {
    match result {
        Ok(count) => count.cast_signed(),
        Err(error) => {
            // SAFETY: `errno` of the calling thread is always there.
            unsafe { *libc::__errno_location() = error.raw_os_error() };
            -1
        }
    }
}

/// `write(2)`.
///
/// # Safety
/// As for the C function: `count` bytes can be read at `buffer`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn write(fd: c_int, buffer: *const c_void, count: usize) -> isize {
    if let Some((streams, frame)) = stream_of(fd) {
        if count == 0 {
            return 0;
        }
        // SAFETY: the caller gives a buffer of that size.
        let bytes = unsafe { std::slice::from_raw_parts(buffer.cast::<u8>(), count) };
        return c_result(write_frame(streams, frame, bytes));
    }
    // SAFETY: the same arguments for the same system call.
    unsafe { libc::syscall(libc::SYS_write, fd, buffer, count) as isize }
}

/// `writev(2)`.
///
/// # Safety
/// As for the C function: `count` entries can be read at `parts`, and what each describes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn writev(fd: c_int, parts: *const libc::iovec, count: c_int) -> isize {
    if let Some((streams, frame)) = stream_of(fd) {
        let Ok(count) = usize::try_from(count) else {
            return c_result(Err(Errno::INVAL));
        };
        // SAFETY: the caller gives that many entries.
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
    // SAFETY: the same arguments for the same system call.
    unsafe { libc::syscall(libc::SYS_writev, fd, parts, count) as isize }
}

/// `read(2)`.
///
/// # Safety
/// As for the C function: `count` bytes can be written at `buffer`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn read(fd: c_int, buffer: *mut c_void, count: usize) -> isize {
    if fd == 0
        && let Some(streams) = STREAMS.get()
        // SAFETY: 0 is only asked what is behind it.
        && Identity::of(unsafe { BorrowedFd::borrow_raw(0) }) == Some(streams.originals[0])
    {
        if count == 0 {
            return 0;
        }
        // SAFETY: the caller gives a buffer of that size; it is only written.
        let buffer =
            unsafe { std::slice::from_raw_parts_mut(buffer.cast::<MaybeUninit<u8>>(), count) };
        return c_result(read_input(streams, buffer));
    }
    if STREAMS
        .get()
        .is_some_and(|streams| streams.comms.as_raw_fd() == fd)
    {
        stop::no_callback_runs_here();
        // SAFETY: as below. Between callbacks there is nothing to stop.
        return unsafe { libc::syscall(libc::SYS_read, fd, buffer, count) as isize };
    }
    if stop::asked_here() {
        return c_result(Err(Errno::CANCELED));
    }
    // SAFETY: the same arguments for the same system call.
    let result = unsafe { libc::syscall(libc::SYS_read, fd, buffer, count) as isize };
    if result < 0 && stop::asked_here() {
        return c_result(Err(Errno::CANCELED));
    }
    result
}

/// Gives what is left of the last line, or asks the kernel for another.
fn read_input(streams: &Streams, buffer: &mut [MaybeUninit<u8>]) -> Result<usize, Errno> {
    /// What was received and not yet read.
    static LINE: Mutex<Vec<u8>> = Mutex::new(Vec::new());
    /// How much of it was read.
    static READ: AtomicUsize = AtomicUsize::new(0);

    let mut line = LINE.lock().unwrap_or_else(PoisonError::into_inner);
    if READ.load(Ordering::Relaxed) >= line.len() {
        if stop::on_cell_thread() {
            // A prompt is mostly part of a line.
            flush();
        }
        if stop::asked_here() {
            return Err(Errno::CANCELED);
        }
        send_on(streams, Frame::Input, &[])?;
        line.resize(link::MAX_INPUT, 0);
        let received = loop {
            match rustix::net::recv(&streams.input, &mut line[..], RecvFlags::empty()) {
                // The kernel answers in any case, also when the cell is stopped.
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

/// Makes sure that the functions above are part of every executable that can be a cell process.
pub(super) fn keep_linked() {
    std::hint::black_box((
        write as *const c_void,
        writev as *const c_void,
        read as *const c_void,
    ));
}
