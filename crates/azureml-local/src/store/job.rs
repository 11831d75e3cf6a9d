//! Jobs and their status path.

use super::value::{json as parsed, milliseconds, now, text_of};
use super::{experiment, mlflow};
use crate::error::Result;
use azureml_wire::Bag;
use azureml_wire::arm::last_part;
use azureml_wire::job::{CommandJob, Job as WireJob, JobOutput, JobStatus};
use azureml_wire::run_history::StatusChange;
use azureml_wire::sweep::{BEST_CHILD, SweepJob};
use chrono::DateTime;
use rusqlite::{Connection, OptionalExtension, Row, Rows, params};
use serde::Deserialize;
use serde_json::{Value, json};

/// A job. Has no `Debug`: environment variables can contain secrets.
#[derive(Clone)]
pub struct Job {
    /// Its position in the order of submission.
    pub seq: i64,
    /// Its name, which is its run's id.
    pub name: String,
    /// Its submitted properties as JSON, without tags. [`Self::spec`] has them as a type.
    pub properties: Value,
    spec: WireJob,
    /// Its tags.
    pub tags: Bag,
    /// Its parent run.
    pub parent: Option<String>,
    /// The experiment's name.
    pub experiment: String,
    /// The experiment's id.
    pub experiment_id: i64,
    /// Its current status.
    pub status: JobStatus,
    /// Why it failed, as an Azure error body.
    pub error: Option<Value>,
    /// Warnings for the user.
    pub warnings: Vec<String>,
    /// The time of submission.
    pub created_at: String,
    /// The start time of its command.
    pub started_at: Option<String>,
    /// The end time.
    pub ended_at: Option<String>,
}

impl Job {
    /// Gets a text property.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.properties.get(name)?.as_str()
    }

    /// Its submitted properties; [`WireJob::Other`] for an MLflow run without a job.
    pub fn spec(&self) -> &WireJob {
        &self.spec
    }

    /// Its properties if it is a command job.
    pub fn command(&self) -> Option<&CommandJob> {
        match &self.spec {
            WireJob::Command(command) => Some(command),
            _ => None,
        }
    }

    /// Its properties if it is a sweep, which has trials instead of a command.
    pub fn sweep(&self) -> Option<&SweepJob> {
        match &self.spec {
            WireJob::Sweep(sweep) => Some(sweep),
            _ => None,
        }
    }

    /// Whether it is a sweep.
    pub fn is_sweep(&self) -> bool {
        self.sweep().is_some()
    }

    /// Whether it is archived.
    pub fn is_archived(&self) -> bool {
        self.properties.get("isArchived") == Some(&Value::Bool(true))
    }

    /// Whether it is a job and not an MLflow run without a job.
    pub fn is_job(&self) -> bool {
        self.text("jobType").is_some()
    }

    /// The display name, which is the name by default.
    pub fn display_name(&self) -> &str {
        self.text("displayName").unwrap_or(&self.name)
    }

    /// The name of its compute; `None` for serverless compute.
    pub fn compute(&self) -> Option<&str> {
        let id = match &self.spec {
            WireJob::Command(command) => command.compute_id.as_deref(),
            WireJob::Sweep(sweep) => sweep.compute_id.as_deref(),
            WireJob::Other => None,
        };
        id.map(last_part).filter(|name| !name.is_empty())
    }

    /// The number of its nodes.
    pub fn nodes(&self) -> usize {
        let resources = self.command().and_then(|job| job.resources.as_ref());
        let count = resources.and_then(|resources| resources.instance_count);
        count.map_or(1, |count| count.max(1) as usize)
    }

    /// Its named outputs, by name; those of a sweep apply to each trial.
    pub fn outputs(&self) -> impl Iterator<Item = (&String, &JobOutput)> {
        let outputs = match &self.spec {
            WireJob::Command(command) => command.outputs.as_ref(),
            WireJob::Sweep(sweep) => sweep.outputs.as_ref(),
            WireJob::Other => None,
        };
        outputs.into_iter().flatten()
    }

    /// Its custom properties.
    pub fn own_properties(&self) -> Option<&Bag> {
        match &self.spec {
            WireJob::Command(command) => command.properties.as_ref(),
            WireJob::Sweep(sweep) => sweep.properties.as_ref(),
            WireJob::Other => None,
        }
    }

    /// The best trial of a sweep so far.
    pub fn best_trial(&self) -> Option<&str> {
        let properties = self.sweep()?.properties.as_ref()?;
        properties.get(BEST_CHILD).map(String::as_str)
    }

    /// The message of [`Self::error`].
    pub fn error_message(&self) -> Option<&str> {
        self.error.as_ref()?.pointer("/error/message")?.as_str()
    }
}

