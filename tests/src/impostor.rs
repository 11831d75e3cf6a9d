//! An impostor: a process that listens at the address of a former local workspace and records the
//! requests it receives.

use rustix::net::sockopt::{set_socket_reuseaddr, set_socket_reuseport};
use rustix::net::{AddressFamily, SocketType, bind, listen, socket};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

/// Variable that makes a test's second process the impostor; its value is the address to take.
const ADDRESS: &str = "AZUREML_TEST_IMPOSTOR";
/// The user id `nobody`, which owns no process or file of the test.
const NOBODY: u32 = 65534;

/// The kind of impostor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A process of another user. Only root can start one; without root, a process of the same
    /// user.
    OtherUser,
    /// A relay that forwards every request to the true workspace, at its current address, and the
    /// responses back.
    Relay,
}

/// The impostor. It listens until it is dropped or the process ends.
pub struct Impostor {
    heard: Arc<Mutex<Vec<u8>>>,
    child: Option<Child>,
}

impl Impostor {
    /// Takes the address of a URL as soon as it is free; `None` when the bind fails. `test` is a
    /// test that calls [`serve`]; `truth` returns the address of the true workspace.
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

    /// All bytes that it has received.
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

/// The line that the other process prints when it listens.
const LISTENS: &str = "the impostor listens\n";

/// In the other process: plays the local workspace and prints the bytes that it receives, until it
/// is killed. Does nothing in other processes.
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
                // Any successful response makes the client send more.
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}");
            }
        });
    }
}

/// Listens at the address of a URL, with every socket option that another user can set.
fn take(url: &str) -> io::Result<TcpListener> {
    let address: SocketAddr = url
        .trim_start_matches("http://")
        .trim_end_matches('/')
        .parse()
        .map_err(io::Error::other)?;
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
    set_socket_reuseaddr(&socket, true)?;
    if !rustix::process::geteuid().is_root() {
        // As the same user, it could share the port with the true workspace.
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
