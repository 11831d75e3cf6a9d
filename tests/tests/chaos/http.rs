//! A client of the local workspace that expects its server to be killed at any moment.

use azureml_wire::local::{self, Server, scope};
use serde_json::Value;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

/// A request without a response after this time is considered lost.
const DEADLINE: Duration = Duration::from_mins(2);

/// A complete response.
pub struct Response {
    pub status: u16,
    pub body: Vec<u8>,
}

impl Response {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }
}

/// The local workspace of a home folder, independent of the current server process.
#[derive(Clone)]
pub struct Service {
    home: PathBuf,
}

impl Service {
    pub fn new(home: PathBuf) -> Self {
        Self { home }
    }

    pub fn home(&self) -> &PathBuf {
        &self.home
    }

    /// The server that last wrote its address; it may have been killed since.
    pub fn server(&self) -> Option<Server> {
        serde_json::from_slice(&fs::read(self.home.join(local::SERVER_FILE)).ok()?).ok()
    }

    /// Sends the request until a complete response arrives: a client cannot know whether a killed
    /// server has executed it.
    ///
    /// # Panics
    /// When no response has arrived within two minutes.
    pub fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Response {
        let start = Instant::now();
        loop {
            let failure = match self.attempt(method, path, headers, body) {
                // The token belongs to a former server.
                Ok(response) if response.status == 401 => response.text(),
                Ok(response) => return response,
                Err(error) => error.to_string(),
            };
            assert!(
                start.elapsed() < DEADLINE,
                "{method} {path} has no response after two minutes: {failure}"
            );
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Sends a JSON body, or none for `null`.
    pub fn json(&self, method: &str, path: &str, body: &Value) -> Response {
        let body = if body.is_null() {
            Vec::new()
        } else {
            body.to_string().into_bytes()
        };
        self.send(method, path, &[("Content-Type", "application/json")], &body)
    }

    /// Sends a request to the workspace itself (`/jobs/x`).
    pub fn arm(&self, method: &str, path: &str, body: &Value) -> Response {
        self.json(method, &format!("{}{path}", scope()), body)
    }

    /// A run's details from run history.
    pub fn details(&self, run: &str) -> Value {
        let path = scope().run_history(run, "/details");
        self.json("GET", &path, &Value::Null).json()
    }

    fn attempt(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<Response> {
        let server = self.server().ok_or(io::ErrorKind::NotConnected)?;
        let host = server.url.trim_start_matches("http://");
        let mut stream = TcpStream::connect(host)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        let mut head = vec![
            format!("{method} {path} HTTP/1.1"),
            format!("Host: {host}"),
            "Connection: close".to_owned(),
            format!("Content-Length: {}", body.len()),
        ];
        // A signed URL is a credential by itself.
        if !path.contains("sig=") {
            head.push(format!("Authorization: Bearer {}", server.token));
        }
        head.extend(
            headers
                .iter()
                .map(|(name, value)| format!("{name}: {value}")),
        );
        let head = head.join("\r\n") + "\r\n\r\n";
        stream.write_all(head.as_bytes())?;
        // The server may respond before it has read the whole body.
        let _ = stream.write_all(body);
        read(BufReader::new(stream))
    }
}

/// Reads a response; a truncated one is an error.
fn read(mut reader: BufReader<TcpStream>) -> io::Result<Response> {
    let cut = || io::Error::from(io::ErrorKind::UnexpectedEof);
    let status = line(&mut reader)?
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .ok_or_else(cut)?;
    let (mut length, mut chunked) = (None, false);
    loop {
        let header = line(&mut reader)?;
        let Some((name, value)) = header.split_once(": ") else {
            break;
        };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().ok(),
            "transfer-encoding" => chunked = value == "chunked",
            _ => {}
        }
    }
    let mut body = Vec::new();
    if chunked {
        loop {
            let size = usize::from_str_radix(&line(&mut reader)?, 16).map_err(|_| cut())?;
            let mut chunk = vec![0; size + 2];
            reader.read_exact(&mut chunk)?;
            if size == 0 {
                break;
            }
            body.extend_from_slice(&chunk[..size]);
        }
    } else {
        body = vec![0; length.unwrap_or(0)];
        reader.read_exact(&mut body)?;
    }
    Ok(Response { status, body })
}

fn line(reader: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    if line.ends_with('\n') {
        Ok(line.trim_end().to_owned())
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}
