//! HTTP clients: rustls on ring for the services, plain loopback for the local workspace.

use crate::error::{Error, Result};
use std::sync::Once;
use std::time::Duration;

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

/// A client for `url`: one for this machine goes past proxies and needs no certificates of the system.
pub fn client(url: &str) -> Result<reqwest::Client> {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        // An error means that the program has installed a provider of its own, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
    let builder = reqwest::Client::builder()
        .user_agent(concat!("azureml-rust/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(Duration::from_secs(20))
        .read_timeout(Duration::from_secs(100));
    let builder = if is_loopback(url) {
        builder.no_proxy().tls_certs_only([])
    } else {
        builder
    };
    builder.build().map_err(|error| Error::Http(causes(&error)))
}

/// An error and its causes on one line, without the URL, which may carry a signature.
pub fn describe(error: reqwest::Error) -> String {
    causes(&error.without_url())
}

fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Many errors repeat their cause in their own words.
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
}
