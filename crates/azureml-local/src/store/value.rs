//! The values of columns: times, JSON and the owner.

use crate::error::Result;
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::Value;

/// The owner of the local workspace.
pub fn owner() -> String {
    std::env::var("USER").unwrap_or_else(|_| "local".to_owned())
}

/// The current time in the store's format.
pub fn now() -> String {
    text_of(Utc::now())
}

/// A time in the store's format.
pub fn text_of(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// A stored time in milliseconds since 1970.
pub fn milliseconds(time: &str) -> i64 {
    DateTime::parse_from_rfc3339(time).map_or(0, |time| time.timestamp_millis())
}

/// Parses a column that contains JSON.
pub fn json(text: &str) -> Result<Value> {
    Ok(serde_json::from_str(text)?)
}
