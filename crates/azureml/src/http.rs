//! HTTP clients: rustls with ring for the services, a Unix socket for the local workspace.
//!
//! No client follows redirects, and none sends `Referer`: a token, a signature, a secret or a body
//! goes only to the intended host, whatever that host responds.

use crate::error::{Error, Result};
use azureml_wire::local;
use bytes::{Bytes, BytesMut};
use reqwest::ClientBuilder;
use reqwest::redirect::Policy;
use std::path::Path;
use std::sync::Once;
use std::time::{Duration, Instant};

/// Whether `url` is plain http to this machine.
pub fn is_loopback(url: &str) -> bool {
    let Ok(url) = reqwest::Url::parse(url) else {
        return false;
    };
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    url.scheme() == "http"
        && (host == "localhost"
            || address
                .parse()
                .is_ok_and(|address: std::net::IpAddr| address.is_loopback()))
}

/// Whether secrets may be sent to a URL from the service at `root`: the URL is encrypted, or both
/// are on this machine.
pub fn is_safe(root: &str, url: &str) -> bool {
    url.starts_with("https://") || (is_loopback(root) && is_loopback(url))
}

/// A client for `url`. For loopback it bypasses proxies and does not load the system's
/// certificates.
pub fn client(url: &str) -> Result<reqwest::Client> {
    let builder = if is_loopback(url) {
        beside()
    } else {
        builder()
    };
    built(builder)
}

/// A client for the local workspace on a Unix socket: all requests go to the socket, whatever host
/// their URL contains.
pub fn local(socket: &Path) -> Result<reqwest::Client> {
    let address =
        local::socket_address(socket).map_err(Error::io("cannot open the folder of", socket))?;
    built(beside().unix_socket(address))
}

/// The settings for requests that never leave this machine.
fn beside() -> ClientBuilder {
    builder().no_proxy().tls_certs_only([])
}

fn builder() -> ClientBuilder {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        // An error means that the program has already installed a provider, which is used then.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
    reqwest::Client::builder()
        .user_agent(concat!("azureml-rust/", env!("CARGO_PKG_VERSION")))
        .redirect(Policy::none())
        .referer(false)
        .connect_timeout(Duration::from_secs(20))
        .read_timeout(Duration::from_secs(100))
}

fn built(builder: ClientBuilder) -> Result<reqwest::Client> {
    builder.build().map_err(|error| Error::Http(causes(&error)))
}

/// The limits of a response: the bytes that are read into memory, and the time for its body at any
/// transfer rate.
#[derive(Debug, Clone, Copy)]
pub struct Limit {
    bytes: usize,
    within: Duration,
}

/// The limit of responses; the longest are pages of lists and parts of logs.
pub const ANSWER: Limit = Limit {
    bytes: 64 << 20,
    within: Duration::from_mins(1),
};

/// The limit of the body of an error; the rest is discarded.
const ERROR: usize = 64 << 10;

/// The reason why a body could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Unread {
    /// The connection was interrupted.
    #[error("{}", causes(.0))]
    Lost(reqwest::Error),
    /// The body was too slow.
    #[error("the answer was not complete after {} s", .0.as_secs_f64())]
    TooSlow(Duration),
    /// The body is larger than the limit.
    #[error("the answer is larger than {}", crate::show::bytes(*.0 as u64))]
    TooLarge(usize),
}

impl From<reqwest::Error> for Unread {
    fn from(error: reqwest::Error) -> Self {
        // The URL may contain a signature.
        Self::Lost(error.without_url())
    }
}

