//! Security headers on every response of the server.
//!
//! Pages, blobs, the REST API and errors share one origin. A browser must not execute the content
//! of a blob in this origin. Everything except the pages is therefore sandboxed, cannot be embedded
//! in another document, and is not cached. [`seal`] overwrites headers that a handler has set, so
//! that no stored property of a blob weakens them.
//!
//! Requests that hyper rejects before routing (invalid HTTP, or too large headers) receive a
//! response without a body and without these headers.

use super::address::{self, Area};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;

/// The policy of the pages: no scripts but the server's own, no framing, no external resources.
const PAGE: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
     connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
);

/// The policy of everything else: an opaque origin without any permissions.
const REST: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'; sandbox",
);

/// Headers that are the same on every response.
const FIXED: [(HeaderName, HeaderValue); 5] = [
    (
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    ),
    // URLs may contain tickets and signatures.
    (
        header::REFERRER_POLICY,
        HeaderValue::from_static("no-referrer"),
    ),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        HeaderValue::from_static("same-origin"),
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("same-origin"),
    ),
];

/// Adds the security headers to a response.
pub async fn seal(request: Request, next: Next) -> Response {
    let area = address::area(request.uri().path());
    let mut response = next.run(request).await;
    apply(area, response.headers_mut());
    response
}

fn apply(area: Area, headers: &mut HeaderMap) {
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        if is_page(area, headers) { PAGE } else { REST },
    );
    for (name, value) in FIXED {
        headers.insert(name, value);
    }
    // A blob may have a stored `Cache-Control` property.
    let no_store = HeaderValue::from_static("no-store");
    if area == Area::Blob {
        headers.entry(header::CACHE_CONTROL).or_insert(no_store);
    } else {
        headers.insert(header::CACHE_CONTROL, no_store);
    }
}

/// Whether a response is an HTML page of this program.
fn is_page(area: Area, headers: &HeaderMap) -> bool {
    area == Area::Page
        && headers
            .get(header::CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"))
}
