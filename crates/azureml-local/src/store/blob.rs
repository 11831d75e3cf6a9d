//! The properties and metadata of blobs.
//!
//! They belong to one content, identified by its `ETag`, and are stored before that content
//! replaces the previous one. So a reader always gets the properties that were sent with the
//! content, even if the server is killed in between. The properties of the previous content stay
//! until the next write, for readers that have opened it.

use super::value::json;
use crate::error::Result;
use rusqlite::{Connection, OptionalExtension, Row, params};
use std::collections::BTreeMap;

/// The table. It needs no version of the store.
///
/// `blob` is the table of older programs, which stored one row per name for any content: such a row
/// applies to the current content.
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

/// The properties and metadata of a blob.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Info {
    /// `Content-Type`.
    pub content_type: Option<String>,
    /// Other properties by their response header: `cache-control`, `content-encoding`, ….
    pub headers: BTreeMap<String, String>,
    /// The `x-ms-meta-…` headers, without the prefix.
    pub metadata: BTreeMap<String, String>,
}

/// The container and the name of a blob.
#[derive(Debug, Clone, Copy)]
pub struct Of<'a> {
    /// Its container.
    pub container: &'a str,
    /// Its name in the container.
    pub name: &'a str,
}

/// Stores the properties of a new content, before it replaces the content with the `ETag`
/// `current`.
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

/// The properties and metadata of one content of a blob.
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

/// The row of an older program.
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

/// Deletes the properties and metadata of a blob.
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