/// The typed properties of a job. An MLflow run has no job type.
fn spec(properties: &Value) -> WireJob {
    WireJob::deserialize(properties).unwrap_or(WireJob::Other)
}

const SELECT: &str =
    "SELECT run.seq, job.name, job.properties, experiment.name, experiment.id, job.status,
    job.error, job.warnings, job.created_at, job.started_at, job.ended_at
  FROM job JOIN run ON run.id = job.name JOIN experiment ON experiment.id = run.experiment";

fn read(store: &Connection, row: &Row<'_>) -> Result<Job> {
    let name: String = row.get(1)?;
    let properties: String = row.get(2)?;
    let status: String = row.get(5)?;
    let error: Option<String> = row.get(6)?;
    let warnings: String = row.get(7)?;
    let (parent, tags) = parent_and_tags(store, &name)?;
    let properties = parsed(&properties)?;
    Ok(Job {
        parent,
        seq: row.get(0)?,
        spec: spec(&properties),
        properties,
        tags,
        experiment: row.get(3)?,
        experiment_id: row.get(4)?,
        // Never fails: an unknown status parses as `Unknown`.
        status: status.parse().unwrap_or(JobStatus::Unknown),
        error: error.as_deref().map(parsed).transpose()?,
        warnings: serde_json::from_str(&warnings)?,
        created_at: row.get(8)?,
        started_at: row.get(9)?,
        ended_at: row.get(10)?,
        name,
    })
}

/// A run's parent and its tags, without the tags that MLflow sets itself.
fn parent_and_tags(store: &Connection, run: &str) -> Result<(Option<String>, Bag)> {
    let mut parent = None;
    let mut tags = Bag::new();
    for tag in mlflow::tags(store, run)? {
        if tag.key == mlflow::PARENT {
            parent = Some(tag.value);
        } else if !tag.key.starts_with("mlflow.") {
            tags.insert(tag.key, tag.value);
        }
    }
    Ok((parent, tags))
}

/// A run as a job. For a run without a job, most members are empty.
pub fn of_run(store: &Connection, run: &mlflow::Run) -> Result<Job> {
    if let Some(job) = get(store, &run.id)? {
        return Ok(job);
    }
    let (parent, tags) = parent_and_tags(store, &run.id)?;
    let time = |milliseconds: Option<i64>| {
        milliseconds
            .and_then(DateTime::from_timestamp_millis)
            .map(text_of)
    };
    let experiment = experiment::by_id(store, run.experiment)?;
    Ok(Job {
        seq: run.seq,
        name: run.id.clone(),
        properties: json!({ "displayName": run.name }),
        spec: WireJob::Other,
        tags,
        parent,
        experiment: experiment
            .map(|experiment| experiment.name)
            .unwrap_or_default(),
        experiment_id: run.experiment,
        status: match run.status.as_str() {
            "SCHEDULED" => JobStatus::NotStarted,
            "FINISHED" => JobStatus::Completed,
            "FAILED" => JobStatus::Failed,
            "KILLED" => JobStatus::Canceled,
            _ => JobStatus::Running,
        },
        error: None,
        warnings: Vec::new(),
        created_at: time(run.start_time).unwrap_or_default(),
        started_at: time(run.start_time),
        ended_at: time(run.end_time),
    })
}

fn all(store: &Connection, mut rows: Rows<'_>) -> Result<Vec<Job>> {
    let mut jobs = Vec::new();
    while let Some(row) = rows.next()? {
        jobs.push(read(store, row)?);
    }
    Ok(jobs)
}

/// A job to insert.
#[derive(Debug)]
pub struct NewJob<'a> {
    /// Its name.
    pub name: &'a str,
    /// The display name.
    pub display_name: &'a str,
    /// The experiment's name.
    pub experiment: &'a str,
    /// Its properties, without tags.
    pub properties: &'a Value,
    /// Its tags.
    pub tags: &'a Bag,
    /// The parent run.
    pub parent: Option<&'a str>,
}

