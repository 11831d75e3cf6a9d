//! Conditional headers, as the Blob service reads them
//! (<https://learn.microsoft.com/rest/api/storageservices/specifying-conditional-headers-for-blob-service-operations>).
//!
//! A read whose content is known already is answered with 304, everything else that does not hold with 412. A write only
//! if there is no blob (`If-None-Match: *`) is answered with 409 when there is one.

use super::unsatisfiable;
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

/// What becomes of a read.
#[derive(Debug, PartialEq, Eq)]
pub enum Read {
    /// The client gets it.
    Content,
    /// The client has it.
    NotModified,
}

impl Conditions {
    /// Those of a request on the blob that its address names.
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

    /// Those on the source of a copy.
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

    /// Whether a blob may be read.
    pub fn read_of(&self, found: &Found) -> Result<Read> {
        self.check_kept(Some(found))?;
        if self.none_match.as_deref() == Some("*") {
            return Err(unsatisfiable());
        }
        let differs = self.none_match.as_deref().map(|tags| !names(tags, found));
        let is_newer = self.modified_since.map(|date| modified(found) > date);
        // Of the two, one that holds is enough.
        Ok(match (differs, is_newer) {
            (Some(true), _) | (_, Some(true)) | (None, None) => Read::Content,
            _ => Read::NotModified,
        })
    }

    /// Whether a blob, which may not be there, may be written or deleted.
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

    /// `If-Match` and `If-Unmodified-Since`: both must hold.
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

/// Whether a list of tags names the one of a blob; quotes and weakness do not matter.
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

/// When a blob was last written, in whole seconds, as `Last-Modified` tells it.
fn modified(found: &Found) -> DateTime<Utc> {
    let time = DateTime::<Utc>::from(found.modified);
    DateTime::from_timestamp(time.timestamp(), 0).unwrap_or(time)
}
