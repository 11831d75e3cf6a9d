//! Security headers, on every response of the server.
//!
//! Pages, blobs, REST and errors share one origin. Whatever a blob holds, a browser must not run it there: all but the
//! pages is sandboxed, is never part of another document, and is not kept in a cache. [`Seal::apply`] overwrites what a
//! handler has set, so that no stored property of a blob weakens it.
//!
//! What hyper itself refuses before there is a request (a head that is no HTTP, or is too large) has no body and none of
//! these headers.

use super::address::{self, Area};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;

/// What the pages may do: no script but the server's own, no frame around them, nothing from elsewhere.
const PAGE: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
     connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
);

/// All that is no page has an opaque origin, and may do nothing.
const REST: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'; sandbox",
);

/// Headers that do not depend on the response.
const FIXED: [(HeaderName, HeaderValue); 5] = [
    (
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    ),
    // Addresses hold tickets and signatures.
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

/// Gives every response the security headers.
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
    // A blob may have been stored with its own.
    let no_store = HeaderValue::from_static("no-store");
    if area == Area::Blob {
        headers.entry(header::CACHE_CONTROL).or_insert(no_store);
    } else {
        headers.insert(header::CACHE_CONTROL, no_store);
    }
}

/// Whether a response is HTML that this program has written.
fn is_page(area: Area, headers: &HeaderMap) -> bool {
    area == Area::Page
        && headers
            .get(header::CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"))
}
