//! A listener that gives each front end that connects a socket of its own.
//!
//! A `ZeroMQ` socket of the library sends to one subscriber after the other: one that reads nothing would keep all others waiting.
//! So each connection is handed to a publisher that has nobody else, through a pair of streams inside of this process.

use std::io;
use std::path::Path;

use jupyter_protocol::{ConnectionInfo, connection_info::Transport};
use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::task::JoinHandle;
use zeromq::{Socket, XPubSocket, ZmqError};

/// Listens for front ends.
pub enum Listener {
    /// On a port.
    Tcp(TcpListener),
    /// On a file.
    Ipc(UnixListener),
}

/// A front end's own publisher.
pub struct Subscriber {
    /// The publisher.
    pub socket: XPubSocket,
    /// Carries its bytes; ends when the front end has gone.
    pub bridge: Bridge,
}

/// The task that carries the bytes of a connection; dropping it cuts the connection.
pub struct Bridge(JoinHandle<()>);

impl Bridge {
    /// Waits until the front end has gone.
    pub async fn ended(&mut self) {
        // However it ended.
        let _ = (&mut self.0).await;
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Listener {
    /// Listens on a port of a connection.
    pub async fn bind(connection: &ConnectionInfo, port: u16) -> io::Result<Self> {
        let ip = connection.ip.trim_matches(['[', ']']);
        match connection.transport {
            Transport::TCP => Ok(Self::Tcp(TcpListener::bind((ip, port)).await?)),
            Transport::IPC => Ok(Self::Ipc(UnixListener::bind(format!("{ip}-{port}"))?)),
        }
    }

    /// Waits for the next front end.
    pub async fn accept(&self) -> io::Result<Subscriber> {
        match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                // Small messages must not wait for more of them.
                stream.set_nodelay(true)?;
                subscriber(stream).await
            }
            Self::Ipc(listener) => subscriber(listener.accept().await?.0).await,
        }
    }
}

async fn subscriber(
    mut outside: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
) -> io::Result<Subscriber> {
    // Readable by nobody else, and gone as soon as both ends have met.
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("s");
    let (socket, mut inside) = connected(&path).await.map_err(io::Error::other)?;
    let bridge = Bridge(tokio::spawn(async move {
        if let Err(error) = copy_bidirectional(&mut outside, &mut inside).await {
            tracing::debug!(%error, "an iopub subscriber left");
        }
    }));
    Ok(Subscriber { socket, bridge })
}

async fn connected(path: &Path) -> Result<(XPubSocket, UnixStream), ZmqError> {
    let mut socket = XPubSocket::new();
    socket.bind(&format!("ipc://{}", path.display())).await?;
    let inside = UnixStream::connect(path).await?;
    Ok((socket, inside))
}
