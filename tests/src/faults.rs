//! A proxy in front of a local workspace that injects the faults of networks and busy services.

use azureml_wire::local;
use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A fault that the proxy injects into a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Responds with this status, and with `Retry-After` if given. The workspace does not receive
    /// the request.
    Status(u16, Option<&'static str>),
    /// Resets the connection before any response. The workspace does not receive the request.
    Reset,
    /// The workspace executes the request; the connection is reset in the middle of the response.
    Cut,
    /// The workspace executes the request; its response is lost.
    Lost,
    /// The response arrives in small pieces.
    Slow,
    /// The token has expired: from now on, only newer tokens are accepted.
    Expired,
    /// Eventual consistency: a recently created resource is not found yet.
    Unknown,
}

impl Fault {
    /// Every kind of fault.
    pub const ALL: [Self; 10] = [
        Self::Status(429, Some("0")),
        Self::Status(503, Some("0")),
        Self::Status(408, None),
        Self::Status(500, None),
        Self::Status(502, None),
        Self::Reset,
        Self::Cut,
        Self::Lost,
        Self::Slow,
        Self::Unknown,
    ];
}

/// The rule that selects the calls with a fault.
#[derive(Debug, Clone, Copy)]
pub enum Plan {
    /// Every call, on its first attempt.
    First(Fault),
    /// One in three attempts, at most three per call, drawn with this seed.
    Seeded(u64),
}

/// The proxy. It listens until the process ends.
pub struct Proxy {
    /// The address of the proxy.
    pub url: String,
    state: Arc<State>,
}

struct State {
    url: String,
    upstream: local::Server,
    plan: Plan,
    /// The number of attempts of each call.
    calls: Mutex<HashMap<String, u32>>,
    /// Names of created resources, for [`Fault::Unknown`].
    made: Mutex<Vec<String>>,
    /// The oldest valid token. Tokens are numbers.
    oldest: AtomicU32,
    faults: AtomicU32,
}

impl Proxy {
    /// Listens in front of the local workspace `upstream`.
    ///
    /// # Panics
    /// When this machine has no free port.
    pub fn start(upstream: local::Server, plan: Plan) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
        let address = listener.local_addr().expect("it is bound");
        let url = format!("http://{address}");
        let state = Arc::new(State {
            url: url.clone(),
            upstream,
            plan,
            calls: Mutex::default(),
            made: Mutex::default(),
            oldest: AtomicU32::new(0),
            faults: AtomicU32::new(0),
        });
        let serving = state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = serving.clone();
                // A client that closes the connection is not an error.
                std::thread::spawn(move || drop(state.serve(stream)));
            }
        });
        Self { url, state }
    }

    /// The number of attempts with a fault.
    pub fn faults(&self) -> u32 {
        self.state.faults.load(Ordering::Relaxed)
    }
}

struct Request {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    fn read(stream: &TcpStream) -> io::Result<Option<Self>> {
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let mut parts = line.split(' ').map(str::to_owned);
        let (Some(method), Some(target)) = (parts.next(), parts.next()) else {
            return Ok(None);
        };
        let headers = headers(&mut reader)?;
        let length = header(&headers, "content-length").and_then(|length| length.parse().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        reader.read_exact(&mut body)?;
        Ok(Some(Self {
            method,
            target,
            headers,
            body,
        }))
    }

    /// The request's token as a number; `None` for a URL that carries its own signature.
    fn token(&self) -> Option<u32> {
        header(&self.headers, "authorization")?
            .strip_prefix("Bearer ")?
            .parse()
            .ok()
    }

    fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }
}

fn headers(reader: &mut impl BufRead) -> io::Result<Vec<(String, String)>> {
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        match line.trim_end().split_once(':') {
            Some((name, value)) => {
                headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
            }
            None => return Ok(headers),
        }
    }
}

fn header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers
        .iter()
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.as_str())
}

impl State {
    fn serve(&self, stream: TcpStream) -> io::Result<()> {
        let Some(request) = Request::read(&stream)? else {
            return Ok(());
        };
        if let Some(token) = request.token()
            && token < self.oldest.load(Ordering::Relaxed)
        {
            return refuse(stream, 401, None);
        }
        let fault = self.fault(&request);
        if let Some(fault) = fault {
            self.faults.fetch_add(1, Ordering::Relaxed);
            match fault {
                Fault::Status(status, after) => return refuse(stream, status, after),
                Fault::Unknown => return refuse(stream, 404, None),
                Fault::Reset => return reset(&stream),
                Fault::Expired => {
                    let token = request.token().unwrap_or_default();
                    self.oldest.store(token + 1, Ordering::Relaxed);
                    return refuse(stream, 401, None);
                }
                Fault::Cut | Fault::Lost | Fault::Slow => {}
            }
        }
        let (head, body) = self.ask(&request)?;
        match fault {
            Some(Fault::Lost) => reset(&stream),
            Some(Fault::Cut) => {
                (&stream).write_all(head.as_bytes())?;
                (&stream).write_all(&body[..body.len() / 2])?;
                reset(&stream)
            }
            Some(Fault::Slow) => {
                (&stream).write_all(head.as_bytes())?;
                for piece in body.chunks(body.len().div_ceil(8).max(1)) {
                    (&stream).write_all(piece)?;
                    std::thread::sleep(Duration::from_millis(10));
                }
                Ok(())
            }
            _ => {
                (&stream).write_all(head.as_bytes())?;
                (&stream).write_all(&body)
            }
        }
    }

