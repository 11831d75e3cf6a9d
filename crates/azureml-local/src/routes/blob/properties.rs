//! The properties and the metadata of a blob in requests, responses and listings.

use super::response::set;
use crate::server::xml::escape;
use crate::store::blob::Info;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use std::fmt::Write;

/// The default content type.
const DEFAULT_TYPE: &str = "application/octet-stream";

/// A property that is stored and returned unchanged: its names in requests and in listings, and the
/// response header.
struct Property {
    request: &'static str,
    listed: &'static str,
    header: HeaderName,
}

const PROPERTIES: [Property; 5] = [
    Property {
        request: "x-ms-blob-content-encoding",
        listed: "Content-Encoding",
        header: header::CONTENT_ENCODING,
    },
    Property {
        request: "x-ms-blob-content-language",
        listed: "Content-Language",
        header: header::CONTENT_LANGUAGE,
    },
    Property {
        request: "x-ms-blob-cache-control",
        listed: "Cache-Control",
        header: header::CACHE_CONTROL,
    },
    Property {
        request: "x-ms-blob-content-disposition",
        listed: "Content-Disposition",
        header: header::CONTENT_DISPOSITION,
    },
    Property {
        request: "x-ms-blob-content-md5",
        listed: "Content-MD5",
        header: HeaderName::from_static("content-md5"),
    },
];

fn text(value: &HeaderValue) -> Option<String> {
    value
        .to_str()
        .ok()
        .filter(|text| !text.is_empty())
        .map(str::to_owned)
}

/// The properties and metadata of a whole blob: the `x-ms-blob-…` headers, otherwise the content
/// headers.
pub fn of_content(headers: &HeaderMap) -> Info {
    let mut info = of_blob(headers);
    let fallback = |name: &HeaderName| headers.get(name).and_then(text);
    if info.content_type.is_none() {
        info.content_type = fallback(&header::CONTENT_TYPE).filter(|kind| kind != DEFAULT_TYPE);
    }
    for property in &PROPERTIES {
        if !info.headers.contains_key(property.header.as_str())
            && let Some(value) = fallback(&property.header)
        {
            info.headers.insert(property.header.to_string(), value);
        }
    }
    info
}

/// The properties and metadata in a request without blob content: a block list, or a change of
/// properties.
pub fn of_blob(headers: &HeaderMap) -> Info {
    Info {
        content_type: headers
            .get("x-ms-blob-content-type")
            .and_then(text)
            .filter(|kind| kind != DEFAULT_TYPE),
        headers: PROPERTIES
            .iter()
            .filter_map(|property| {
                let value = headers.get(property.request).and_then(text)?;
                Some((property.header.to_string(), value))
            })
            .collect(),
        metadata: metadata(headers),
    }
}

/// The metadata in a request.
fn metadata(headers: &HeaderMap) -> std::collections::BTreeMap<String, String> {
    headers
        .iter()
        .filter_map(|(name, value)| {
            let name = name.as_str().strip_prefix("x-ms-meta-")?;
            Some((name.to_owned(), value.to_str().ok()?.to_owned()))
        })
        .collect()
}

/// Writes the properties and metadata to response headers.
pub fn describe(headers: &mut HeaderMap, info: &Info) {
    set(
        headers,
        header::CONTENT_TYPE,
        info.content_type.as_deref().unwrap_or(DEFAULT_TYPE),
    );
    for property in &PROPERTIES {
        if let Some(value) = info.headers.get(property.header.as_str()) {
            set(headers, property.header.clone(), value);
        }
    }
    for (name, value) in &info.metadata {
        if let Ok(name) = HeaderName::try_from(format!("x-ms-meta-{name}")) {
            set(headers, name, value);
        }
    }
}

/// Writes the properties as elements of a listing.
pub fn list(xml: &mut String, info: &Info) {
    let kind = info.content_type.as_deref().unwrap_or(DEFAULT_TYPE);
    // Writing to a String cannot fail.
    let _ = write!(xml, "<Content-Type>{}</Content-Type>", escape(kind));
    for Property { listed, header, .. } in &PROPERTIES {
        if let Some(value) = info.headers.get(header.as_str()) {
            let _ = write!(xml, "<{listed}>{}</{listed}>", escape(value));
        }
    }
}