/// Inserts a job and its run with the status `Queued`.
pub fn insert(store: &Connection, job: &NewJob<'_>) -> Result<()> {
    let experiment = experiment::named(store, job.experiment)?;
    mlflow::insert_run(
        store,
        &mlflow::NewRun {
            id: job.name,
            experiment,
            name: job.display_name,
            status: run_status(JobStatus::Queued),
            start_time: None,
            user: None,
            artifact_uri: None,
        },
    )?;
    for (key, value) in job.tags {
        mlflow::set_tag(store, job.name, key, value)?;
    }
    mlflow::set_tag(store, job.name, "mlflow.runName", job.display_name)?;
    if let Some(parent) = job.parent {
        mlflow::set_tag(store, job.name, mlflow::PARENT, parent)?;
    }
    store.execute(
        "INSERT INTO job (name, properties, status, created_at) VALUES (?1, ?2, ?3, ?4)",
        params![
            job.name,
            job.properties.to_string(),
            JobStatus::Queued.as_str(),
            now()
        ],
    )?;
    record(store, job.name, JobStatus::Queued)
}

/// Replaces the properties of a job.
pub fn set_properties(store: &Connection, name: &str, properties: &Value) -> Result<()> {
    store.execute(
        "UPDATE job SET properties = ?2 WHERE name = ?1",
        params![name, properties.to_string()],
    )?;
    Ok(())
}

/// Gets a job.
pub fn get(store: &Connection, name: &str) -> Result<Option<Job>> {
    let mut statement = store.prepare_cached(&format!("{SELECT} WHERE job.name = ?1"))?;
    let mut rows = statement.query(params![name])?;
    rows.next()?.map(|row| read(store, row)).transpose()
}

/// The jobs with this parent, in the order of submission.
pub fn children(store: &Connection, parent: &str) -> Result<Vec<Job>> {
    let mut statement = store.prepare_cached(&format!(
        "{SELECT} JOIN tag ON tag.run = run.id AND tag.key = ?1 AND tag.value = ?2 ORDER BY run.seq"
    ))?;
    all(store, statement.query(params![mlflow::PARENT, parent])?)
}

/// Jobs submitted before `before`, the newest first, at most `limit`.
pub fn list(store: &Connection, before: i64, limit: usize) -> Result<Vec<Job>> {
    let mut statement = store.prepare_cached(&format!(
        "{SELECT} WHERE run.seq < ?1 ORDER BY run.seq DESC LIMIT ?2"
    ))?;
    all(store, statement.query(params![before, limit as i64])?)
}

/// A filter of runs.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only runs of this experiment.
    pub experiment: Option<String>,
    /// Only runs with this status.
    pub status: Option<String>,
    /// Only runs with this parent.
    pub parent: Option<String>,
    /// Includes child runs.
    pub children: bool,
}

/// Runs that are not archived, pass the filter and were created before `before`, the newest first,
/// at most `limit`. Includes MLflow runs without a job.
pub fn matching(
    store: &Connection,
    filter: &Filter,
    before: i64,
    limit: usize,
) -> Result<Vec<Job>> {
    let mut statement = store.prepare_cached(
        "SELECT run.id FROM run JOIN experiment ON experiment.id = run.experiment
           LEFT JOIN job ON job.name = run.id LEFT JOIN tag ON tag.run = run.id AND tag.key = ?1
         WHERE run.seq < ?2 AND run.lifecycle = 'active' AND (?3 IS NULL OR experiment.name = ?3)
           AND (?4 IS NULL OR ?4 = coalesce(job.status, CASE run.status
             WHEN 'SCHEDULED' THEN 'NotStarted' WHEN 'FINISHED' THEN 'Completed'
             WHEN 'FAILED' THEN 'Failed' WHEN 'KILLED' THEN 'Canceled' ELSE 'Running' END))
           AND CASE WHEN ?5 IS NOT NULL THEN tag.value IS ?5 ELSE ?6 OR tag.value IS NULL END
           AND coalesce(json_extract(job.properties, '$.isArchived'), 0) = 0
         ORDER BY run.seq DESC LIMIT ?7",
    )?;
    let rows = statement.query_map(
        params![
            mlflow::PARENT,
            before,
            filter.experiment,
            filter.status,
            filter.parent,
            filter.children,
            limit as i64
        ],
        |row| row.get::<_, String>(0),
    )?;
    let mut jobs = Vec::new();
    for name in rows {
        jobs.extend(any(store, &name?)?);
    }
    Ok(jobs)
}

