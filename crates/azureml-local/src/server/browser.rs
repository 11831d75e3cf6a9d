//! Checks of browser requests, against cross-site requests and DNS rebinding.
//!
//! Any page that the user opens can make the browser send requests to loopback. The `Host` header
//! reveals a request that was sent to another name (DNS rebinding). The `Sec-Fetch-…` and `Origin`
//! headers reveal the origin of a request and the use of its response. Pages cannot set these
//! headers.

use super::address::Area;
use crate::error::{Error, Result};
use crate::hmac::equal;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};

const DESTINATION: HeaderName = HeaderName::from_static("sec-fetch-dest");
const SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Rejects a request to a name other than loopback's, which a web page may have resolved to this
/// machine.
pub fn check_host(headers: &HeaderMap) -> Result<()> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = hosts.next().and_then(|host| host.to_str().ok());
    match host {
        Some(host) if hosts.next().is_none() && is_loopback(host) => Ok(()),
        _ => Err(Error::Denied(
            "the local workspace answers to 127.0.0.1 and localhost alone".to_owned(),
        )),
    }
}

/// Whether a `Host` header names this machine. Ports are ignored, because port forwarding changes
/// them.
fn is_loopback(host: &str) -> bool {
    ["127.0.0.1", "localhost", "[::1]"]
        .iter()
        .filter_map(|name| host.strip_prefix(name))
        .any(|rest| match rest.strip_prefix(':') {
            Some(port) => port.bytes().all(|byte| byte.is_ascii_digit()),
            None => rest.is_empty(),
        })
}

/// Rejects requests that embed anything but the pages in a document (as script, style, frame or
/// worker). Pages allow scripts of their own origin, and blobs have the same origin.
pub fn check_destination(area: Area, headers: &HeaderMap) -> Result<()> {
    let harmless = [None, Some("empty"), Some("document"), Some("image")];
    if area == Area::Page || harmless.contains(&text(headers, &DESTINATION)) {
        return Ok(());
    }
    Err(Error::Denied(
        "nothing here can be a part of a web page\nhint: open it in a window of its own".to_owned(),
    ))
}

/// Allows other sites only to link to the pages; only the pages themselves may change anything.
///
/// Other ports of this machine are the same site, so their requests carry the cookies of the pages.
pub fn check_page(method: &Method, headers: &HeaderMap) -> Result<()> {
    let site = text(headers, &SITE);
    let origin = text(headers, &header::ORIGIN);
    let own = text(headers, &header::HOST).map(|host| format!("http://{host}"));
    let is_own = |origin: &str| {
        own.as_ref()
            .is_some_and(|own| equal(own.as_bytes(), origin.as_bytes()))
    };
    let fine = if matches!(*method, Method::GET | Method::HEAD) {
        matches!(site, None | Some("same-origin" | "none"))
            || text(headers, &DESTINATION) == Some("document")
    } else {
        match (site, origin) {
            // The pages send no referrer, so their forms send no origin.
            (Some("same-origin"), None | Some("null")) => true,
            (None | Some("same-origin"), Some(origin)) => is_own(origin),
            _ => false,
        }
    };
    if fine {
        Ok(())
    } else {
        Err(Error::Denied(
            "only the local workspace's own pages may change or load something here".to_owned(),
        ))
    }
}

/// The value of a header with a single ASCII value; `"?"`, which no check allows, for any other.
fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value: &HeaderValue = values.next()?;
    match (value.to_str(), values.next()) {
        (Ok(text), None) => Some(text),
        _ => Some("?"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn hosts_are_read_strictly() {
        for host in [
            "localhost",
            "localhost:1",
            "127.0.0.1:80",
            "[::1]",
            "[::1]:8",
        ] {
            assert!(check_host(&headers(&[("host", host)])).is_ok(), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "127.0.0.1.evil.example",
            "127.0.0.1:80;x",
            "localhost.",
            "[::1].evil.example",
            "evil@127.0.0.1",
        ] {
            assert!(check_host(&headers(&[("host", host)])).is_err(), "{host}");
        }
        let two = headers(&[("host", "localhost"), ("host", "evil.example")]);
        assert!(check_host(&two).is_err());
    }

    #[test]
    fn only_own_pages_change_something() {
        let own = ("host", "localhost:1");
        for (more, fine) in [
            (vec![], false),
            (vec![("origin", "http://localhost:1")], true),
            (vec![("origin", "null")], false),
            (vec![("origin", "http://localhost:2")], false),
            (
                vec![("origin", "null"), ("sec-fetch-site", "same-origin")],
                true,
            ),
            (
                vec![
                    ("origin", "http://localhost:2"),
                    ("sec-fetch-site", "same-origin"),
                ],
                false,
            ),
            (
                vec![
                    ("origin", "http://localhost:1"),
                    ("sec-fetch-site", "same-site"),
                ],
                false,
            ),
            (vec![("sec-fetch-site", "none")], false),
        ] {
            let mut pairs = vec![own];
            pairs.extend(more);
            let answer = check_page(&Method::POST, &headers(&pairs));
            assert_eq!(answer.is_ok(), fine, "{pairs:?}");
        }
    }

    #[test]
    fn other_sites_only_lead_to_pages() {
        for (site, destination, fine) in [
            ("none", "document", true),
            ("cross-site", "document", true),
            ("same-site", "script", false),
            ("same-site", "empty", false),
            ("same-origin", "empty", true),
            ("cross-site", "iframe", false),
        ] {
            let pairs = headers(&[("sec-fetch-site", site), ("sec-fetch-dest", destination)]);
            assert_eq!(
                check_page(&Method::GET, &pairs).is_ok(),
                fine,
                "{site} {destination}"
            );
        }
    }
}
