//! MLflow data: runs, metrics, parameters and tags.

use super::series;
use super::value::owner;
use crate::error::{Error, Result};
use azureml_wire::mlflow::{Metric, Param, RunTag};
use azureml_wire::sweep::Goal;
use rusqlite::{Connection, OptionalExtension, Row, params};

/// The tag with the id of a run's parent.
pub const PARENT: &str = "mlflow.parentRunId";

/// A run.
#[derive(Debug, Clone)]
pub struct Run {
    /// The sequence number, in the order of creation.
    pub seq: i64,
    /// The id.
    pub id: String,
    /// The experiment's id.
    pub experiment: i64,
    /// The display name.
    pub name: String,
    /// `RUNNING`, `SCHEDULED`, `FINISHED`, `FAILED`, `KILLED`.
    pub status: String,
    /// Milliseconds since 1970.
    pub start_time: Option<i64>,
    /// Milliseconds since 1970.
    pub end_time: Option<i64>,
    /// `active` or `deleted`.
    pub lifecycle: String,
    /// Whether the run is a job. Its status is then that of the job.
    pub is_job: bool,
    /// The user who created the run.
    pub user: String,
    /// The location of its artifacts.
    pub artifact_uri: String,
}

impl Run {
    /// Returns an error if the run is deleted.
    pub fn check_active(&self) -> Result<()> {
        if self.lifecycle == "active" {
            return Ok(());
        }
        Err(Error::Invalid {
            code: "INVALID_PARAMETER_VALUE",
            message: format!(
                "The run {} must be in the 'active' state. Current state is {}.\n\
                 hint: restore the run, or log to another one",
                self.id, self.lifecycle
            ),
        })
    }
}

/// The path of a run's artifacts in MLflow's artifact service, up to the run's id.
pub const ARTIFACTS: &str = "ExperimentRun/dcid.";

/// The URI of a path in MLflow's artifact service.
pub fn artifact_uri(path: &str) -> String {
    format!("mlflow-artifacts:/{path}")
}

/// A run to insert.
#[derive(Debug)]
pub struct NewRun<'a> {
    /// The id.
    pub id: &'a str,
    /// The experiment's id.
    pub experiment: i64,
    /// The display name.
    pub name: &'a str,
    /// The status.
    pub status: &'a str,
    /// Milliseconds since 1970.
    pub start_time: Option<i64>,
    /// The user who creates the run; the owner of the local workspace by default.
    pub user: Option<&'a str>,
    /// The location of its artifacts, if that is outside the local workspace.
    pub artifact_uri: Option<&'a str>,
}

/// The query whose rows [`run`] reads.
pub const RUN: &str =
    "SELECT run.seq, run.id, run.experiment, run.name, run.status, run.start_time, run.end_time,
    run.lifecycle, EXISTS (SELECT 1 FROM job WHERE job.name = run.id), run.user, run.artifact_uri
  FROM run";

/// Reads a run from a row.
pub fn run(row: &Row<'_>) -> rusqlite::Result<Run> {
    let id: String = row.get(1)?;
    let artifact_uri: Option<String> = row.get(10)?;
    Ok(Run {
        artifact_uri: artifact_uri
            .unwrap_or_else(|| self::artifact_uri(&format!("{ARTIFACTS}{id}"))),
        seq: row.get(0)?,
        id,
        experiment: row.get(2)?,
        name: row.get(3)?,
        status: row.get(4)?,
        start_time: row.get(5)?,
        end_time: row.get(6)?,
        lifecycle: row.get(7)?,
        is_job: row.get(8)?,
        user: row.get(9)?,
    })
}

/// Inserts a run.
pub fn insert_run(store: &Connection, new: &NewRun<'_>) -> Result<()> {
    store.execute(
        "INSERT INTO run (id, experiment, name, status, start_time, user, artifact_uri)
           VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![
            new.id,
            new.experiment,
            new.name,
            new.status,
            new.start_time,
            new.user.map_or_else(owner, str::to_owned),
            new.artifact_uri
        ],
    )?;
    Ok(())
}

/// Returns one run.
pub fn get_run(store: &Connection, id: &str) -> Result<Option<Run>> {
    Ok(store
        .query_row(&format!("{RUN} WHERE id = ?1"), params![id], run)
        .optional()?)
}

/// The child runs of a run with a sequence number above `after`, in the order of creation, at most
/// `limit`.
pub fn children(store: &Connection, parent: &str, after: i64, limit: usize) -> Result<Vec<Run>> {
    let mut statement = store.prepare_cached(&format!(
        "{RUN} WHERE seq > ?3 AND lifecycle = 'active'
           AND id IN (SELECT tag.run FROM tag WHERE tag.key = ?1 AND tag.value = ?2)
         ORDER BY seq LIMIT ?4"
    ))?;
    let rows = statement.query_map(params![PARENT, parent, after, limit as i64], run)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Stores the fields of a run that MLflow may change.
pub fn update_run(store: &Connection, run: &Run) -> Result<()> {
    store.execute(
        "UPDATE run SET name = ?2, status = ?3, end_time = ?4, lifecycle = ?5 WHERE id = ?1",
        params![run.id, run.name, run.status, run.end_time, run.lifecycle],
    )?;
    Ok(())
}

/// Stores values of metrics. Idempotent: an exact repetition, as in a retried request, is ignored.
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

/// The latest value of each metric: the one with the greatest step, then time, then value.
pub fn latest_metrics(store: &Connection, run: &str) -> Result<Vec<Metric>> {
    let series = series::of_run(store, run)?;
    Ok(series.into_iter().map(|series| series.last).collect())
}

/// The values of one metric in the order of logging, starting after the position `after`; each with
/// its position.
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

/// The number of values of a metric that a run has logged.
pub fn count(store: &Connection, run: &str, key: &str) -> Result<i64> {
    Ok(store
        .prepare_cached("SELECT count(*) FROM metric WHERE run = ?1 AND key = ?2")?
        .query_row(params![run, key], |row| row.get(0))?)
}

/// The best value of a metric that a run has logged; non-finite values are ignored.
pub fn best(store: &Connection, run: &str, key: &str, goal: Goal) -> Result<Option<f64>> {
    let best = match goal {
        Goal::Minimize => "min",
        Goal::Maximize => "max",
    };
    Ok(store
        .prepare_cached(&format!(
            "SELECT {best}(value) FROM metric WHERE run = ?1 AND key = ?2 AND abs(value) < 9e999"
        ))?
        .query_row(params![run, key], |row| row.get(0))?)
}

/// Stores a parameter, which is immutable.
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
                "Changing param values is not allowed. Param with key='{key}' was already logged \
                 with value='{old}' for run ID='{run}'. Attempted logging new value '{value}'.\n\
                 hint: log it under another name, or to another run"
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

/// Removes a tag; returns whether it existed.
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
    let rows = statement.query_map(params![run], tag)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Reads a tag from a row.
pub fn tag(row: &Row<'_>) -> rusqlite::Result<RunTag> {
    Ok(RunTag {
        key: row.get(0)?,
        value: row.get(1)?,
    })
}
