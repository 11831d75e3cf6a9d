//! Conditional headers of the Blob service, as in "Specifying conditional headers for Blob service
//! operations" of its REST API reference (<https://learn.microsoft.com/rest/api/storageservices/>).
//!
//! A read of unmodified content returns 304, and any other failed condition returns 412. A write
//! with `If-None-Match: *` returns 409 if the blob exists.

use crate::blob::Found;
use crate::error::{Error, Result};
use axum::http::{HeaderMap, HeaderName, header};
use chrono::{DateTime, Utc};

/// The conditions of a request.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    matches: Option<String>,
    none_match: Option<String>,
    modified_since: Option<DateTime<Utc>>,
    unmodified_since: Option<DateTime<Utc>>,
}

/// The result of a read.
#[derive(Debug, PartialEq, Eq)]
pub enum Read {
    /// The response contains the content.
    Content,
    /// The client has the current content already.
    NotModified,
}

impl Conditions {
    /// The conditions of a request on the blob in its URL.
    pub fn of(headers: &HeaderMap) -> Result<Self> {
        Self::read(
            headers,
            [
                header::IF_MATCH,
                header::IF_NONE_MATCH,
                header::IF_MODIFIED_SINCE,
                header::IF_UNMODIFIED_SINCE,
            ],
        )
    }

    /// The conditions on the source of a copy.
    pub fn of_source(headers: &HeaderMap) -> Result<Self> {
        Self::read(
            headers,
            [
                "x-ms-source-if-match",
                "x-ms-source-if-none-match",
                "x-ms-source-if-modified-since",
                "x-ms-source-if-unmodified-since",
            ]
            .map(HeaderName::from_static),
        )
    }

    fn read(headers: &HeaderMap, names: [HeaderName; 4]) -> Result<Self> {
        let [matches, none_match, modified, unmodified] = names;
        let text = |name: &HeaderName| {
            headers
                .get(name)
                .map(|value| value.to_str().map(str::to_owned).map_err(|_| invalid(name)))
                .transpose()
        };
        let date = |name: &HeaderName| {
            text(name)?
                .map(|text| {
                    DateTime::parse_from_rfc2822(&text)
                        .map(|date| date.to_utc())
                        .map_err(|_| invalid(name))
                })
                .transpose()
        };
        Ok(Self {
            matches: text(&matches)?,
            none_match: text(&none_match)?,
            modified_since: date(&modified)?,
            unmodified_since: date(&unmodified)?,
        })
    }

    /// Checks the conditions of a read.
    pub fn read_of(&self, found: &Found) -> Result<Read> {
        self.check_kept(Some(found))?;
        if self.none_match.as_deref() == Some("*") {
            return Err(unsatisfiable());
        }
        let differs = self.none_match.as_deref().map(|tags| !names(tags, found));
        let is_newer = self.modified_since.map(|date| modified(found) > date);
        // If both headers are present, one satisfied condition is enough.
        Ok(match (differs, is_newer) {
            (Some(true), _) | (_, Some(true)) | (None, None) => Read::Content,
            _ => Read::NotModified,
        })
    }

    /// Checks the conditions of a write or a deletion; the blob need not exist.
    pub fn check_write(&self, found: Option<&Found>) -> Result<()> {
        self.check_kept(found)?;
        let Some(found) = found else { return Ok(()) };
        match self.none_match.as_deref() {
            Some("*") => {
                return Err(Error::Conflict {
                    code: "BlobAlreadyExists",
                    message: format!("there is a blob {:?} already", found.name),
                });
            }
            Some(tags) if names(tags, found) => return Err(Error::Precondition),
            _ => {}
        }
        if self
            .modified_since
            .is_some_and(|date| modified(found) <= date)
        {
            return Err(Error::Precondition);
        }
        Ok(())
    }

    /// Checks `If-Match` and `If-Unmodified-Since`, which must both hold.
    fn check_kept(&self, found: Option<&Found>) -> Result<()> {
        let is_match = |tags: &str| found.is_some_and(|found| tags == "*" || names(tags, found));
        let is_old = |date| found.is_none_or(|found| modified(found) <= date);
        if self.matches.as_deref().is_none_or(is_match) && self.unmodified_since.is_none_or(is_old)
        {
            Ok(())
        } else {
            Err(Error::Precondition)
        }
    }
}

fn invalid(name: &HeaderName) -> Error {
    Error::Invalid {
        code: "InvalidHeaderValue",
        message: format!("the value of the header {name} makes no sense"),
    }
}

/// Whether a list of entity tags contains the blob's own, regardless of quotes and the weak prefix.
fn names(tags: &str, found: &Found) -> bool {
    let plain = |tag: &str| {
        tag.trim()
            .trim_start_matches("W/")
            .trim_matches('"')
            .to_owned()
    };
    let own = plain(&found.etag());
    tags.split(',').any(|tag| plain(tag) == own)
}

/// The time of the last write in whole seconds, as in the `Last-Modified` header.
fn modified(found: &Found) -> DateTime<Utc> {
    let time = DateTime::<Utc>::from(found.modified);
    DateTime::from_timestamp(time.timestamp(), 0).unwrap_or(time)
}

/// The error for conditions that cannot hold.
fn unsatisfiable() -> Error {
    Error::Invalid {
        code: "UnsatisfiableCondition",
        message: "a read cannot ask that there is nothing to read".to_owned(),
    }
}
