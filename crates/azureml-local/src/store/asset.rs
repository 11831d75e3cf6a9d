//! Versioned assets: environments, code, models and data.

use super::value::{json, now};
use crate::error::Result;
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde_json::Value;

/// A kind of versioned asset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The software of a job.
    Environment,
    /// A snapshot of a folder.
    Code,
    /// A registered model.
    Model,
    /// Registered data.
    Data,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Environment, Self::Code, Self::Model, Self::Data];

    /// The collection in an ARM id.
    pub fn collection(self) -> &'static str {
        match self {
            Self::Environment => "environments",
            Self::Code => "codes",
            Self::Model => "models",
            Self::Data => "data",
        }
    }

    /// The name of the kind in messages.
    pub fn noun(self) -> &'static str {
        match self {
            Self::Environment => "environment",
            Self::Code => "code snapshot",
            Self::Model => "model",
            Self::Data => "data asset",
        }
    }

    /// The property with the URI of a version's files; `None` if versions have no files.
    pub fn uri_property(self) -> Option<&'static str> {
        match self {
            Self::Environment => None,
            Self::Code => Some("codeUri"),
            Self::Model => Some("modelUri"),
            Self::Data => Some("dataUri"),
        }
    }
}

/// A version of an asset.
#[derive(Debug, Clone)]
pub struct Asset {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its properties as JSON.
    pub properties: Value,
    /// The time of creation.
    pub created_at: String,
}

impl Asset {
    /// The URI of its files.
    pub fn uri(&self) -> Option<&str> {
        Kind::ALL
            .into_iter()
            .filter_map(Kind::uri_property)
            .find_map(|property| self.properties.get(property)?.as_str())
    }

    /// Whether it is archived.
    pub fn is_archived(&self) -> bool {
        self.properties.get("isArchived") == Some(&Value::Bool(true))
    }

    /// Whether it has no name that a user has chosen.
    pub fn is_anonymous(&self) -> bool {
        self.properties.get("isAnonymous") == Some(&Value::Bool(true))
    }
}

const COLUMNS: &str = "name, version, properties, created_at";

fn read(row: &Row<'_>) -> rusqlite::Result<(String, String, String, String)> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
}

fn asset(
    (name, version, properties, created_at): (String, String, String, String),
) -> Result<Asset> {
    Ok(Asset {
        name,
        version,
        properties: json(&properties)?,
        created_at,
    })
}

/// Creates a version or updates its properties.
pub fn put(
    store: &Connection,
    kind: Kind,
    name: &str,
    version: &str,
    properties: &Value,
) -> Result<()> {
    store.execute(
        "INSERT INTO asset (kind, name, version, properties, created_at) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (kind, name, version) DO UPDATE SET properties = excluded.properties",
        params![kind.collection(), name, version, properties.to_string(), now()],
    )?;
    Ok(())
}

/// Gets one version.
pub fn get(store: &Connection, kind: Kind, name: &str, version: &str) -> Result<Option<Asset>> {
    store
        .query_row(
            &format!("SELECT {COLUMNS} FROM asset WHERE kind = ?1 AND name = ?2 AND version = ?3"),
            params![kind.collection(), name, version],
            read,
        )
        .optional()?
        .map(asset)
        .transpose()
}

/// All versions of a name, the newest first.
pub fn versions(store: &Connection, kind: Kind, name: &str) -> Result<Vec<Asset>> {
    let mut statement = store.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM asset WHERE kind = ?1 AND name = ?2 ORDER BY seq DESC"
    ))?;
    let rows = statement.query_map(params![kind.collection(), name], read)?;
    rows.map(|row| asset(row?)).collect()
}

/// The newest version of every name, by name.
pub fn newest(store: &Connection, kind: Kind) -> Result<Vec<Asset>> {
    let mut statement = store.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM asset AS a WHERE kind = ?1 AND seq =
           (SELECT max(seq) FROM asset WHERE kind = a.kind AND name = a.name) ORDER BY name"
    ))?;
    let rows = statement.query_map(params![kind.collection()], read)?;
    rows.map(|row| asset(row?)).collect()
}

/// Every name of a kind.
pub fn names(store: &Connection, kind: Kind) -> Result<Vec<String>> {
    Ok(newest(store, kind)?
        .into_iter()
        .map(|asset| asset.name)
        .collect())
}

/// The stored members of an asset container: `isArchived`, `description`, `tags`, `properties`.
pub fn container(store: &Connection, kind: Kind, name: &str) -> Result<Value> {
    let row: Option<String> = store
        .query_row(
            "SELECT properties FROM asset_container WHERE kind = ?1 AND name = ?2",
            params![kind.collection(), name],
            |row| row.get(0),
        )
        .optional()?;
    row.map_or(Ok(Value::Null), |properties| json(&properties))
}

/// Stores the members of an asset container.
pub fn put_container(store: &Connection, kind: Kind, name: &str, properties: &Value) -> Result<()> {
    store.execute(
        "INSERT OR REPLACE INTO asset_container (kind, name, properties) VALUES (?1, ?2, ?3)",
        params![kind.collection(), name, properties.to_string()],
    )?;
    Ok(())
}

/// Code versions with this content hash.
pub fn codes_by_hash(store: &Connection, hash: &str) -> Result<Vec<Asset>> {
    let mut statement = store.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM asset WHERE kind = 'codes'
           AND json_extract(properties, '$.properties.hash_sha256') = ?1 ORDER BY seq DESC"
    ))?;
    let rows = statement.query_map(params![hash], read)?;
    rows.map(|row| asset(row?)).collect()
}

/// Whether any asset version refers to a container of the blob store.
pub fn names_container(store: &Connection, container: &str) -> Result<bool> {
    Ok(store.query_row(
        "SELECT EXISTS (SELECT 1 FROM asset WHERE instr(properties, ?1) > 0)",
        params![format!("/{container}")],
        |row| row.get(0),
    )?)
}

/// The version for a registration without one: the greatest number plus one.
pub fn next_version(versions: &[Asset]) -> String {
    let greatest = versions
        .iter()
        .filter_map(|asset| asset.version.parse::<u64>().ok())
        .max();
    greatest
        .map_or(1, |greatest| greatest.saturating_add(1))
        .to_string()
}