/// Gets a run, which need not be a job.
pub fn any(store: &Connection, name: &str) -> Result<Option<Job>> {
    let run = mlflow::get_run(store, name)?;
    run.map(|run| of_run(store, &run)).transpose()
}

/// Jobs that have not ended, in the order of submission.
pub fn unfinished(store: &Connection) -> Result<Vec<Job>> {
    let mut statement = store.prepare_cached(&format!(
        "{SELECT} WHERE job.status NOT IN ('Completed', 'Failed', 'Canceled') ORDER BY run.seq"
    ))?;
    all(store, statement.query([])?)
}

/// Sets a job's next status. The order of statuses is fixed: an earlier status has no effect.
/// Returns whether the status changed.
pub fn advance(store: &Connection, name: &str, status: JobStatus) -> Result<bool> {
    let current: Option<String> = store
        .query_row(
            "SELECT status FROM job WHERE name = ?1",
            params![name],
            |row| row.get(0),
        )
        .optional()?;
    let Some(current) = current else {
        return Ok(false);
    };
    let current: JobStatus = current.parse().unwrap_or(JobStatus::Unknown);
    if rank(status) <= rank(current) {
        return Ok(false);
    }
    let time = now();
    store.execute(
        "UPDATE job SET status = ?2 WHERE name = ?1",
        params![name, status.as_str()],
    )?;
    if status == JobStatus::Running {
        store.execute(
            "UPDATE job SET started_at = coalesce(started_at, ?2) WHERE name = ?1",
            params![name, time],
        )?;
        store.execute(
            "UPDATE run SET start_time = coalesce(start_time, ?2) WHERE id = ?1",
            params![name, milliseconds(&time)],
        )?;
    }
    if status.is_terminal() {
        store.execute(
            "UPDATE job SET ended_at = ?2 WHERE name = ?1",
            params![name, time],
        )?;
        store.execute(
            "UPDATE run SET end_time = ?2 WHERE id = ?1",
            params![name, milliseconds(&time)],
        )?;
    }
    store.execute(
        "UPDATE run SET status = ?2 WHERE id = ?1",
        params![name, run_status(status)],
    )?;
    record(store, name, status)?;
    Ok(true)
}

/// The position of a status in the order; after a cancel request only a final status may follow.
fn rank(status: JobStatus) -> u8 {
    match status {
        JobStatus::Preparing => 1,
        JobStatus::Running => 2,
        JobStatus::Finalizing => 3,
        JobStatus::CancelRequested => 4,
        JobStatus::Completed | JobStatus::Failed | JobStatus::Canceled => 5,
        _ => 0,
    }
}

/// Stores why a job failed.
pub fn set_error(store: &Connection, name: &str, error: &Value) -> Result<()> {
    store.execute(
        "UPDATE job SET error = ?2 WHERE name = ?1",
        params![name, error.to_string()],
    )?;
    Ok(())
}

/// Stores the warnings of a job.
pub fn set_warnings(store: &Connection, name: &str, warnings: &[String]) -> Result<()> {
    store.execute(
        "UPDATE job SET warnings = ?2 WHERE name = ?1",
        params![name, serde_json::to_string(warnings)?],
    )?;
    Ok(())
}

fn record(store: &Connection, name: &str, status: JobStatus) -> Result<()> {
    store.execute(
        "INSERT INTO status_change (job, status, time) VALUES (?1, ?2, ?3)",
        params![name, status.as_str(), now()],
    )?;
    Ok(())
}

/// The status changes of a job.
pub fn history(store: &Connection, name: &str) -> Result<Vec<StatusChange>> {
    let mut statement = store
        .prepare_cached("SELECT status, time FROM status_change WHERE job = ?1 ORDER BY seq")?;
    let rows = statement.query_map(params![name], |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))
    })?;
    rows.map(|row| {
        let (status, time) = row?;
        Ok(StatusChange {
            status: status.parse().unwrap_or(JobStatus::Unknown),
            time: serde_json::from_value(Value::String(time))?,
        })
    })
    .collect()
}

/// MLflow's status for a job's status.
fn run_status(status: JobStatus) -> &'static str {
    match status {
        JobStatus::Running | JobStatus::Finalizing | JobStatus::CancelRequested => "RUNNING",
        JobStatus::Completed => "FINISHED",
        JobStatus::Failed => "FAILED",
        JobStatus::Canceled => "KILLED",
        _ => "SCHEDULED",
    }
}
