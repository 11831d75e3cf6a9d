//! The five sockets, bound to the addresses of the connection file.

use std::io;
use std::path::Path;

use jupyter_protocol::{ConnectionInfo, connection_info::Transport};

use crate::zmtp::listener::Listener;

/// A socket could not be bound.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot listen on {endpoint} for the {channel} channel: {source}\nhint: another process uses this port; start the kernel again, Jupyter then chooses new ports"
)]
pub struct BindError {
    channel: &'static str,
    endpoint: String,
    source: io::Error,
}

/// The five sockets of a kernel.
pub struct Sockets {
    /// Requests for the evaluator.
    pub shell: Listener,
    /// Requests that must not wait for the running cell.
    pub control: Listener,
    /// The kernel's input requests to the front end.
    pub stdin: Listener,
    /// The heartbeat, which echoes all messages.
    pub heartbeat: Listener,
    /// Broadcasts to all front ends.
    pub iopub: Listener,
}

/// Binds the five sockets.
pub async fn bind(connection: &ConnectionInfo) -> Result<Sockets, BindError> {
    Ok(Sockets {
        shell: bind_one("shell", connection, connection.shell_port).await?,
        control: bind_one("control", connection, connection.control_port).await?,
        stdin: bind_one("stdin", connection, connection.stdin_port).await?,
        heartbeat: bind_one("heartbeat", connection, connection.hb_port).await?,
        iopub: bind_one("iopub", connection, connection.iopub_port).await?,
    })
}

async fn bind_one(
    channel: &'static str,
    connection: &ConnectionInfo,
    port: u16,
) -> Result<Listener, BindError> {
    let host = connection.ip.trim_matches(['[', ']']);
    let bound = match connection.transport {
        Transport::TCP => Listener::tcp(host, port).await,
        Transport::IPC => Listener::ipc(Path::new(&format!("{}-{port}", connection.ip))),
    };
    bound.map_err(|source| BindError {
        channel,
        endpoint: endpoint(connection, port),
        source,
    })
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
