//! Test servers on loopback that violate the protocol.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A server that listens until the process ends.
pub struct Server {
    /// The address.
    pub url: String,
    heard: Arc<Mutex<Vec<u8>>>,
}

impl Server {
    /// Listens on `host` and calls `answer` for each request; it may write any bytes at any speed.
    pub fn start(host: &str, answer: impl Fn(&mut TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((host, 0)).unwrap();
        let url = format!("http://{host}:{}", listener.local_addr().unwrap().port());
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (all, answer) = (Arc::clone(&heard), Arc::new(answer));
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let (heard, answer) = (Arc::clone(&all), Arc::clone(&answer));
                std::thread::spawn(move || {
                    let mut piece = vec![0; 64 << 10];
                    let read = stream.read(&mut piece).unwrap_or(0);
                    heard.lock().unwrap().extend_from_slice(&piece[..read]);
                    answer(&mut stream);
                    let _ = stream.shutdown(std::net::Shutdown::Write);
                    // Bytes after the response are recorded, too.
                    while let Ok(read @ 1..) = stream.read(&mut piece) {
                        heard.lock().unwrap().extend_from_slice(&piece[..read]);
                    }
                });
            }
        });
        Self { url, heard }
    }

    /// A server that responds to every request with a status, headers (each with its line end) and
    /// no body.
    pub fn status(host: &str, status: &str, headers: &str) -> Self {
        let head =
            format!("HTTP/1.1 {status}\r\n{headers}content-length: 0\r\nconnection: close\r\n\r\n");
        Self::start(host, move |stream| {
            let _ = stream.write_all(head.as_bytes());
        })
    }

    /// A server that redirects to `target`.
    pub fn redirect(status: u16, target: &str) -> Self {
        Self::status(
            "127.0.0.1",
            &format!("{status} Elsewhere"),
            &format!("location: {target}/stolen\r\n"),
        )
    }

    /// A server with an endless body.
    pub fn endless(status: &str) -> Self {
        let head = format!("HTTP/1.1 {status}\r\nconnection: close\r\n\r\n\"");
        Self::start("127.0.0.1", move |stream| {
            let piece = vec![b'x'; 1 << 20];
            let mut sent = stream.write_all(head.as_bytes());
            // Far more than a client should read, but limited, so that a failing test ends.
            for _ in 0..512 {
                sent = sent.and_then(|()| stream.write_all(&piece));
            }
        })
    }

    /// A server that sends its body byte by byte.
    pub fn dripping() -> Self {
        Self::start("127.0.0.1", |stream| {
            let head = "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n";
            let mut sent = stream.write_all(head.as_bytes());
            for _ in 0..1000 {
                std::thread::sleep(Duration::from_millis(20));
                sent = sent.and_then(|()| stream.write_all(b" "));
            }
        })
    }

    /// All received bytes.
    pub fn heard(&self) -> String {
        String::from_utf8_lossy(&self.heard.lock().unwrap()).into_owned()
    }
}

/// All redirect statuses.
pub const REDIRECTS: [u16; 5] = [301, 302, 303, 307, 308];

/// The targets of redirects: another address and another name of this machine.
pub const ELSEWHERE: [&str; 2] = ["127.0.0.2", "localhost"];
