//! The metrics of SDK v1 in their original form: rows, tables, lists, text and images.
//!
//! MLflow's metrics are single numbers. Numbers in a row are also logged as MLflow metrics; a
//! script that reads its metrics back gets them from here.

use super::value::json;
use crate::error::Result;
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The tables. They need no version of the store: older programs leave them intact.
pub const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS sdk_metric (
        run     TEXT NOT NULL REFERENCES run (id),
        name    TEXT NOT NULL,
        kind    TEXT NOT NULL,
        columns TEXT NOT NULL,
        PRIMARY KEY (run, name)
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS sdk_value (
        seq     INTEGER PRIMARY KEY AUTOINCREMENT,
        run     TEXT NOT NULL REFERENCES run (id),
        name    TEXT NOT NULL,
        id      TEXT NOT NULL,
        created INTEGER NOT NULL,
        step    INTEGER,
        data    TEXT NOT NULL,
        -- The place of its number among MLflow's values, when the metric is a single number.
        metric  INTEGER,
        UNIQUE (run, name, id)
    );";

/// The column type whose values the client does not convert.
const ANY: &str = "string";

/// A metric.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    /// Its name.
    pub name: String,
    /// Its type, such as `azureml.v1.table`.
    pub kind: String,
    /// The types of its columns, by name.
    pub columns: BTreeMap<String, String>,
}

/// A value, or a row of values.
#[derive(Debug, Clone, PartialEq)]
pub struct Logged {
    /// The client's id of the value; a repeated id is logged once.
    pub id: String,
    /// The time of creation in milliseconds since 1970.
    pub created: i64,
    /// The step, if the value has one.
    pub step: Option<i64>,
    /// The cells by column.
    pub data: Map<String, Value>,
    /// The position of its number among MLflow's values.
    pub metric: Option<i64>,
}

/// Stores a metric, and columns that none of its values had before. The type of the first
/// definition stays.
pub fn define(store: &Connection, run: &str, new: &Definition) -> Result<()> {
    let known = get(store, run, &new.name)?;
    let mut all = known.unwrap_or_else(|| new.clone());
    for (column, kind) in &new.columns {
        let known = all
            .columns
            .entry(column.clone())
            .or_insert_with(|| kind.clone());
        *known = common(known, kind);
    }
    store.execute(
        "INSERT OR REPLACE INTO sdk_metric (run, name, kind, columns) VALUES (?1, ?2, ?3, ?4)",
        params![
            run,
            all.name,
            all.kind,
            serde_json::to_string(&all.columns)?
        ],
    )?;
    Ok(())
}

/// The common type of two types.
fn common(a: &str, b: &str) -> String {
    let is_number = |kind: &str| {
        ["int", "float", "double"]
            .iter()
            .any(|number| number.eq_ignore_ascii_case(kind))
    };
    if a.eq_ignore_ascii_case(b) {
        a.to_owned()
    } else if is_number(a) && is_number(b) {
        "double".to_owned()
    } else {
        ANY.to_owned()
    }
}

/// Logs a value; returns whether it is new.
pub fn log(store: &Connection, run: &str, name: &str, value: &Logged) -> Result<bool> {
    let inserted = store
        .prepare_cached(
            "INSERT OR IGNORE INTO sdk_value (run, name, id, created, step, data) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![
            run,
            name,
            value.id,
            value.created,
            value.step,
            serde_json::to_string(&value.data)?
        ])?;
    Ok(inserted > 0)
}

/// Links a value to the newest value of MLflow's metric with this name.
pub fn link(store: &Connection, run: &str, name: &str, id: &str) -> Result<()> {
    store
        .prepare_cached(
            "UPDATE sdk_value SET metric = (SELECT max(seq) FROM metric WHERE run = ?1 AND key = ?2)
               WHERE run = ?1 AND name = ?2 AND id = ?3",
        )?
        .execute(params![run, name, id])?;
    Ok(())
}

fn definition(row: &Row<'_>) -> rusqlite::Result<(String, String, String)> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
}

fn read((name, kind, columns): (String, String, String)) -> Result<Definition> {
    Ok(Definition {
        name,
        kind,
        columns: serde_json::from_value(json(&columns)?)?,
    })
}

/// Gets a metric of a run.
pub fn get(store: &Connection, run: &str, name: &str) -> Result<Option<Definition>> {
    store
        .prepare_cached("SELECT name, kind, columns FROM sdk_metric WHERE run = ?1 AND name = ?2")?
        .query_row(params![run, name], definition)
        .optional()?
        .map(read)
        .transpose()
}

/// The metrics of a run, by name.
pub fn all(store: &Connection, run: &str) -> Result<Vec<Definition>> {
    let mut statement = store.prepare_cached(
        "SELECT name, kind, columns FROM sdk_metric WHERE run = ?1 ORDER BY name",
    )?;
    let rows = statement.query_map(params![run], definition)?;
    rows.map(|row| read(row?)).collect()
}

/// The values of a metric in the order of logging. Each has all columns of the metric, `null` if
/// the value was not logged.
pub fn values(store: &Connection, run: &str, metric: &mut Definition) -> Result<Vec<Logged>> {
    let mut statement = store.prepare_cached(
        "SELECT id, created, step, data, metric FROM sdk_value WHERE run = ?1 AND name = ?2 ORDER BY seq",
    )?;
    let rows = statement.query_map(params![run, metric.name], |row| {
        let data: String = row.get(3)?;
        let value = Logged {
            id: row.get(0)?,
            created: row.get(1)?,
            step: row.get(2)?,
            data: Map::new(),
            metric: row.get(4)?,
        };
        Ok((value, data))
    })?;
    let mut values = Vec::new();
    for row in rows {
        let (mut value, data) = row?;
        value.data = serde_json::from_str(&data)?;
        for (column, kind) in &mut metric.columns {
            value.data.entry(column.clone()).or_insert_with(|| {
                // The client converts every value of a numeric column to a number, which fails for
                // `null`.
                ANY.clone_into(kind);
                Value::Null
            });
        }
        values.push(value);
    }
    Ok(values)
}
