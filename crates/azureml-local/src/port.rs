//! The TCP port on loopback, and its protection from other users.
//!
//! Clients that have only a URL and a token, such as those of MLflow and Azure in jobs, send the
//! token to any listener on the port. The port must therefore belong to the user for as long as a
//! job runs. The job's guardian holds a socket that is bound to the port and never listens. It lets
//! only sockets of the same user bind to the port (`SO_REUSEPORT`). While the server is down,
//! connections are refused. The next server listens on the same port again.

use rustix::net::sockopt::{set_socket_reuseaddr, set_socket_reuseport};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::Duration;
use tokio::net::TcpListener;

/// The maximum number of connections that wait to be accepted.
const BACKLOG: i32 = 1024;

/// The timeout for a connection to a local listener.
const CONNECT: Duration = Duration::from_millis(500);

/// Reserves a port for this user until the result is dropped. This user can still listen on it.
pub fn reserve(port: u16) -> io::Result<OwnedFd> {
    let socket = shared()?;
    // `SO_REUSEADDR` is not set: with it, another user's socket that sets it could bind while no
    // server listens.
    bind(&socket, &address(port))?;
    Ok(socket)
}

/// Listens on the port of the previous server, so that running jobs reach their tracking server; on
/// any free port if that fails.
pub fn listen(previous: Option<u16>) -> io::Result<TcpListener> {
    let again = previous.filter(|port| !is_answered(*port)).map(listen_on);
    match again {
        Some(Ok(listener)) => Ok(listener),
        Some(Err(_)) | None => listen_on(0),
    }
}

fn listen_on(port: u16) -> io::Result<TcpListener> {
    let socket = shared()?;
    // Connections of the previous server may still be in TIME_WAIT.
    set_socket_reuseaddr(&socket, true)?;
    bind(&socket, &address(port))?;
    rustix::net::listen(&socket, BACKLOG)?;
    let listener = std::net::TcpListener::from(socket);
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

/// A socket that shares its port with other sockets of this user.
fn shared() -> io::Result<OwnedFd> {
    let socket = socket_with(
        AddressFamily::INET,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    set_socket_reuseport(&socket, true)?;
    Ok(socket)
}

/// Whether a server listens on the port. Another local workspace of this user would share its
/// connections with this one.
fn is_answered(port: u16) -> bool {
    TcpStream::connect_timeout(&address(port), CONNECT).is_ok()
}

fn address(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_reserved_port_is_kept_for_the_next_server_of_this_user() {
        let first = listen(None).unwrap();
        let port = first.local_addr().unwrap().port();
        let reserved = reserve(port).unwrap();
        // Another local workspace with the same stored port does not share it.
        let other = listen(Some(port)).unwrap();
        assert_ne!(other.local_addr().unwrap().port(), port);
        drop(first);
        assert!(!is_answered(port));
        let error = std::net::TcpListener::bind(address(port)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        let next = listen(Some(port)).unwrap();
        assert_eq!(next.local_addr().unwrap().port(), port);
        drop((next, reserved));
        assert!(std::net::TcpListener::bind(address(port)).is_ok());
    }
}
