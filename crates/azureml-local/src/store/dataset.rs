//! Datasets that runs have read (MLflow's inputs).

use super::mlflow;
use crate::error::Result;
use azureml_wire::mlflow::{Dataset, DatasetInput, RunTag};
use rusqlite::{Connection, OptionalExtension, params};

/// The tag with the purpose of a dataset, such as `training`.
pub const CONTEXT: &str = "mlflow.data.context";

/// Logs the datasets that a run has read. A dataset that the run has already logged stays
/// unchanged.
pub fn log(store: &Connection, run: &mlflow::Run, inputs: &[DatasetInput]) -> Result<()> {
    for DatasetInput { dataset, tags } in inputs {
        let id = keep(store, run.experiment, dataset)?;
        let is_new = store
            .prepare_cached("INSERT OR IGNORE INTO input (run, dataset) VALUES (?1, ?2)")?
            .execute(params![run.id, id])?
            > 0;
        if !is_new {
            continue;
        }
        let input = store.last_insert_rowid();
        let mut insert = store.prepare_cached(
            "INSERT OR REPLACE INTO input_tag (input, key, value) VALUES (?1, ?2, ?3)",
        )?;
        for tag in tags {
            insert.execute(params![input, tag.key, tag.value])?;
        }
    }
    Ok(())
}

/// The id of a dataset. An experiment stores each dataset once.
fn keep(store: &Connection, experiment: i64, dataset: &Dataset) -> Result<i64> {
    let known: Option<i64> = store
        .prepare_cached(
            "SELECT id FROM dataset WHERE experiment = ?1 AND name = ?2 AND digest = ?3",
        )?
        .query_row(params![experiment, dataset.name, dataset.digest], |row| {
            row.get(0)
        })
        .optional()?;
    if let Some(known) = known {
        return Ok(known);
    }
    store
        .prepare_cached(
            "INSERT INTO dataset (experiment, name, digest, source_type, source, schema, profile)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            experiment,
            dataset.name,
            dataset.digest,
            dataset.source_type,
            dataset.source,
            dataset.schema,
            dataset.profile
        ])?;
    Ok(store.last_insert_rowid())
}

/// The datasets of a run, in the order of logging.
pub fn of_run(store: &Connection, run: &str) -> Result<Vec<DatasetInput>> {
    let mut statement = store.prepare_cached(
        "SELECT input.id, name, digest, source_type, source, schema, profile
           FROM input JOIN dataset ON dataset.id = input.dataset WHERE run = ?1 ORDER BY input.id",
    )?;
    let rows = statement.query_map(params![run], |row| {
        Ok((
            row.get::<_, i64>(0)?,
            Dataset {
                name: row.get(1)?,
                digest: row.get(2)?,
                source_type: row.get(3)?,
                source: row.get(4)?,
                schema: row.get(5)?,
                profile: row.get(6)?,
            },
        ))
    })?;
    rows.map(|row| {
        let (input, dataset) = row?;
        Ok(DatasetInput {
            tags: tags(store, input)?,
            dataset,
        })
    })
    .collect()
}

fn tags(store: &Connection, input: i64) -> Result<Vec<RunTag>> {
    let mut statement =
        store.prepare_cached("SELECT key, value FROM input_tag WHERE input = ?1 ORDER BY key")?;
    let rows = statement.query_map(params![input], mlflow::tag)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}
