//! Listening for peers, on a port or on a file.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, fchmod};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener, UnixSocket, UnixStream};

/// The connections that wait to be accepted.
const BACKLOG: u32 = 1024;

/// Listens for peers.
#[derive(Debug)]
pub enum Listener {
    /// On a port.
    Tcp(TcpListener),
    /// On a file, which is removed in the end.
    Ipc(UnixListener, PathBuf),
}

/// The two directions of a connection.
pub(super) struct Stream {
    pub(super) read: Box<dyn AsyncRead + Send + Unpin>,
    pub(super) write: Box<dyn AsyncWrite + Send + Unpin>,
}

impl Listener {
    /// Listens on a port.
    pub async fn tcp(host: &str, port: u16) -> io::Result<Self> {
        Ok(Self::Tcp(TcpListener::bind((host, port)).await?))
    }

    /// Listens on a file that only its owner may connect to.
    pub fn ipc(path: &Path) -> io::Result<Self> {
        let socket = UnixSocket::new_stream()?;
        // The file has these permissions from its first moment on.
        fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
        socket.bind(path)?;
        Ok(Self::Ipc(socket.listen(BACKLOG)?, path.to_owned()))
    }

    /// Where it listens, when that is a port.
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(listener) => listener.local_addr().ok(),
            Self::Ipc(..) => None,
        }
    }

    pub(super) async fn accept(&self) -> io::Result<Stream> {
        match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                // Small messages must not wait for more of them.
                stream.set_nodelay(true)?;
                let (read, write) = stream.into_split();
                Ok(Stream {
                    read: Box::new(read),
                    write: Box::new(write),
                })
            }
            Self::Ipc(listener, _) => Ok(listener.accept().await?.0.into()),
        }
    }
}

impl From<UnixStream> for Stream {
    fn from(stream: UnixStream) -> Self {
        let (read, write) = stream.into_split();
        Self {
            read: Box::new(read),
            write: Box::new(write),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Self::Ipc(_, path) = self {
            // Somebody may have cleaned up before.
            let _ = std::fs::remove_file(path);
        }
    }
}
