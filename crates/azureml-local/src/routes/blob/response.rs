//! The headers of the blob store's responses.

use crate::blob::Found;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use std::time::SystemTime;

/// The service version that the responses report.
const VERSION: &str = "2024-11-04";

/// Sets a header, unless the value is not valid in one.
pub fn set(headers: &mut HeaderMap, name: impl Into<HeaderName>, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name.into(), value);
    }
}

/// A time in the format of HTTP.
pub fn http_date(time: SystemTime) -> String {
    DateTime::<Utc>::from(time)
        .format("%a, %d %b %Y %H:%M:%S GMT")
        .to_string()
}

/// A response with the headers that all responses of the store have.
pub fn answer(status: StatusCode, found: Option<&Found>) -> Response {
    let mut response = status.into_response();
    let headers = response.headers_mut();
    let id = uuid::Uuid::new_v4().to_string();
    set(headers, HeaderName::from_static("x-ms-version"), VERSION);
    set(headers, HeaderName::from_static("x-ms-request-id"), &id);
    if let Some(found) = found {
        set(headers, header::ETAG, &found.etag());
        set(headers, header::LAST_MODIFIED, &http_date(found.modified));
        set(headers, header::ACCEPT_RANGES, "bytes");
        set(
            headers,
            HeaderName::from_static("x-ms-blob-type"),
            "BlockBlob",
        );
        set(
            headers,
            HeaderName::from_static("x-ms-creation-time"),
            &http_date(found.modified),
        );
        set(
            headers,
            HeaderName::from_static("x-ms-request-server-encrypted"),
            "false",
        );
    }
    response
}
