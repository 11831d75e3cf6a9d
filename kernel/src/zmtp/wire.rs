//! Reading and writing of greetings, commands and frames.

use std::io;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::time::timeout;

use super::broken::Broken;
use super::budget::Account;
use super::limits::Limits;
use super::listener::Stream;

/// The frames of a message.
pub type Frames = Vec<Bytes>;

/// Size of a greeting, in bytes.
const GREETING: usize = 64;

/// Position of the mechanism in a greeting.
const MECHANISM: std::ops::Range<usize> = 12..32;

/// Maximum length of a command, in bytes; the longest accepted command is a subscription.
const LARGEST_COMMAND: usize = 4 << 10;

/// Maximum length of an identity, in bytes.
const LARGEST_IDENTITY: usize = 255;

/// Overhead counted for each frame, in bytes.
const FRAME_OVERHEAD: usize = 64;

/// Number of bytes allocated for a frame at first; after that, the buffer doubles as bytes arrive.
const FIRST_BYTES: usize = 16 << 10;

/// Shorter frames are combined in one write.
const SMALL_FRAME: usize = 16 << 10;

const MORE: u8 = 1;
const LONG: u8 = 2;
const COMMAND: u8 = 4;

/// The type of this kernel's socket, which determines the compatible peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SocketType {
    Router,
    XPub,
}

impl SocketType {
    fn name(self) -> &'static str {
        match self {
            Self::Router => "ROUTER",
            Self::XPub => "XPUB",
        }
    }

    fn fits(self, peer: &[u8]) -> bool {
        match self {
            Self::Router => matches!(peer, b"DEALER" | b"REQ" | b"ROUTER"),
            Self::XPub => matches!(peer, b"SUB" | b"XSUB"),
        }
    }
}

/// The reading half of a connection after its handshake.
pub(super) struct Reader<R = BufReader<Box<dyn AsyncRead + Send + Unpin>>> {
    stream: R,
    pub(super) account: Account,
}

/// The writing half.
pub(super) struct Writer {
    stream: Box<dyn AsyncWrite + Send + Unpin>,
    limits: std::sync::Arc<Limits>,
}

/// A received message or command.
#[derive(Debug)]
pub(super) enum Incoming {
    Message(Frames),
    /// The body of a command.
    Command(Bytes),
}

/// Exchanges greetings and READY with a peer; returns the identity that the peer chose, which may
/// be empty.
pub(super) async fn handshake(
    stream: Stream,
    socket: SocketType,
    account: Account,
) -> Result<(Reader, Writer, Bytes), Broken> {
    let limits = account.limits.clone();
    let greeted = async {
        let Stream { mut read, write } = stream;
        let mut writer = Writer {
            stream: write,
            limits: limits.clone(),
        };
        writer.stream.write_all(&greeting()).await?;
        let mut theirs = [0; GREETING];
        read.read_exact(&mut theirs).await?;
        check_greeting(&theirs)?;
        writer.write_command(&ready(socket)).await?;
        let mut reader = Reader {
            stream: BufReader::new(read),
            account,
        };
        let Incoming::Command(command) = reader.next().await? else {
            return Err(Broken::Protocol("no handshake"));
        };
        reader.account.settle();
        match read_ready(&command, socket) {
            Ok(identity) => Ok((reader, writer, identity)),
            Err(broken) => {
                // Reports the reason to the peer. The connection is closed even if the write fails.
                let reason = b"\x05ERROR\x13Invalid socket type";
                let _ = writer.write_command(reason).await;
                Err(broken)
            }
        }
    };
    timeout(limits.handshake, greeted)
        .await
        .unwrap_or(Err(Broken::Slow("greet the kernel")))
}

fn greeting() -> [u8; GREETING] {
    let mut greeting = [0; GREETING];
    greeting[0] = 0xff;
    greeting[9] = 0x7f;
    greeting[10] = 3;
    greeting[MECHANISM][..4].copy_from_slice(b"NULL");
    greeting
}

