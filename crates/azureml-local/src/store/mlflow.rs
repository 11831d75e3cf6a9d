//! Experiments, runs, metrics, parameters and tags.

use super::series;
use crate::error::{Error, Result};
use azureml_wire::mlflow::{Metric, Param, RunTag};
use chrono::Utc;
use rusqlite::{Connection, OptionalExtension, Row, params};

/// The tag of a run that names the run it belongs to.
pub const PARENT: &str = "mlflow.parentRunId";

/// The experiment that runs belong to when they name none.
pub const DEFAULT_EXPERIMENT: &str = "Default";

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
}

fn experiment(row: &Row<'_>) -> rusqlite::Result<Experiment> {
    Ok(Experiment {
        id: row.get(0)?,
        name: row.get(1)?,
        lifecycle: row.get(2)?,
        created_at: row.get(3)?,
        updated_at: row.get(4)?,
    })
}

const EXPERIMENT: &str = "SELECT id, name, lifecycle, created_at, updated_at FROM experiment";

/// Makes the default experiment in a new store; its id is MLflow's `0`.
pub fn seed(store: &Connection) -> Result<()> {
    let now = Utc::now().timestamp_millis();
    store.execute(
        "INSERT OR IGNORE INTO experiment (id, name, created_at, updated_at) VALUES (0, ?1, ?2, ?2)",
        params![DEFAULT_EXPERIMENT, now],
    )?;
    Ok(())
}

/// The id of the experiment with a name; made when there is none.
pub fn experiment_named(store: &Connection, name: &str) -> Result<i64> {
    if let Some(experiment) = experiment_by_name(store, name)? {
        return Ok(experiment.id);
    }
    let now = Utc::now().timestamp_millis();
    store.execute(
        "INSERT INTO experiment (name, created_at, updated_at) VALUES (?1, ?2, ?2)",
        params![name, now],
    )?;
    Ok(store.last_insert_rowid())
}

/// An experiment by its name.
pub fn experiment_by_name(store: &Connection, name: &str) -> Result<Option<Experiment>> {
    Ok(store
        .query_row(
            &format!("{EXPERIMENT} WHERE name = ?1"),
            params![name],
            experiment,
        )
        .optional()?)
}

/// An experiment by its id.
pub fn experiment_by_id(store: &Connection, id: i64) -> Result<Option<Experiment>> {
    Ok(store
        .query_row(
            &format!("{EXPERIMENT} WHERE id = ?1"),
            params![id],
            experiment,
        )
        .optional()?)
}

/// Every experiment, the newest first.
pub fn experiments(store: &Connection) -> Result<Vec<Experiment>> {
    let mut statement = store.prepare_cached(&format!("{EXPERIMENT} ORDER BY id DESC"))?;
    let rows = statement.query_map([], experiment)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Hides an experiment or shows it again.
pub fn set_experiment_lifecycle(store: &Connection, id: i64, lifecycle: &str) -> Result<bool> {
    Ok(store.execute(
        "UPDATE experiment SET lifecycle = ?2, updated_at = ?3 WHERE id = ?1",
        params![id, lifecycle, Utc::now().timestamp_millis()],
    )? > 0)
}

/// Renames an experiment.
pub fn rename_experiment(store: &Connection, id: i64, name: &str) -> Result<bool> {
    Ok(store.execute(
        "UPDATE experiment SET name = ?2, updated_at = ?3 WHERE id = ?1",
        params![id, name, Utc::now().timestamp_millis()],
    )? > 0)
}

/// A run.
#[derive(Debug, Clone)]
pub struct Run {
    /// Its place in the order of creation.
    pub seq: i64,
    /// Its id.
    pub id: String,
    /// The experiment's id.
    pub experiment: i64,
    /// The name that people see.
    pub name: String,
    /// `RUNNING`, `SCHEDULED`, `FINISHED`, `FAILED`, `KILLED`.
    pub status: String,
    /// Milliseconds since 1970.
    pub start_time: Option<i64>,
    /// Milliseconds since 1970.
    pub end_time: Option<i64>,
    /// `active` or `deleted`.
    pub lifecycle: String,
    /// Whether it is a job: its status is the job's then.
    pub is_job: bool,
}

/// A run to be kept.
#[derive(Debug)]
pub struct NewRun<'a> {
    /// Its id.
    pub id: &'a str,
    /// The experiment's id.
    pub experiment: i64,
    /// The name that people see.
    pub name: &'a str,
    /// Its status.
    pub status: &'a str,
    /// Milliseconds since 1970.
    pub start_time: Option<i64>,
}

const RUN: &str = "SELECT seq, id, experiment, name, status, start_time, end_time, lifecycle,
    EXISTS (SELECT 1 FROM job WHERE job.name = run.id) FROM run";

fn run(row: &Row<'_>) -> rusqlite::Result<Run> {
    Ok(Run {
        seq: row.get(0)?,
        id: row.get(1)?,
        experiment: row.get(2)?,
        name: row.get(3)?,
        status: row.get(4)?,
        start_time: row.get(5)?,
        end_time: row.get(6)?,
        lifecycle: row.get(7)?,
        is_job: row.get(8)?,
    })
}

/// Keeps a run.
pub fn insert_run(store: &Connection, new: &NewRun<'_>) -> Result<()> {
    store.execute(
        "INSERT INTO run (id, experiment, name, status, start_time) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![new.id, new.experiment, new.name, new.status, new.start_time],
    )?;
    Ok(())
}

/// One run.
pub fn get_run(store: &Connection, id: &str) -> Result<Option<Run>> {
    Ok(store
        .query_row(&format!("{RUN} WHERE id = ?1"), params![id], run)
        .optional()?)
}

