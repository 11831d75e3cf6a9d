//! A peer that writes ZMTP byte by byte, valid or invalid as a test requires.

use std::io;
use std::time::Duration;

use jupyter_protocol::connection_info::{ConnectionInfo, Transport};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

/// A connection on any transport.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// One of the five sockets of a kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    Shell,
    Control,
    Stdin,
    Heartbeat,
    Iopub,
}

pub const CHANNELS: [Channel; 5] = [
    Channel::Shell,
    Channel::Control,
    Channel::Stdin,
    Channel::Heartbeat,
    Channel::Iopub,
];

impl Channel {
    fn port(self, connection: &ConnectionInfo) -> u16 {
        match self {
            Self::Shell => connection.shell_port,
            Self::Control => connection.control_port,
            Self::Stdin => connection.stdin_port,
            Self::Heartbeat => connection.hb_port,
            Self::Iopub => connection.iopub_port,
        }
    }

    /// Returns the READY command of a compatible socket.
    pub fn ready(self, identity: &[u8]) -> Vec<u8> {
        let socket: &[u8] = match self {
            Self::Iopub => b"SUB",
            _ => b"DEALER",
        };
        let mut body = b"\x05READY".to_vec();
        for (name, value) in [(&b"Socket-Type"[..], socket), (b"Identity", identity)] {
            body.push(name.len() as u8);
            body.extend_from_slice(name);
            body.extend_from_slice(&(value.len() as u32).to_be_bytes());
            body.extend_from_slice(value);
        }
        frame(4, &body)
    }

    pub async fn connect(self, connection: &ConnectionInfo) -> io::Result<Box<dyn Stream>> {
        let port = self.port(connection);
        if connection.transport == Transport::TCP {
            let stream = TcpStream::connect((connection.ip.as_str(), port)).await?;
            return Ok(Box::new(stream));
        }
        let path = format!("{}-{port}", connection.ip);
        loop {
            match UnixStream::connect(&path).await {
                Ok(stream) => return Ok(Box::new(stream)),
                // The backlog of connections is full.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    tokio::task::yield_now().await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Connects and completes the handshake.
    pub async fn greeted(self, connection: &ConnectionInfo) -> io::Result<Box<dyn Stream>> {
        self.greeted_as(connection, b"").await
    }

    pub async fn greeted_as(
        self,
        connection: &ConnectionInfo,
        identity: &[u8],
    ) -> io::Result<Box<dyn Stream>> {
        let mut stream = self.connect(connection).await?;
        stream.write_all(&greeting()).await?;
        stream.write_all(&self.ready(identity)).await?;
        let mut theirs = [0; 64];
        stream.read_exact(&mut theirs).await?;
        assert_eq!(theirs[0], 0xff);
        assert_eq!(stream.read_u8().await?, 4, "a command");
        let length = stream.read_u8().await?;
        let mut ready = vec![0; length.into()];
        stream.read_exact(&mut ready).await?;
        assert!(ready.starts_with(b"\x05READY"));
        Ok(stream)
    }
}

pub fn greeting() -> [u8; 64] {
    let mut greeting = [0; 64];
    greeting[0] = 0xff;
    greeting[9] = 0x7f;
    greeting[10] = 3;
    greeting[12..16].copy_from_slice(b"NULL");
    greeting
}

/// Encodes a frame with these flags: 1 means that more frames follow, 4 a command.
pub fn frame(flags: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = match u8::try_from(body.len()) {
        Ok(length) => vec![flags, length],
        Err(_) => header(flags | 2, body.len() as u64),
    };
    bytes.extend_from_slice(body);
    bytes
}

/// Encodes the header of a long frame with any announced length.
pub fn header(flags: u8, length: u64) -> Vec<u8> {
    let mut bytes = vec![flags];
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes
}

/// Encodes the frames of a message.
pub fn message<B: AsRef<[u8]>>(frames: &[B]) -> Vec<u8> {
    let last = frames.len() - 1;
    frames
        .iter()
        .enumerate()
        .flat_map(|(index, body)| frame(u8::from(index < last), body.as_ref()))
        .collect()
}

/// Reads until the kernel closes the connection; fails the test if it does not.
pub async fn until_closed(stream: &mut (impl AsyncRead + Unpin)) {
    let mut bytes = vec![0; 64 << 10];
    let closed = async { while matches!(stream.read(&mut bytes).await, Ok(1..)) {} };
    tokio::time::timeout(Duration::from_mins(1), closed)
        .await
        .expect("the kernel closes the connection");
}

/// Writes the same bytes until the kernel closes the connection or `most` bytes are written.
pub async fn write_until_closed(stream: &mut dyn Stream, bytes: &[u8], most: usize) -> bool {
    let mut written = 0;
    while written < most {
        if stream.write_all(bytes).await.is_err() {
            return true;
        }
        written += bytes.len();
    }
    false
}
