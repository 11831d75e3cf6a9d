//! What the cell process and the kernel say to each other on their socket.
//!
//! The socket keeps packets whole and in order (`SOCK_SEQPACKET`), so a packet is a frame: one byte that says what it is, one byte
//! of flags, four bytes that say to which run of a cell the sending thread belongs, and a payload. Everything that user code writes, shows or asks for goes through this one queue; that is
//! what keeps its order.

/// What stands before the payload: the kind, the flags, and the number of the run that the sending thread belongs to.
pub(crate) const HEAD: usize = 6;

/// The head of a frame.
pub(crate) fn head(frame: Frame, flags: u8, run: u32) -> [u8; HEAD] {
    let [a, b, c, d] = run.to_le_bytes();
    [frame as u8, flags, a, b, c, d]
}

/// The number of the run in a head, or in an answer of [`RUN`] behind its first byte.
pub(crate) fn run_in(bytes: &[u8]) -> u32 {
    bytes
        .first_chunk()
        .map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

/// No payload is longer than this; longer writes are split.
pub(crate) const MAX_PAYLOAD: usize = 32 * 1024;

/// What a frame from the cell process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Frame {
    /// The first one; carries [`PASSED_DESCRIPTORS`] file descriptors.
    Hello = b'h',
    /// A library was received and its function is about to run. The kernel answers with [`RUN`] or [`SKIP`].
    Begin = b'b',
    /// Bytes for standard output.
    Stdout = b'o',
    /// Bytes for standard error.
    Stderr = b'e',
    /// Bytes of a JSON line of the crate `notebook`.
    Display = b'd',
    /// A panic on the thread of the cell: `place NUL message`.
    Panic = b'p',
    /// The last panic has ended the cell.
    Panicked = b'x',
    /// `?` has left the cell: the error's text.
    Failed = b'q',
    /// A part of the text of the cell's value; an empty one ends it.
    Value = b'v',
    /// Somebody reads standard input. The answer goes to the input socket.
    Input = b'i',
    /// The library could not be loaded: why.
    LoadError = b'l',
    /// The function has returned. The kernel answers with the lines that are meant for `evcxr`, each ended by a newline.
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

/// Flag: when the frame was sent, bytes were waiting in the pipe of standard output, so they are older.
pub(crate) const STDOUT_IS_OLDER: u8 = 1;

/// Flag: the same for standard error.
pub(crate) const STDERR_IS_OLDER: u8 = 2;

/// Flag: the thread that runs cells has sent the frame. Only that thread runs the code that `evcxr` generates around a cell.
pub(crate) const ON_CELL_THREAD: u8 = 4;

/// Flag: the thread that calls the callbacks of comms has sent the frame; see [`PASSED_DESCRIPTORS`].
pub(crate) const ON_COMM_THREAD: u8 = 8;

/// Answer to [`Frame::Begin`]: run the function. Behind it stands the number of this run, in four bytes.
pub(crate) const RUN: u8 = 1;

/// Answer to [`Frame::Begin`]: the stop button was pressed meanwhile, do not run it.
pub(crate) const SKIP: u8 = 0;

/// How many file descriptors come with [`Frame::Hello`]: the ends from which the kernel reads what bypasses the frames
/// (standard output, standard error: C code and started programs), the kernel's end of the input socket, and that of the socket on
/// which it passes on what front ends say to comms, as JSON lines. Whichever thread reads the latter is the comms' thread.
pub(crate) const PASSED_DESCRIPTORS: usize = 4;

/// No answer to [`Frame::Input`] is longer than this.
pub(crate) const MAX_INPUT: usize = 128 * 1024;

/// Answer to [`Frame::Input`]: there is nobody to ask.
pub(crate) const INPUT_UNAVAILABLE: u8 = 0;

/// Answer to [`Frame::Input`]: a line follows.
pub(crate) const INPUT_LINE: u8 = 1;

/// Answer to [`Frame::Input`]: the input has ended.
pub(crate) const INPUT_END: u8 = 2;

/// Answer to [`Frame::Input`]: the cell is being stopped.
pub(crate) const INPUT_CANCELLED: u8 = 3;
