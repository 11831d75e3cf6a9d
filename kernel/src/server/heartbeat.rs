//! The heartbeat: returns what arrives, byte for byte.

use zeromq::{RouterSocket, SocketRecv, SocketSend};

/// Echoes for ever.
pub async fn run(mut socket: RouterSocket) {
    loop {
        match socket.recv().await {
            Ok(frames) => {
                if let Err(error) = socket.send(frames).await {
                    tracing::debug!(%error, "a heartbeat was not returned");
                }
            }
            Err(error) => {
                tracing::warn!(%error, "cannot receive heartbeats");
                tokio::task::yield_now().await;
            }
        }
    }
}
