//! What a blob has beside its content: properties and metadata.
//!
//! Each is kept for one content, which its `ETag` names, and is recorded before that content takes the blob's place. So
//! a reader finds with a content what was sent with it, wherever a server was killed. What the content before it had stays
//! until the next one comes, for readers that have opened it.

use super::json;
use crate::error::Result;
use rusqlite::{Connection, OptionalExtension, Row, params};
use std::collections::BTreeMap;

/// The table, which needs no version of the store.
///
/// `blob` was the table of programs that kept one row for a name, whatever its content: such a row is for the content that
/// is there.
pub const TABLE: &str = "
    CREATE TABLE IF NOT EXISTS blob_info (
        container    TEXT NOT NULL,
        name         TEXT NOT NULL,
        etag         TEXT NOT NULL,
        content_type TEXT,
        metadata     TEXT NOT NULL,
        headers      TEXT NOT NULL,
        PRIMARY KEY (container, name, etag)
    ) WITHOUT ROWID;";

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

/// A blob's name.
#[derive(Debug, Clone, Copy)]
pub struct Of<'a> {
    /// Its container.
    pub container: &'a str,
    /// Its name in that.
    pub name: &'a str,
}

/// Remembers the info of a content before it takes the place of the one whose `ETag` is `current`.
pub fn put(
    store: &Connection,
    of: Of<'_>,
    current: Option<&str>,
    etag: &str,
    info: &Info,
) -> Result<()> {
    let Of { container, name } = of;
    if let Some(older) = get_older(store, of)? {
        if let Some(current) = current {
            insert(store, of, current, &older)?;
        }
        store.execute(
            "DELETE FROM blob WHERE container = ?1 AND name = ?2",
            params![container, name],
        )?;
    }
    store
        .prepare_cached(
            "DELETE FROM blob_info WHERE container = ?1 AND name = ?2 AND etag IS NOT ?3",
        )?
        .execute(params![container, name, current])?;
    insert(store, of, etag, info)
}

fn insert(store: &Connection, of: Of<'_>, etag: &str, info: &Info) -> Result<()> {
    if *info == Info::default() {
        return Ok(());
    }
    store
        .prepare_cached(
            "INSERT OR REPLACE INTO blob_info (container, name, etag, content_type, metadata, headers)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![
            of.container,
            of.name,
            etag,
            info.content_type,
            serde_json::to_string(&info.metadata)?,
            serde_json::to_string(&info.headers)?
        ])?;
    Ok(())
}

/// The info of a content of a blob.
pub fn get(store: &Connection, of: Of<'_>, etag: &str) -> Result<Info> {
    let found = store
        .prepare_cached(
            "SELECT content_type, metadata, headers FROM blob_info
               WHERE container = ?1 AND name = ?2 AND etag = ?3",
        )?
        .query_row(params![of.container, of.name, etag], columns)
        .optional()?;
    match found {
        Some(found) => read(found),
        None => Ok(get_older(store, of)?.unwrap_or_default()),
    }
}

/// The info that an older program has kept of a blob.
fn get_older(store: &Connection, of: Of<'_>) -> Result<Option<Info>> {
    store
        .prepare_cached(
            "SELECT content_type, metadata, headers FROM blob WHERE container = ?1 AND name = ?2",
        )?
        .query_row(params![of.container, of.name], columns)
        .optional()?
        .map(read)
        .transpose()
}

type Columns = (Option<String>, String, String);

fn columns(row: &Row<'_>) -> rusqlite::Result<Columns> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
}

fn read((content_type, metadata, headers): Columns) -> Result<Info> {
    Ok(Info {
        content_type,
        metadata: serde_json::from_value(json(&metadata)?)?,
        headers: serde_json::from_value(json(&headers)?)?,
    })
}

/// Forgets a blob's info.
pub fn delete(store: &Connection, of: Of<'_>) -> Result<()> {
    for table in ["blob_info", "blob"] {
        store
            .prepare_cached(&format!(
                "DELETE FROM {table} WHERE container = ?1 AND name = ?2"
            ))?
            .execute(params![of.container, of.name])?;
    }
    Ok(())
}
