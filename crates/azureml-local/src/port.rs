//! The port on loopback: who may listen there, and who keeps others from it.
//!
//! Programs that know nothing but a URL and a token (MLflow's and Azure's own clients in jobs) send the token to whoever listens on the
//! port. So the port of a job stays the user's own for as long as the job runs: its guardian holds a socket that is bound there and
//! never listens, which lets nobody in but sockets of the same user (`SO_REUSEPORT`). Meanwhile connections are refused when the
//! server is away, and the next server takes the port again.

use rustix::net::sockopt::{set_socket_reuseaddr, set_socket_reuseport};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::Duration;
use tokio::net::TcpListener;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 1024;

/// How long a listener on this machine takes to accept.
const CONNECT: Duration = Duration::from_millis(500);

/// Keeps other users from a port for as long as the result lives. It may be listened on meanwhile by this user.
pub fn reserve(port: u16) -> io::Result<OwnedFd> {
    let socket = shared()?;
    // Without `SO_REUSEADDR`: with it, anybody else who sets it could bind there while nobody listens.
    bind(&socket, &address(port))?;
    Ok(socket)
}

/// Listens where the one before did, so that jobs that still run find their tracking server; else anywhere.
pub fn listen(previous: Option<u16>) -> io::Result<TcpListener> {
    let again = previous.filter(|port| !is_answered(*port)).map(listen_on);
    match again {
        Some(Ok(listener)) => Ok(listener),
        Some(Err(_)) | None => listen_on(0),
    }
}

fn listen_on(port: u16) -> io::Result<TcpListener> {
    let socket = shared()?;
    // Connections of the server before may not have been forgotten yet.
    set_socket_reuseaddr(&socket, true)?;
    bind(&socket, &address(port))?;
    rustix::net::listen(&socket, BACKLOG)?;
    let listener = std::net::TcpListener::from(socket);
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

/// A socket that shares its port with others of this user.
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

/// Whether somebody listens there: another local workspace of this user would share its connections with us.
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
        // Another local workspace that remembers the same port does not share it.
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
