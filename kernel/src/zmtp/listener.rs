//! Listeners on TCP ports and Unix sockets.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, fchmod};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener, UnixSocket, UnixStream};

/// Maximum number of connections waiting to be accepted.
const BACKLOG: u32 = 1024;

/// A listening socket.
#[derive(Debug)]
pub enum Listener {
    /// On a TCP port.
    Tcp(TcpListener),
    /// On a Unix socket, whose file is removed on drop.
    Ipc(UnixListener, PathBuf),
}

/// The two halves of a connection.
pub(super) struct Stream {
    pub(super) read: Box<dyn AsyncRead + Send + Unpin>,
    pub(super) write: Box<dyn AsyncWrite + Send + Unpin>,
}

impl Listener {
    /// Listens on a TCP port.
    pub async fn tcp(host: &str, port: u16) -> io::Result<Self> {
        Ok(Self::Tcp(TcpListener::bind((host, port)).await?))
    }

    /// Listens on a Unix socket that only its owner can connect to.
    pub fn ipc(path: &Path) -> io::Result<Self> {
        let socket = UnixSocket::new_stream()?;
        // Set before `bind`, so that the file is created with these permissions.
        fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
        socket.bind(path)?;
        Ok(Self::Ipc(socket.listen(BACKLOG)?, path.to_owned()))
    }

    /// Returns the address of a TCP listener.
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
                // Disables Nagle's algorithm, so that small messages are sent at once.
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
            // The file may have been removed already.
            let _ = std::fs::remove_file(path);
        }
    }
}
