//! Computes, as they were set up. What their nodes do right now is known to the queue.

use super::{json, now};
use crate::error::Result;
use rusqlite::{Connection, OptionalExtension, params};
use serde_json::Value;

/// A compute.
#[derive(Debug, Clone)]
pub struct Compute {
    /// Its name.
    pub name: String,
    /// `{"properties": {"computeType", …}, "tags": …}`.
    pub body: Value,
    /// When it was made.
    pub created_at: String,
}

fn compute((name, body, created_at): (String, String, String)) -> Result<Compute> {
    Ok(Compute {
        name,
        body: json(&body)?,
        created_at,
    })
}

/// Makes one, or changes it.
pub fn put(store: &Connection, name: &str, body: &Value) -> Result<()> {
    store.execute(
        "INSERT INTO compute (name, body, created_at) VALUES (?1, ?2, ?3)
         ON CONFLICT (name) DO UPDATE SET body = excluded.body",
        params![name, body.to_string(), now()],
    )?;
    Ok(())
}

/// One by its name, in whatever case.
pub fn get(store: &Connection, name: &str) -> Result<Option<Compute>> {
    store
        .query_row(
            "SELECT name, body, created_at FROM compute WHERE name = ?1 COLLATE NOCASE",
            params![name],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )
        .optional()?
        .map(compute)
        .transpose()
}

/// All, by name.
pub fn list(store: &Connection) -> Result<Vec<Compute>> {
    let mut statement =
        store.prepare_cached("SELECT name, body, created_at FROM compute ORDER BY name")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    rows.map(|row| compute(row?)).collect()
}

/// Removes one; whether it was there.
pub fn delete(store: &Connection, name: &str) -> Result<bool> {
    Ok(store.execute(
        "DELETE FROM compute WHERE name = ?1 COLLATE NOCASE",
        params![name],
    )? > 0)
}