fn check_greeting(theirs: &[u8; GREETING]) -> Result<(), Broken> {
    if theirs[0] != 0xff || theirs[9] != 0x7f {
        return Err(Broken::Protocol("the signature is missing"));
    }
    if theirs[10] < 3 {
        return Err(Broken::Protocol("an older version"));
    }
    if theirs[MECHANISM] != greeting()[MECHANISM] {
        return Err(Broken::Protocol("another mechanism"));
    }
    Ok(())
}

fn ready(socket: SocketType) -> Vec<u8> {
    let name = socket.name().as_bytes();
    let mut command = b"\x05READY\x0bSocket-Type\0\0\0".to_vec();
    command.push(name.len() as u8);
    command.extend_from_slice(name);
    command
}

/// Checks a peer's READY command; returns its identity.
fn read_ready(command: &Bytes, socket: SocketType) -> Result<Bytes, Broken> {
    const CUT_OFF: Broken = Broken::Protocol("the handshake is cut off");
    let Some(mut rest) = command.strip_prefix(b"\x05READY") else {
        return Err(Broken::Protocol("no READY"));
    };
    let (mut fits, mut identity) = (false, Bytes::new());
    while let Some((&length, after)) = rest.split_first() {
        let (name, after) = after.split_at_checked(length.into()).ok_or(CUT_OFF)?;
        let (length, after) = after.split_first_chunk::<4>().ok_or(CUT_OFF)?;
        let length = u32::from_be_bytes(*length) as usize;
        let (value, after) = after.split_at_checked(length).ok_or(CUT_OFF)?;
        rest = after;
        if name.eq_ignore_ascii_case(b"Socket-Type") {
            fits = socket.fits(value);
            if !fits {
                let name = String::from_utf8_lossy(&value[..value.len().min(16)]);
                return Err(Broken::SocketType(name.into_owned()));
            }
        } else if name.eq_ignore_ascii_case(b"Identity") {
            // Identities that begin with 0 are reserved for generated ones.
            if value.len() > LARGEST_IDENTITY || value.first() == Some(&0) {
                return Err(Broken::Protocol("an identity that may not be"));
            }
            identity = command.slice_ref(value);
        }
    }
    if fits {
        Ok(identity)
    } else {
        Err(Broken::Protocol("no socket type"))
    }
}

/// The header of a frame.
struct Header {
    flags: u8,
    length: usize,
}

impl Header {
    fn is_command(&self) -> bool {
        self.flags & COMMAND != 0
    }

    fn has_more(&self) -> bool {
        self.flags & MORE != 0
    }
}

impl<R: AsyncRead + Unpin> Reader<R> {
    /// Reads the next message or command. When an unverified message exceeds the budget, `verified`
    /// decides whether the frames received so far prove that the peer knows the key.
    pub(super) async fn next_verified(
        &mut self,
        verified: &(dyn Fn(&[Bytes]) -> bool + Sync),
    ) -> Result<Incoming, Broken> {
        // No timeout: a peer may be idle between messages.
        let flags = self.stream.read_u8().await?;
        if self.account.verified() {
            return self.rest(flags, verified).await;
        }
        let limit = self.account.limits.message;
        timeout(limit, self.rest(flags, verified))
            .await
            .unwrap_or(Err(Broken::Slow("send a message")))
    }

    /// Reads the next message or command of a peer that cannot be verified.
    pub(super) async fn next(&mut self) -> Result<Incoming, Broken> {
        self.next_verified(&|_| false).await
    }

    async fn rest(
        &mut self,
        flags: u8,
        verified: &(dyn Fn(&[Bytes]) -> bool + Sync),
    ) -> Result<Incoming, Broken> {
        self.account.settle();
        let mut header = self.header(flags).await?;
        if header.is_command() {
            if header.has_more() {
                return Err(Broken::Protocol("a command in pieces"));
            }
            if header.length > LARGEST_COMMAND {
                return Err(Broken::TooLarge(LARGEST_COMMAND));
            }
            return Ok(Incoming::Command(
                self.body(header.length, &[], verified).await?,
            ));
        }
        let mut frames = Frames::new();
        loop {
            if frames.len() == self.account.limits.frames {
                return Err(Broken::TooManyFrames(frames.len()));
            }
            let body = self.body(header.length, &frames, verified).await?;
            frames.push(body);
            if !header.has_more() {
                return Ok(Incoming::Message(frames));
            }
            let flags = self.stream.read_u8().await?;
            header = self.header(flags).await?;
            if header.is_command() {
                return Err(Broken::Protocol("a command within a message"));
            }
        }
    }