    /// Chooses the fault of this attempt of a call.
    fn fault(&self, request: &Request) -> Option<Fault> {
        let key = format!("{} {}", request.method, request.target);
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        let distinct = calls.len() as u64;
        let count = calls.entry(key).or_default();
        *count += 1;
        let (try_number, first) = (*count, *count == 1);
        drop(calls);
        let fault = match self.plan {
            Plan::First(fault) => fault,
            Plan::Seeded(seed) => {
                // SplitMix64 of the seed, the number of distinct calls before and the number of the
                // attempt.
                let mut mixed = seed
                    .wrapping_add(distinct.wrapping_mul(1_000_003))
                    .wrapping_add(u64::from(try_number))
                    .wrapping_mul(0x9e37_79b9_7f4a_7c15);
                mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                mixed ^= mixed >> 27;
                if try_number > 3 || !mixed.is_multiple_of(3) {
                    return None;
                }
                Fault::ALL[(mixed >> 8) as usize % Fault::ALL.len()]
            }
        };
        let happens = match (self.plan, fault) {
            (_, Fault::Unknown) => first && request.method != "PUT" && self.is_about_made(request),
            // Not every call expires the token: only one in five does, and never a second attempt.
            (_, Fault::Expired) => first && request.token().is_some() && distinct % 5 == 4,
            (Plan::First(_), _) => first,
            (Plan::Seeded(_), _) => true,
        };
        happens.then_some(fault)
    }

    fn is_about_made(&self, request: &Request) -> bool {
        let made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let path = request.path();
        made.iter().any(|made| {
            let run = made
                .rsplit_once("/jobs/")
                .map(|(_, name)| format!("/runs/{name}/details"));
            path.strip_prefix(made.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
                || run.is_some_and(|run| path.ends_with(&run))
        })
    }

    /// The workspace's response, with its address replaced by the proxy's.
    fn ask(&self, request: &Request) -> io::Result<(String, Vec<u8>)> {
        let root = self.upstream.url.trim_end_matches('/');
        let host = root.trim_start_matches("http://");
        let mut upstream = TcpStream::connect(host)?;
        let mut head = format!(
            "{} {} HTTP/1.0\r\nhost: {host}\r\n",
            request.method, request.target
        );
        for (name, value) in &request.headers {
            let value = match name.as_str() {
                "host" | "connection" => continue,
                "authorization" => &format!("Bearer {}", self.upstream.token),
                _ => value,
            };
            head += &[name, ": ", value, "\r\n"].concat();
        }
        upstream.write_all((head + "\r\n").as_bytes())?;
        upstream.write_all(&request.body)?;
        let mut reader = BufReader::new(upstream);
        let mut status = String::new();
        reader.read_line(&mut status)?;
        let status = status
            .trim_end()
            .split_once(' ')
            .map_or("", |(_, status)| status);
        let headers = headers(&mut reader)?;
        let mut body = Vec::new();
        reader.read_to_end(&mut body)?;
        let is_json = header(&headers, "content-type").is_some_and(|kind| kind.contains("json"));
        if is_json && let Ok(text) = std::str::from_utf8(&body) {
            body = text.replace(root, &self.url).into_bytes();
        }
        if request.method == "PUT" && status.starts_with('2') {
            let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
            made.push(request.path().to_owned());
        }
        let mut head = format!("HTTP/1.1 {status}\r\nconnection: close\r\n");
        for (name, value) in &headers {
            match name.as_str() {
                // The `Content-Length` of a HEAD response is the resource's, not the length of its
                // body.
                "content-length" if request.method != "HEAD" => {}
                "connection" | "transfer-encoding" => {}
                _ => head += &[name, ": ", &value.replace(root, &self.url), "\r\n"].concat(),
            }
        }
        if request.method != "HEAD" {
            head += &["content-length: ", &body.len().to_string(), "\r\n"].concat();
        }
        Ok((head + "\r\n", body))
    }
}

fn refuse(mut stream: TcpStream, status: u16, after: Option<&str>) -> io::Result<()> {
    let body =
        r#"{"error":{"code":"Injected","message":"this is a fault of the test's","details":[]}}"#;
    let after = after.map_or_else(String::new, |after| format!("retry-after: {after}\r\n"));
    write!(
        stream,
        "HTTP/1.1 {status} Injected\r\n{after}x-ms-request-id: test\r\ncontent-type: application/json\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}

/// Resets the connection (RST instead of FIN), as a crashed machine does.
fn reset(stream: &TcpStream) -> io::Result<()> {
    rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO))?;
    Ok(())
}
