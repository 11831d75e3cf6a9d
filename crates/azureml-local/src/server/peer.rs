//! The user at the other end of a loopback connection.
//!
//! Browsers send a cookie to every port of a host, so a server of another user on this machine may
//! receive a cookie of the pages. The kernel records the owner of each socket. A cookie is
//! therefore accepted only from this user's sockets, and from root's, whose programs forward ports.

use axum::extract::connect_info::Connected;
use axum::serve::IncomingStream;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::{Arc, OnceLock};
use tokio::net::TcpListener;

/// The other end of a connection, shared by all requests on it.
#[derive(Debug, Clone)]
pub struct Peer {
    address: SocketAddr,
    /// Cached, because the connection tables may be long.
    foreign: Arc<OnceLock<bool>>,
}

impl Connected<IncomingStream<'_, TcpListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, TcpListener>) -> Self {
        Self {
            address: *stream.remote_addr(),
            foreign: Arc::default(),
        }
    }
}

impl Peer {
    /// Whether the connection to this server at `port` is known to come from another user.
    pub fn is_foreign(&self, port: u16) -> bool {
        *self.foreign.get_or_init(|| is_foreign(self.address, port))
    }
}

/// Whether a connection is known to come from another user; false if `/proc` does not list it.
fn is_foreign(peer: SocketAddr, port: u16) -> bool {
    let SocketAddr::V4(peer) = peer else {
        return false;
    };
    let own = rustix::process::geteuid().as_raw();
    let server = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
    // A program may connect to an IPv4 address through an IPv6 socket.
    ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| File::open(table).ok())
        .find_map(|table| owner(BufReader::new(table), peer, server))
        .is_some_and(|owner| match owner {
            Owner::User(user) => user != own && user != 0,
            Owner::Nobody => true,
        })
}

#[derive(Debug, PartialEq, Eq)]
enum Owner {
    User(u32),
    /// The program has closed the socket and will read no response.
    Nobody,
}

/// The owner of the socket at `local` that is connected to `remote`, in a connection table of the
/// kernel.
fn owner(table: impl BufRead, local: SocketAddrV4, remote: SocketAddrV4) -> Option<Owner> {
    let (local, remote) = (address(local), address(remote));
    table
        .lines()
        .skip(1)
        .map_while(Result::ok)
        .find_map(|line| {
            let mut fields = line.split_ascii_whitespace().skip(1);
            let is_it = fields.next()?.ends_with(&local) && fields.next()?.ends_with(&remote);
            if !is_it {
                return None;
            }
            // Skips state, queues, timer and retransmissions.
            let mut rest = fields.skip(4);
            let user = rest.next()?.parse().ok()?;
            let inode: u64 = rest.nth(1)?.parse().ok()?;
            Some(if inode == 0 {
                Owner::Nobody
            } else {
                Owner::User(user)
            })
        })
}

/// An address in the kernel's format: the bytes as one native-endian number, in hexadecimal.
fn address(of: SocketAddrV4) -> String {
    let ip = u32::from_ne_bytes(of.ip().octets());
    format!("{ip:08X}:{:04X}", of.port())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn the_owner_of_a_socket_is_read_from_both_tables() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000 0 11 1 0\n\
            1: 0100007F:9C40 0100007F:1F90 01 00000000:00000000 00:00000000 00000000 65534 0 12 1 0\n\
            2: 0100007F:9C41 0100007F:1F90 06 00000000:00000000 03:00001000 00000000     0 0 0 3 0\n";
        let at = |port| SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
        assert_eq!(
            owner(table.as_bytes(), at(40_000), at(8080)),
            Some(Owner::User(65534))
        );
        assert_eq!(
            owner(table.as_bytes(), at(40_001), at(8080)),
            Some(Owner::Nobody)
        );
        assert_eq!(owner(table.as_bytes(), at(40_002), at(8080)), None);
        let mapped = table.replace("0100007F", "0000000000000000FFFF00000100007F");
        assert_eq!(
            owner(mapped.as_bytes(), at(40_000), at(8080)),
            Some(Owner::User(65534))
        );
    }

    #[test]
    fn a_connection_of_this_user_is_not_foreign() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(!is_foreign(client.local_addr().unwrap(), port));
    }
}