    async fn header(&mut self, flags: u8) -> Result<Header, Broken> {
        if flags & !(MORE | LONG | COMMAND) != 0 {
            return Err(Broken::Protocol("unknown flags"));
        }
        let length = if flags & LONG == 0 {
            u64::from(self.stream.read_u8().await?)
        } else {
            self.stream.read_u64().await?
        };
        let most = self.account.limits.message_size;
        let length = usize::try_from(length).map_err(|_| Broken::TooLarge(most))?;
        if length > most {
            return Err(Broken::TooLarge(most));
        }
        Ok(Header { flags, length })
    }

    /// Reads the bytes of a frame. The buffer grows with the bytes that arrive, regardless of the
    /// announced size.
    async fn body(
        &mut self,
        length: usize,
        before: &[Bytes],
        verified: &(dyn Fn(&[Bytes]) -> bool + Sync),
    ) -> Result<Bytes, Broken> {
        self.charge(FRAME_OVERHEAD, before, verified)?;
        let mut body = Vec::new();
        while body.len() < length {
            let more = (length - body.len()).min(body.len().max(FIRST_BYTES));
            self.charge(more, before, verified)?;
            body.try_reserve_exact(more).map_err(|_| Broken::NoRoom)?;
            let wanted = body.len() + more;
            while body.len() < wanted {
                let mut part = (&mut self.stream).take((wanted - body.len()) as u64);
                if part.read_buf(&mut body).await? == 0 {
                    return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
                }
            }
        }
        Ok(body.into())
    }

    fn charge(
        &mut self,
        bytes: usize,
        before: &[Bytes],
        verified: &(dyn Fn(&[Bytes]) -> bool + Sync),
    ) -> Result<(), Broken> {
        match self.account.charge(bytes) {
            Err(_) if !self.account.verified() && verified(before) => {
                self.account.verify();
                self.account.charge(bytes)
            }
            charged => charged,
        }
    }
}

impl Writer {
    /// Writes a message; fails when the peer does not read it within the timeout.
    pub(super) async fn write(&mut self, frames: &[Bytes]) -> Result<(), Broken> {
        let limit = self.limits.send;
        let mut together = Vec::new();
        let written = async {
            for (index, frame) in frames.iter().enumerate() {
                let more = if index + 1 < frames.len() { MORE } else { 0 };
                put_header(&mut together, more, frame.len());
                if frame.len() < SMALL_FRAME {
                    together.extend_from_slice(frame);
                } else {
                    self.stream.write_all(&together).await?;
                    self.stream.write_all(frame).await?;
                    together.clear();
                }
            }
            self.stream.write_all(&together).await
        };
        match timeout(limit, written).await {
            Ok(written) => Ok(written?),
            Err(_) => Err(Broken::Slow("read what it is sent")),
        }
    }

    /// Writes a command.
    pub(super) async fn write_command(&mut self, body: &[u8]) -> Result<(), Broken> {
        let mut frame = Vec::new();
        put_header(&mut frame, COMMAND, body.len());
        frame.extend_from_slice(body);
        match timeout(self.limits.send, self.stream.write_all(&frame)).await {
            Ok(written) => Ok(written?),
            Err(_) => Err(Broken::Slow("read what it is sent")),
        }
    }
}

fn put_header(to: &mut Vec<u8>, flags: u8, length: usize) {
    if let Ok(length) = u8::try_from(length) {
        to.extend_from_slice(&[flags, length]);
    } else {
        to.push(flags | LONG);
        to.extend_from_slice(&(length as u64).to_be_bytes());
    }
}

/// Returns the PONG command for a PING, with its context; `None` for other commands.
pub(super) fn pong(command: &[u8]) -> Option<Vec<u8>> {
    // The first two bytes are the peer's timeout.
    let context = command.strip_prefix(b"\x04PING")?.get(2..)?;
    // The protocol limits the context to 16 bytes.
    (context.len() <= 16).then(|| [b"\x04PONG", context].concat())
}

#[cfg(test)]
mod tests;
