//! The state of the local workspace: a `SQLite` database, with one module per kind of resource.
//!
//! Every change is one transaction. A change is durable before the response, so it survives a kill
//! of the server.

pub mod asset;
pub mod blob;
pub mod compute;
pub mod dataset;
pub mod experiment;
pub mod job;
pub mod mlflow;
pub mod sdk_metric;
pub mod search;
pub mod series;
mod value;

pub use value::{milliseconds, now, owner, text_of};

use crate::error::{Error, Result};
use crate::home::private;
use rusqlite::Connection;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The migrations: a store of version `n` has run the first `n` of them. A released migration never
/// changes.
const STEPS: [&str; 3] = [
    include_str!("schema.sql"),
    include_str!("series.sql"),
    include_str!("tracking.sql"),
];

/// The database.
#[derive(Debug)]
pub struct Store {
    connection: Mutex<Connection>,
}

impl Store {
    /// Opens the database or creates it.
    pub fn open(path: &Path) -> Result<Self> {
        // SQLite creates its other files with the permissions of this one.
        private(path)?;
        if let Some(folder) = path.parent() {
            crate::durable::sync_folder(folder)?;
        }
        let mut connection = Connection::open(path)?;
        connection.busy_timeout(Duration::from_secs(5))?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        // With NORMAL, a power failure can lose acknowledged changes since the last checkpoint.
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        let missing = usize::try_from(version)
            .ok()
            .and_then(|version| STEPS.get(version..))
            .ok_or_else(|| {
                Error::Internal(format!(
                    "the store of the local workspace has version {version}, this program knows {}\n\
                     hint: use the program that made it, or move its folder away",
                    STEPS.len()
                ))
            })?;
        if !missing.is_empty() {
            let transaction = connection.transaction()?;
            for step in missing {
                transaction.execute_batch(step)?;
            }
            if version < 2 {
                series::make_all(&transaction)?;
            } else {
                series::correct_latest(&transaction)?;
            }
            transaction.execute("UPDATE run SET user = ?1 WHERE user IS NULL", [owner()])?;
            transaction.pragma_update(None, "user_version", STEPS.len() as i64)?;
            transaction.commit()?;
        }
        search::register(&connection)?;
        extend(&connection)?;
        Ok(Self {
            connection: Mutex::new(connection),
        })
    }

    /// Runs `call` as one transaction.
    pub fn transaction<T>(&self, call: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        // A panic in a call rolls its transaction back; the connection stays usable.
        let mut connection = self
            .connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let transaction = connection.transaction()?;
        let result = call(&transaction)?;
        transaction.commit()?;
        Ok(result)
    }
}

/// Adds tables, indexes and columns that older programs leave intact: they need no new version of
/// the store.
fn extend(connection: &Connection) -> Result<()> {
    connection.execute_batch(
        "CREATE INDEX IF NOT EXISTS tag_by_parent ON tag (value) WHERE key = 'mlflow.parentRunId';
         CREATE TABLE IF NOT EXISTS asset_container (
             kind TEXT NOT NULL, name TEXT NOT NULL, properties TEXT NOT NULL, PRIMARY KEY (kind, name)
         ) WITHOUT ROWID;",
    )?;
    connection.execute_batch(sdk_metric::TABLES)?;
    connection.execute_batch(blob::TABLE)?;
    // An older program replaces whole rows. For new content, it thereby resets the column to empty.
    let has_headers: bool = connection.query_row(
        "SELECT EXISTS (SELECT 1 FROM pragma_table_info('blob') WHERE name = 'headers')",
        [],
        |row| row.get(0),
    )?;
    if !has_headers {
        connection
            .execute_batch("ALTER TABLE blob ADD COLUMN headers TEXT NOT NULL DEFAULT '{}'")?;
    }
    Ok(())
}
