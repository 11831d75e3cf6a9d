//! The protocol between the cell process and the kernel on their socket.
//!
//! The socket type `SOCK_SEQPACKET` preserves packet boundaries and order, so each packet is one
//! frame: one byte for the kind, one byte of flags, four bytes for the run of a cell that the
//! sending thread belongs to, and a payload. All output, displays and input requests of user code
//! pass through this one queue, which preserves their order.

/// Length of the frame header: kind, flags, and the run number of the sending thread.
pub(crate) const HEAD: usize = 6;

/// Builds a frame header.
pub(crate) fn head(frame: Frame, flags: u8, run: u32) -> [u8; HEAD] {
    let [a, b, c, d] = run.to_le_bytes();
    [frame as u8, flags, a, b, c, d]
}

/// Decodes the run number from a frame header, or from a [`RUN`] reply without its first byte.
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

/// Flag: the standard output pipe held bytes when the frame was sent; those bytes are older.
pub(crate) const STDOUT_IS_OLDER: u8 = 1;

/// Flag: the standard error pipe held bytes when the frame was sent; those bytes are older.
pub(crate) const STDERR_IS_OLDER: u8 = 2;

/// Flag: the cell thread sent the frame. Only that thread runs the code that is
/// generated around a cell.
pub(crate) const ON_CELL_THREAD: u8 = 4;

/// Flag: the thread that calls comm callbacks sent the frame; see [`PASSED_DESCRIPTORS`].
pub(crate) const ON_COMM_THREAD: u8 = 8;

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
