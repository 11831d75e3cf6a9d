//! The protocol between the cell process and the kernel on their socket.
//!
//! The socket type `SOCK_SEQPACKET` preserves packet boundaries and order, so each packet is one
//! frame: a [`Head`] and a payload. All output, displays and input requests of user code pass
//! through this one queue, which preserves their order.

use std::time::{SystemTime, UNIX_EPOCH};

/// Length of the frame header.
pub(crate) const HEAD: usize = 22;

/// The header of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    /// The byte of the [`Frame`].
    pub(crate) kind: u8,
    /// [`ON_CELL_THREAD`], [`ON_COMM_THREAD`] or none.
    pub(crate) flags: u8,
    /// The run of a cell that the sending thread belongs to.
    pub(crate) run: u32,
    /// The time of sending, see [`now`].
    pub(crate) time: u64,
    /// Number of bytes in the pipes of standard output and standard error at that time; they
    /// precede the frame.
    pub(crate) waiting: [u32; 2],
}

impl Head {
    /// A header without flags and without bytes in the pipes.
    pub(crate) fn of(frame: Frame) -> Self {
        Self {
            kind: frame as u8,
            flags: 0,
            run: 0,
            time: now(),
            waiting: [0; 2],
        }
    }

    pub(crate) fn to_bytes(self) -> [u8; HEAD] {
        let mut bytes = [0; HEAD];
        bytes[0] = self.kind;
        bytes[1] = self.flags;
        bytes[2..6].copy_from_slice(&self.run.to_le_bytes());
        bytes[6..14].copy_from_slice(&self.time.to_le_bytes());
        bytes[14..18].copy_from_slice(&self.waiting[0].to_le_bytes());
        bytes[18..].copy_from_slice(&self.waiting[1].to_le_bytes());
        bytes
    }

    /// Decodes a packet's header; `None` if the packet is too short.
    pub(crate) fn from_bytes(packet: &[u8]) -> Option<Self> {
        let bytes: &[u8; HEAD] = packet.first_chunk()?;
        let time = bytes[6..]
            .first_chunk()
            .map(|time| u64::from_le_bytes(*time))?;
        Some(Self {
            kind: bytes[0],
            flags: bytes[1],
            run: run_in(&bytes[2..]),
            time,
            waiting: [run_in(&bytes[14..]), run_in(&bytes[18..])],
        })
    }
}

/// Returns the system's time in nanoseconds. Both processes read the same clock; if somebody sets it,
/// output of started programs may be out of order at that moment.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_nanos() as u64)
}

/// Decodes a number, such as that of the run in a [`RUN`] reply, without the reply's first byte.
pub(crate) fn run_in(bytes: &[u8]) -> u32 {
    bytes
        .first_chunk()
        .map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

/// Maximum length of a payload; longer writes are split.
pub(crate) const MAX_PAYLOAD: usize = 32 * 1024;

/// The kind of a frame that the cell process sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Frame {
    /// The first frame; carries [`PASSED_DESCRIPTORS`] file descriptors.
    Hello = b'h',
    /// The cell process has received a library and is about to run its function. The kernel replies
    /// with [`RUN`] or [`SKIP`].
    Begin = b'b',
    /// Bytes for standard output.
    Stdout = b'o',
    /// Bytes for standard error.
    Stderr = b'e',
    /// Bytes of a JSON line from the crate `notebook`.
    Display = b'd',
    /// A panic on the cell thread: `place NUL message`.
    Panic = b'p',
    /// The last panic has ended the cell.
    Panicked = b'x',
    /// `?` has ended the cell: the text of the error.
    Failed = b'q',
    /// Part of the text of the cell's value; an empty part ends it.
    Value = b'v',
    /// User code reads standard input. The reply is sent on the input socket.
    Input = b'i',
    /// The library could not be loaded: the reason.
    LoadError = b'l',
    /// The function has returned. The kernel replies with the lines for the engine, each terminated by
    /// a newline.
    Finish = b'f',
}

impl Frame {
    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        [
            Self::Hello,
            Self::Begin,
            Self::Stdout,
            Self::Stderr,
            Self::Display,
            Self::Panic,
            Self::Panicked,
            Self::Failed,
            Self::Value,
            Self::Input,
            Self::LoadError,
            Self::Finish,
        ]
        .into_iter()
        .find(|frame| *frame as u8 == byte)
    }
}

/// Flag: the cell thread sent the frame. Only that thread runs the code that is
/// generated around a cell.
pub(crate) const ON_CELL_THREAD: u8 = 1;

/// Flag: the thread that calls comm callbacks sent the frame; see [`PASSED_DESCRIPTORS`].
pub(crate) const ON_COMM_THREAD: u8 = 2;

/// Reply to [`Frame::Begin`]: run the function. The run number follows in four bytes.
pub(crate) const RUN: u8 = 1;

/// Reply to [`Frame::Begin`]: the cell was interrupted in the meantime; do not run the function.
pub(crate) const SKIP: u8 = 0;

/// Number of file descriptors passed with [`Frame::Hello`].
///
/// The first two are the read ends of the standard output and standard error pipes. They carry
/// output that bypasses the frames: that of C code and of started programs. The third is the
/// kernel's end of the input socket. The fourth is the kernel's end of the comm socket, on which
/// the kernel forwards comm messages of front ends as JSON lines. The thread that reads the comm
/// socket is the comm thread.
pub(crate) const PASSED_DESCRIPTORS: usize = 4;

/// Maximum length of a reply to [`Frame::Input`].
pub(crate) const MAX_INPUT: usize = 128 * 1024;

/// Reply to [`Frame::Input`]: the front end does not support input.
pub(crate) const INPUT_UNAVAILABLE: u8 = 0;

/// Reply to [`Frame::Input`]: a line follows.
pub(crate) const INPUT_LINE: u8 = 1;

/// Reply to [`Frame::Input`]: end of input.
pub(crate) const INPUT_END: u8 = 2;

/// Reply to [`Frame::Input`]: the cell is being interrupted.
pub(crate) const INPUT_CANCELLED: u8 = 3;
