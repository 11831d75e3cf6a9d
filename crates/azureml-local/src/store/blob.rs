//! What a blob has beside its content: properties and metadata.

use super::json;
use crate::error::Result;
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::BTreeMap;

/// What a blob has beside its content.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Info {
    /// `Content-Type`.
    pub content_type: Option<String>,
    /// Other properties, by the header of a response: `cache-control`, `content-encoding`, ….
    pub headers: BTreeMap<String, String>,
    /// The `x-ms-meta-…` headers, without that prefix.
    pub metadata: BTreeMap<String, String>,
}

/// Remembers a blob's info; an empty one is forgotten instead.
pub fn put(store: &Connection, container: &str, name: &str, info: &Info) -> Result<()> {
    if *info == Info::default() {
        return delete(store, container, name);
    }
    store.execute(
        "INSERT OR REPLACE INTO blob (container, name, content_type, metadata, headers) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![
            container,
            name,
            info.content_type,
            serde_json::to_string(&info.metadata)?,
            serde_json::to_string(&info.headers)?
        ],
    )?;
    Ok(())
}

/// A blob's info.
pub fn get(store: &Connection, container: &str, name: &str) -> Result<Info> {
    let row: Option<(Option<String>, String, String)> = store
        .query_row(
            "SELECT content_type, metadata, headers FROM blob WHERE container = ?1 AND name = ?2",
            params![container, name],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )
        .optional()?;
    let Some((content_type, metadata, headers)) = row else {
        return Ok(Info::default());
    };
    Ok(Info {
        content_type,
        metadata: serde_json::from_value(json(&metadata)?)?,
        headers: serde_json::from_value(json(&headers)?)?,
    })
}

/// Forgets a blob's info.
pub fn delete(store: &Connection, container: &str, name: &str) -> Result<()> {
    store
        .prepare_cached("DELETE FROM blob WHERE container = ?1 AND name = ?2")?
        .execute(params![container, name])?;
    Ok(())
}
