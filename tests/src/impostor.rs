//! Somebody who listens where a local workspace did, and keeps what it is sent.

use rustix::net::sockopt::{set_socket_reuseaddr, set_socket_reuseport};
use rustix::net::{AddressFamily, SocketType, bind, listen, socket};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

/// Says to a test's other process that it is the impostor, and where.
const ADDRESS: &str = "AZUREML_TEST_IMPOSTOR";
/// Whether it runs as a user who is nobody's owner.
const NOBODY: u32 = 65534;

/// Who plays the local workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A process of another user, where the test may make one, which is root alone; otherwise one of the same user.
    OtherUser,
    /// One that passes everything on to the true one, wherever that is now, and its answers back.
    Relay,
}

/// The impostor. It listens until it is dropped, or the process ends.
pub struct Impostor {
    heard: Arc<Mutex<Vec<u8>>>,
    child: Option<Child>,
}

impl Impostor {
    /// Takes the address of a URL as soon as it is free; `None` when it is not to be had. `test` is a test that calls [`serve`];
    /// `truth` says where the true one is.
    ///
    /// # Panics
    /// When a process cannot be started.
    pub fn at(
        url: &str,
        kind: Kind,
        test: &str,
        truth: impl Fn() -> String + Send + Sync + 'static,
    ) -> Option<Self> {
        let heard = Arc::default();
        match kind {
            Kind::OtherUser => Self::other_user(url, test, heard),
            Kind::Relay => {
                let listener = take(url).ok()?;
                let all = Arc::clone(&heard);
                let truth = Arc::new(truth);
                std::thread::spawn(move || {
                    for stream in listener.incoming().flatten() {
                        let (heard, truth) = (Arc::clone(&all), Arc::clone(&truth));
                        std::thread::spawn(move || drop(relay(stream, &heard, &truth())));
                    }
                });
                Some(Self { heard, child: None })
            }
        }
    }

    fn other_user(url: &str, test: &str, heard: Arc<Mutex<Vec<u8>>>) -> Option<Self> {
        let this = std::env::current_exe().expect("the path of the running test is known");
        let mut command = Command::new(this);
        if rustix::process::geteuid().is_root() {
            command.uid(NOBODY).gid(NOBODY);
        } else {
            println!("not tried as another user: this test is not run by root");
        }
        let mut child = command
            .args([test, "--exact", "--nocapture", "--test-threads=1"])
            .env(ADDRESS, url)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the test starts again");
        let mut said = BufReader::new(child.stdout.take().expect("it is piped"));
        let has_taken = loop {
            let mut line = String::new();
            match said.read_line(&mut line) {
                Ok(0) | Err(_) => break false,
                Ok(_) if line.ends_with(LISTENS) => break true,
                Ok(_) => {}
            }
        };
        if !has_taken {
            let _ = child.wait();
            return None;
        }
        let all = Arc::clone(&heard);
        std::thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(read @ 1..) = said.read(&mut piece) {
                keep(&all, &piece[..read]);
            }
        });
        Some(Self {
            heard,
            child: Some(child),
        })
    }

    /// All that it was sent.
    pub fn heard(&self) -> String {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&heard).into_owned()
    }
}

impl Drop for Impostor {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// What the other process prints once it listens.
const LISTENS: &str = "the impostor listens\n";

/// In the other process: plays the local workspace and prints what it is sent, until it is killed. Does nothing elsewhere.
pub fn serve() {
    let Ok(url) = std::env::var(ADDRESS) else {
        return;
    };
    let Ok(listener) = take(&url) else {
        return;
    };
    print!("\n{LISTENS}");
    let _ = io::stdout().flush();
    for mut stream in listener.incoming().flatten() {
        std::thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(read @ 1..) = stream.read(&mut piece) {
                let _ = io::stdout().write_all(&piece[..read]);
                let _ = io::stdout().flush();
                // As good as any answer to get more.
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}");
            }
        });
    }
}

/// Listens at the address of a URL, by every means that another user has.
fn take(url: &str) -> io::Result<TcpListener> {
    let address: SocketAddr = url
        .trim_start_matches("http://")
        .trim_end_matches('/')
        .parse()
        .map_err(io::Error::other)?;
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
    set_socket_reuseaddr(&socket, true)?;
    if !rustix::process::geteuid().is_root() {
        // Of the same user it would share the port with the true one.
        set_socket_reuseport(&socket, true)?;
    }
    bind(&socket, &address)?;
    listen(&socket, 16)?;
    Ok(socket.into())
}

fn keep(all: &Mutex<Vec<u8>>, heard: &[u8]) {
    all.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .extend_from_slice(heard);
}

fn relay(stream: TcpStream, heard: &Mutex<Vec<u8>>, truth: &str) -> io::Result<()> {
    let to = TcpStream::connect(truth.trim_start_matches("http://"))?;
    let (mut from, mut back) = (stream.try_clone()?, stream);
    let mut answers = to.try_clone()?;
    std::thread::spawn(move || io::copy(&mut answers, &mut back));
    let mut to = to;
    let mut piece = [0; 4096];
    loop {
        let read = from.read(&mut piece)?;
        if read == 0 {
            return Ok(());
        }
        keep(heard, &piece[..read]);
        to.write_all(&piece[..read])?;
    }
}