/// Reads the body of a response.
pub async fn read(mut response: reqwest::Response, limit: Limit) -> Result<Bytes, Unread> {
    let is_error = !response.status().is_success();
    let most = if is_error {
        limit.bytes.min(ERROR)
    } else {
        limit.bytes
    };
    let reading = async {
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(Unread::from)? {
            let room = most - body.len();
            if chunk.len() > room {
                if is_error {
                    body.extend_from_slice(&chunk[..room]);
                    break;
                }
                return Err(Unread::TooLarge(most));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    };
    tokio::time::timeout(limit.within, reading)
        .await
        .unwrap_or(Err(Unread::TooSlow(limit.within)))
}

/// The minimum transfer rate of a download: a file may take hours, but must make progress.
#[derive(Debug)]
pub struct Pace {
    since: Instant,
    grace: Duration,
}

impl Pace {
    /// Starts the measurement at the start of a stream.
    pub fn start() -> Self {
        Self {
            since: Instant::now(),
            grace: Duration::from_mins(1),
        }
    }

    /// Whether the average rate, after the first minute, is below 1000 bytes per second.
    pub fn is_too_slow(&self, bytes: u64) -> bool {
        self.elapsed() > self.grace + Duration::from_millis(bytes)
    }

    /// The time since the start.
    pub fn elapsed(&self) -> Duration {
        self.since.elapsed()
    }
}

/// An error and its causes on one line, without the URL, which may contain a signature.
pub fn describe(error: reqwest::Error) -> String {
    causes(&error.without_url())
}

fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Many errors already contain the text of their cause.
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hostile::{ELSEWHERE, REDIRECTS, Server};

    #[test]
    fn loopback_is_plain_http_to_this_machine() {
        for (url, expected) in [
            ("http://127.0.0.1:8080/x", true),
            ("http://localhost/x?y", true),
            ("http://[::1]:80", true),
            ("https://127.0.0.1:8080/x", false),
            ("http://127.example.com/x", false),
            ("http://management.azure.com", false),
            ("http://localhost.example.com", false),
        ] {
            assert_eq!(is_loopback(url), expected, "{url}");
        }
    }

    #[test]
    fn secrets_are_not_sent_in_the_clear_to_other_machines() {
        for (root, url, expected) in [
            ("https://a", "https://b", true),
            ("https://a", "http://a", false),
            ("https://a", "http://127.0.0.1:1", false),
            ("http://127.0.0.1:1", "http://127.0.0.1:2", true),
            ("http://127.0.0.1:1", "http://a", false),
        ] {
            assert_eq!(is_safe(root, url), expected, "{root} {url}");
        }
    }

    async fn get(server: &Server) -> reqwest::Response {
        client(&server.url)
            .unwrap()
            .get(&server.url)
            .send()
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn a_body_without_an_end_is_not_read_on() {
        let response = get(&Server::endless("200 OK")).await;
        let error = read(response, ANSWER).await.unwrap_err();
        assert_eq!(error.to_string(), "the answer is larger than 67.1 MB");
        // For an error, the beginning is enough.
        let response = get(&Server::endless("500 Wrong")).await;
        assert_eq!(read(response, ANSWER).await.unwrap().len(), ERROR);
    }

    #[tokio::test]
    async fn a_body_that_drips_is_not_waited_for() {
        let limit = Limit {
            within: Duration::from_millis(200),
            ..ANSWER
        };
        let begin = Instant::now();
        let error = read(get(&Server::dripping()).await, limit)
            .await
            .unwrap_err();
        assert_eq!(error.to_string(), "the answer was not complete after 0.2 s");
        assert!(begin.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn a_stream_goes_on_while_it_comes_and_not_when_it_drips() {
        let pace = |seconds| Pace {
            since: Instant::now()
                .checked_sub(Duration::from_secs(seconds))
                .unwrap(),
            grace: Duration::from_mins(1),
        };
        assert!(!pace(30).is_too_slow(0));
        assert!(pace(70).is_too_slow(100));
        assert!(!pace(70).is_too_slow(1_000_000));
    }

    #[tokio::test]
    async fn no_client_follows_a_redirect_or_tells_where_it_comes_from() {
        for host in ELSEWHERE {
            let thief = Server::status(host, "200 OK", "");
            for status in REDIRECTS {
                let server = Server::redirect(status, &thief.url);
                assert_eq!(get(&server).await.status().as_u16(), status);
            }
            assert_eq!(thief.heard(), "");
        }
    }
}
