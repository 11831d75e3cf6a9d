//! Experiments and their tags.

use super::mlflow::tag;
use crate::error::{Error, Result};
use azureml_wire::mlflow::RunTag;
use chrono::Utc;
use rusqlite::{Connection, OptionalExtension, Row, params};

/// The experiment of runs that name none.
pub const DEFAULT: &str = "Default";

/// An experiment.
#[derive(Debug, Clone)]
pub struct Experiment {
    /// Its id.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// `active` or `deleted`.
    pub lifecycle: String,
    /// Milliseconds since 1970.
    pub created_at: i64,
    /// Milliseconds since 1970.
    pub updated_at: i64,
    /// The location of its runs' artifacts; `None` for the local workspace.
    pub artifact_location: Option<String>,
}

impl Experiment {
    /// Rejects an operation on a deleted experiment.
    pub fn check_active(&self) -> Result<()> {
        if self.lifecycle == "active" {
            return Ok(());
        }
        Err(Error::Invalid {
            code: "INVALID_PARAMETER_VALUE",
            message: format!(
                "The experiment {} must be in the 'active' state. Current state is {}.\n\
                 hint: restore experiment `{}`, or use another one",
                self.id, self.lifecycle, self.name
            ),
        })
    }
}

/// The query whose rows [`experiment`] reads.
pub const EXPERIMENT: &str = "SELECT experiment.id, experiment.name, experiment.lifecycle,
    experiment.created_at, experiment.updated_at, experiment.artifact_location FROM experiment";

/// Reads an experiment from a row.
pub fn experiment(row: &Row<'_>) -> rusqlite::Result<Experiment> {
    Ok(Experiment {
        id: row.get(0)?,
        name: row.get(1)?,
        lifecycle: row.get(2)?,
        created_at: row.get(3)?,
        updated_at: row.get(4)?,
        artifact_location: row.get(5)?,
    })
}

/// Creates the default experiment in a new store, with MLflow's id `0`.
pub fn seed(store: &Connection) -> Result<()> {
    let now = Utc::now().timestamp_millis();
    store.execute(
        "INSERT OR IGNORE INTO experiment (id, name, created_at, updated_at) VALUES (0, ?1, ?2, ?2)",
        params![DEFAULT, now],
    )?;
    Ok(())
}

/// Creates an experiment; the name must be free.
pub fn insert(store: &Connection, name: &str, artifact_location: Option<&str>) -> Result<i64> {
    let now = Utc::now().timestamp_millis();
    store.execute(
        "INSERT INTO experiment (name, created_at, updated_at, artifact_location)
           VALUES (?1, ?2, ?2, ?3)",
        params![name, now, artifact_location],
    )?;
    Ok(store.last_insert_rowid())
}

/// The id of the active experiment with this name; creates it if it does not exist.
pub fn named(store: &Connection, name: &str) -> Result<i64> {
    match by_name(store, name)? {
        Some(found) => found.check_active().map(|()| found.id),
        None => insert(store, name, None),
    }
}

/// Gets an experiment by name.
pub fn by_name(store: &Connection, name: &str) -> Result<Option<Experiment>> {
    Ok(store
        .query_row(
            &format!("{EXPERIMENT} WHERE name = ?1"),
            params![name],
            experiment,
        )
        .optional()?)
}

/// Gets an experiment by id.
pub fn by_id(store: &Connection, id: i64) -> Result<Option<Experiment>> {
    Ok(store
        .query_row(
            &format!("{EXPERIMENT} WHERE id = ?1"),
            params![id],
            experiment,
        )
        .optional()?)
}

/// All experiments, the newest first.
pub fn all(store: &Connection) -> Result<Vec<Experiment>> {
    let mut statement = store.prepare_cached(&format!("{EXPERIMENT} ORDER BY id DESC"))?;
    let rows = statement.query_map([], experiment)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Deletes or restores an experiment and its runs.
pub fn set_lifecycle(store: &Connection, id: i64, lifecycle: &str) -> Result<()> {
    store.execute(
        "UPDATE experiment SET lifecycle = ?2, updated_at = ?3 WHERE id = ?1",
        params![id, lifecycle, Utc::now().timestamp_millis()],
    )?;
    store.execute(
        "UPDATE run SET lifecycle = ?2 WHERE experiment = ?1",
        params![id, lifecycle],
    )?;
    Ok(())
}

/// Renames an experiment.
pub fn rename(store: &Connection, id: i64, name: &str) -> Result<()> {
    store.execute(
        "UPDATE experiment SET name = ?2, updated_at = ?3 WHERE id = ?1",
        params![id, name, Utc::now().timestamp_millis()],
    )?;
    Ok(())
}

/// Sets a tag.
pub fn set_tag(store: &Connection, id: i64, key: &str, value: &str) -> Result<()> {
    store.execute(
        "INSERT OR REPLACE INTO experiment_tag (experiment, key, value) VALUES (?1, ?2, ?3)",
        params![id, key, value],
    )?;
    Ok(())
}

/// Removes a tag; returns whether it existed.
pub fn delete_tag(store: &Connection, id: i64, key: &str) -> Result<bool> {
    Ok(store.execute(
        "DELETE FROM experiment_tag WHERE experiment = ?1 AND key = ?2",
        params![id, key],
    )? > 0)
}

/// An experiment's tags.
pub fn tags(store: &Connection, id: i64) -> Result<Vec<RunTag>> {
    let mut statement = store.prepare_cached(
        "SELECT key, value FROM experiment_tag WHERE experiment = ?1 ORDER BY key",
    )?;
    let rows = statement.query_map(params![id], tag)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}
