//! Computes and their configuration. The queue has the state of their nodes.

use super::value::now;
use crate::error::Result;
use azureml_wire::Bag;
use azureml_wire::compute as wire;
use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};

/// A compute.
#[derive(Debug, Clone)]
pub struct Compute {
    /// Its name.
    pub name: String,
    /// What a client can set.
    pub body: Body,
    /// The time of creation.
    pub created_at: String,
}

/// The stored members of a compute.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Body {
    /// Its properties, without those that depend on the state of its nodes.
    pub properties: wire::Compute,
    /// Its tags.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub tags: Option<Bag>,
}

fn compute((name, body, created_at): (String, String, String)) -> Result<Compute> {
    Ok(Compute {
        name,
        body: serde_json::from_str(&body)?,
        created_at,
    })
}

/// Creates or updates a compute.
pub fn put(store: &Connection, name: &str, body: &Body) -> Result<()> {
    store.execute(
        "INSERT INTO compute (name, body, created_at) VALUES (?1, ?2, ?3)
         ON CONFLICT (name) DO UPDATE SET body = excluded.body",
        params![name, serde_json::to_string(body)?, now()],
    )?;
    Ok(())
}

/// Gets a compute by name, case-insensitive.
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

/// All computes, by name.
pub fn list(store: &Connection) -> Result<Vec<Compute>> {
    let mut statement =
        store.prepare_cached("SELECT name, body, created_at FROM compute ORDER BY name")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    rows.map(|row| compute(row?)).collect()
}

/// Deletes a compute; returns whether it existed.
pub fn delete(store: &Connection, name: &str) -> Result<bool> {
    Ok(store.execute(
        "DELETE FROM compute WHERE name = ?1 COLLATE NOCASE",
        params![name],
    )? > 0)
}