/// Every run of an experiment, the newest first.
pub fn runs(store: &Connection, experiment: i64) -> Result<Vec<Run>> {
    let mut statement =
        store.prepare_cached(&format!("{RUN} WHERE experiment = ?1 ORDER BY seq DESC"))?;
    let rows = statement.query_map(params![experiment], run)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// The runs that belong to a run and came after the place `after`, in the order of creation, at most `limit`.
pub fn children(store: &Connection, parent: &str, after: i64, limit: usize) -> Result<Vec<Run>> {
    let mut statement = store.prepare_cached(&format!(
        "{RUN} WHERE seq > ?3 AND lifecycle = 'active'
           AND id IN (SELECT tag.run FROM tag WHERE tag.key = ?1 AND tag.value = ?2)
         ORDER BY seq LIMIT ?4"
    ))?;
    let rows = statement.query_map(params![PARENT, parent, after, limit as i64], run)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Changes what MLflow may change of a run.
pub fn update_run(store: &Connection, run: &Run) -> Result<()> {
    store.execute(
        "UPDATE run SET name = ?2, status = ?3, end_time = ?4, lifecycle = ?5 WHERE id = ?1",
        params![run.id, run.name, run.status, run.end_time, run.lifecycle],
    )?;
    Ok(())
}

/// Keeps values of metrics; an exact repetition, as of a request whose answer was lost, is the same value.
pub fn log_metrics(store: &Connection, run: &str, metrics: &[Metric]) -> Result<()> {
    let mut insert = store.prepare_cached(
        "INSERT INTO metric (run, key, value, timestamp, step) SELECT ?1, ?2, ?3, ?4, ?5
           WHERE NOT EXISTS (SELECT 1 FROM metric
             WHERE run = ?1 AND key = ?2 AND value IS ?3 AND timestamp = ?4 AND step = ?5)",
    )?;
    let mut new = Vec::with_capacity(metrics.len());
    for metric in metrics {
        let inserted = insert.execute(params![
            run,
            metric.key,
            metric.value,
            metric.timestamp,
            metric.step
        ])?;
        if inserted > 0 {
            new.push((store.last_insert_rowid(), metric));
        }
    }
    series::add(store, run, new)
}

fn metric(row: &Row<'_>) -> rusqlite::Result<Metric> {
    Ok(Metric {
        key: row.get(0)?,
        value: row.get::<_, Option<f64>>(1)?.unwrap_or(f64::NAN),
        timestamp: row.get(2)?,
        step: row.get(3)?,
    })
}

/// The last value of each metric: the one with the greatest step, then time, then order of logging.
pub fn latest_metrics(store: &Connection, run: &str) -> Result<Vec<Metric>> {
    let series = series::of_run(store, run)?;
    Ok(series.into_iter().map(|series| series.last).collect())
}

/// Values of one metric in the order of logging, from the one after `after`; each with its place in that order.
pub fn metric_history(
    store: &Connection,
    run: &str,
    key: &str,
    after: i64,
    limit: usize,
) -> Result<Vec<(i64, Metric)>> {
    let mut statement = store.prepare_cached(
        "SELECT key, value, timestamp, step, seq FROM metric
           WHERE run = ?1 AND key = ?2 AND seq > ?3 ORDER BY seq LIMIT ?4",
    )?;
    let rows = statement.query_map(params![run, key, after, limit as i64], |row| {
        Ok((row.get(4)?, metric(row)?))
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Keeps a parameter; a parameter never changes.
pub fn log_param(store: &Connection, run: &str, key: &str, value: &str) -> Result<()> {
    let old: Option<String> = store
        .query_row(
            "SELECT value FROM param WHERE run = ?1 AND key = ?2",
            params![run, key],
            |row| row.get(0),
        )
        .optional()?;
    match old {
        Some(old) if old == value => Ok(()),
        Some(old) => Err(Error::Invalid {
            code: "INVALID_PARAMETER_VALUE",
            message: format!(
                "parameter {key:?} of run {run} has the value {old:?} already, it cannot become {value:?}"
            ),
        }),
        None => {
            store.execute(
                "INSERT INTO param (run, key, value) VALUES (?1, ?2, ?3)",
                params![run, key, value],
            )?;
            Ok(())
        }
    }
}

/// A run's parameters.
pub fn params(store: &Connection, run: &str) -> Result<Vec<Param>> {
    let mut statement =
        store.prepare_cached("SELECT key, value FROM param WHERE run = ?1 ORDER BY key")?;
    let rows = statement.query_map(params![run], |row| {
        Ok(Param {
            key: row.get(0)?,
            value: row.get(1)?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Sets a tag.
pub fn set_tag(store: &Connection, run: &str, key: &str, value: &str) -> Result<()> {
    store.execute(
        "INSERT OR REPLACE INTO tag (run, key, value) VALUES (?1, ?2, ?3)",
        params![run, key, value],
    )?;
    Ok(())
}

/// Removes a tag; whether it was there.
pub fn delete_tag(store: &Connection, run: &str, key: &str) -> Result<bool> {
    Ok(store.execute(
        "DELETE FROM tag WHERE run = ?1 AND key = ?2",
        params![run, key],
    )? > 0)
}

/// A run's tags.
pub fn tags(store: &Connection, run: &str) -> Result<Vec<RunTag>> {
    let mut statement =
        store.prepare_cached("SELECT key, value FROM tag WHERE run = ?1 ORDER BY key")?;
    let rows = statement.query_map(params![run], |row| {
        Ok(RunTag {
            key: row.get(0)?,
            value: row.get(1)?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}
