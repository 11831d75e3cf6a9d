//! The five sockets, bound as the connection file says.

use jupyter_protocol::{ConnectionInfo, connection_info::Transport};
use zeromq::{RouterSocket, Socket};

use super::listener::Listener;

/// A socket could not be bound.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot listen on {endpoint} for the {channel} channel: {source}\nhint: another process uses this port; start the kernel again, Jupyter then chooses new ports"
)]
pub struct BindError {
    channel: &'static str,
    endpoint: String,
    source: Box<dyn std::error::Error + Send + Sync>,
}

/// The five sockets of a kernel.
pub struct Sockets {
    /// Requests for the evaluator.
    pub shell: RouterSocket,
    /// Requests that must not wait behind a running cell.
    pub control: RouterSocket,
    /// The kernel's questions to the front end.
    pub stdin: RouterSocket,
    /// Echoes. A router, because it can return every frame as it came, whoever connected.
    pub heartbeat: RouterSocket,
    /// Broadcasts.
    pub iopub: Listener,
}

/// Binds the five sockets.
pub async fn bind(connection: &ConnectionInfo) -> Result<Sockets, BindError> {
    Ok(Sockets {
        shell: bind_one("shell", connection, connection.shell_port).await?,
        control: bind_one("control", connection, connection.control_port).await?,
        stdin: bind_one("stdin", connection, connection.stdin_port).await?,
        heartbeat: bind_one("heartbeat", connection, connection.hb_port).await?,
        iopub: Listener::bind(connection, connection.iopub_port)
            .await
            .map_err(|source| BindError {
                channel: "iopub",
                endpoint: endpoint(connection, connection.iopub_port),
                source: source.into(),
            })?,
    })
}

async fn bind_one<S: Socket>(
    channel: &'static str,
    connection: &ConnectionInfo,
    port: u16,
) -> Result<S, BindError> {
    let endpoint = endpoint(connection, port);
    let mut socket = S::new();
    socket.bind(&endpoint).await.map_err(|source| BindError {
        channel,
        endpoint,
        source: source.into(),
    })?;
    Ok(socket)
}

fn endpoint(connection: &ConnectionInfo, port: u16) -> String {
    let ip = &connection.ip;
    match connection.transport {
        Transport::IPC => format!("ipc://{ip}-{port}"),
        Transport::TCP if ip.contains(':') && !ip.starts_with('[') => {
            format!("tcp://[{ip}]:{port}")
        }
        Transport::TCP => format!("tcp://{ip}:{port}"),
    }
}
