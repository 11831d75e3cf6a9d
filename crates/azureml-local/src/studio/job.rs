//! The page of a job.

use super::chart::{self, Chart};
use super::file::{self, Tail};
use super::jobs::Row;
use super::language::Language;
use super::page::{page, part};
use super::tree::Tree;
use super::{assets, jobs, text};
use crate::error::Result;
use crate::name::RunName;
use crate::store::asset::Kind;
use crate::store::job::{self, Job};
use crate::store::mlflow;
use crate::workspace::artifact::Artifacts;
use crate::workspace::job::{find_run, request_cancel};
use crate::workspace::{Shared, Workspace, blocking};
use askama::Template;
use axum::Router;
use axum::extract::{Path, State};
use axum::response::{Redirect, Response};
use axum::routing::{get, post};
use azureml_wire::job::{Job as WireJob, JobInput, JobOutput, JobStatus};
use azureml_wire::local::{SERVER_FILE, scope};
use azureml_wire::routes::encode;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The log on a job's page is the first of these that exists: the log of a job with one process, or
/// of the first of several.
const LOGS: [&str; 2] = ["user_logs/std_log.txt", "user_logs/std_log_process_00.txt"];

pub fn router() -> Router<Shared> {
    Router::new()
        .route("/jobs/{name}", get(show))
        .route("/jobs/{name}/cancel", post(cancel))
}

#[derive(Template)]
#[template(path = "job.html")]
struct Page {
    l: Language,
    here: &'static str,
    name: String,
    job: Names,
    steps: Vec<Step>,
    error: Option<String>,
    can_cancel: bool,
    facts: Vec<Fact>,
    charts: Vec<Arc<Chart>>,
    jobs: Vec<Row>,
    more: bool,
    files: Option<String>,
    /// The code snapshot as a tree.
    code: Option<String>,
    log: String,
    log_name: &'static str,
    log_file: String,
    events: String,
    details: Vec<(String, String)>,
    request_path: String,
    request_body: String,
    tracking_uri: String,
    server_file: String,
}

struct Names {
    name: String,
    display_name: String,
    /// False for an MLflow run without a job.
    is_job: bool,
}

/// A property of a job: a name, a value, and the address of a page with more about it.
struct Fact {
    name: &'static str,
    value: String,
    href: Option<String>,
}

#[derive(Template)]
#[template(path = "steps.html")]
struct StatusPath {
    l: Language,
    name: String,
    steps: Vec<Step>,
    error: Option<String>,
    can_cancel: bool,
}

/// A past, current or future status of the job.
struct Step {
    status: &'static str,
    /// Its position relative to the current status.
    order: &'static str,
    time: Option<String>,
    clock: String,
}

#[derive(Template)]
#[template(path = "overview.html")]
struct Overview {
    l: Language,
    facts: Vec<Fact>,
}

#[derive(Template)]
#[template(path = "children.html")]
struct Children {
    l: Language,
    name: String,
    jobs: Vec<Row>,
    more: bool,
}

/// The maximum number of children on the page of their parent; the list contains all.
const MOST_CHILDREN: usize = 100;

#[derive(Template)]
#[template(path = "metrics.html")]
struct Metrics {
    l: Language,
    charts: Vec<Arc<Chart>>,
}

#[derive(Template)]
#[template(path = "chart.html")]
struct Picture<'a> {
    chart: &'a Chart,
}

#[derive(Template)]
#[template(path = "files.html")]
struct Files {
    l: Language,
    files: Option<String>,
}

#[derive(Template)]
#[template(path = "details.html")]
struct Details {
    l: Language,
    details: Vec<(String, String)>,
}

async fn show(
    State(app): State<Shared>,
    l: Language,
    Path(name): Path<String>,
) -> Result<Response> {
    let job = find_run(&app, &name).await?;
    let steps = steps(&app, &job).await?;
    let charts = chart::of_run(&app, &job.name, &[]).await?;
    let (jobs, more) = children(&app, &job.name).await?;
    let files = files(&app, l, &job.name).await?;
    let code = match version_of(Program::of(&job).code) {
        Some((name, version)) => assets::code_tree(&app, l, name, version).await?,
        None => None,
    };
    let details = details(&app, &job.name).await?;
    let log_name = log_name(&app, &job);
    let log = log(&app, &job.name, log_name, None).await?;
    let mut properties = job.properties.clone();
    properties["experimentName"] = json!(job.experiment);
    properties["tags"] = json!(job.tags);
    page(&Page {
        l,
        here: "jobs",
        name: job.name.clone(),
        facts: facts(&job),
        error: error(&job),
        can_cancel: can_cancel(&job),
        steps,
        events: events_address(&job.name, log.end, &charts),
        charts,
        jobs,
        more,
        files,
        code,
        log: text::plain(&log.bytes),
        log_name,
        log_file: file::address(&job.name, log_name),
        details,
        request_path: scope().path(["jobs", &job.name]),
        request_body: serde_json::to_string_pretty(&json!({ "properties": properties }))?,
        tracking_uri: app.tracking_uri(),
        server_file: app.home.root().join(SERVER_FILE).display().to_string(),
        job: Names {
            display_name: job.display_name().to_owned(),
            is_job: job.is_job(),
            name: job.name,
        },
    })
}

async fn cancel(State(app): State<Shared>, Path(name): Path<String>) -> Result<Redirect> {
    let to = format!("/studio/jobs/{}", encode(&name));
    request_cancel(&app, name).await?;
    Ok(Redirect::to(&to))
}

/// The statuses, rendered.
pub async fn steps_part(app: &Workspace, l: Language, job: &Job) -> Result<String> {
    part(&StatusPath {
        l,
        name: job.name.clone(),
        steps: steps(app, job).await?,
        error: error(job),
        can_cancel: can_cancel(job),
    })
}

/// The properties of the job, rendered.
pub fn overview_part(l: Language, job: &Job) -> Result<String> {
    let facts = facts(job);
    part(&Overview { l, facts })
}

/// The child runs, rendered.
pub async fn children_part(app: &Workspace, l: Language, name: &str) -> Result<String> {
    let (jobs, more) = children(app, name).await?;
    let name = name.to_owned();
    part(&Children {
        l,
        name,
        jobs,
        more,
    })
}

/// All charts, rendered.
pub fn metrics_part(l: Language, charts: &[Arc<Chart>]) -> Result<String> {
    let charts = charts.to_vec();
    part(&Metrics { l, charts })
}

/// One chart, rendered.
pub fn chart_part(chart: &Chart) -> Result<String> {
    part(&Picture { chart })
}

/// The list of files, rendered.
pub async fn files_part(app: &Workspace, l: Language, name: &str) -> Result<String> {
    let files = files(app, l, name).await?;
    part(&Files { l, files })
}

/// Parameters and tags, rendered.
pub async fn details_part(app: &Workspace, l: Language, name: &str) -> Result<String> {
    let details = details(app, name).await?;
    part(&Details { l, details })
}

/// The log on a job's page.
pub fn log_name(app: &Workspace, job: &Job) -> &'static str {
    let there = LOGS
        .into_iter()
        .find(|log| file::open_log(app, &job.name, log).is_ok_and(|log| log.is_some()));
    there.unwrap_or_else(|| {
        // No log exists yet.
        let distributed = job.command().is_some_and(|job| job.distribution.is_some());
        LOGS[usize::from(distributed)]
    })
}

/// A part of the job's log from `from`; without it, the end of the log.
pub async fn log(app: &Shared, name: &str, log_name: &str, from: Option<u64>) -> Result<Tail> {
    let (app, name, log_name) = (app.clone(), name.to_owned(), log_name.to_owned());
    blocking(move || match file::open_log(&app, &name, &log_name)? {
        Some(log) => Tail::read(&log, from),
        None => Ok(Tail::default()),
    })
    .await
}

async fn steps(app: &Workspace, job: &Job) -> Result<Vec<Step>> {
    let name = job.name.clone();
    let history = app.db(move |store| job::history(store, &name)).await?;
    let mut past: Vec<(JobStatus, String)> = history
        .into_iter()
        .map(|change| (change.status, change.time.to_rfc3339()))
        .collect();
    if !job.is_job() {
        // An MLflow run has only a start and an end.
        let begun = job
            .started_at
            .clone()
            .map(|time| (JobStatus::Running, time));
        let ended = job.ended_at.clone().map(|time| (job.status, time));
        past.extend(begun.into_iter().chain(ended));
    }
    let now = past.len().saturating_sub(1);
    let mut day = String::new();
    let mut steps = Vec::new();
    for (number, (status, time)) in past.into_iter().enumerate() {
        let clock = text::clock(&time);
        // The date is shown once per day.
        let (date, hour) = clock.split_once(' ').unwrap_or_default();
        let clock = if day == date {
            hour.to_owned()
        } else {
            clock.clone()
        };
        date.clone_into(&mut day);
        steps.push(Step {
            status: status.as_str(),
            order: if number < now { "past" } else { "now" },
            clock,
            time: Some(time),
        });
    }
    if job.is_job() && !job.status.is_terminal() && job.status != JobStatus::CancelRequested {
        let path = [
            JobStatus::Queued,
            JobStatus::Preparing,
            JobStatus::Running,
            JobStatus::Finalizing,
            JobStatus::Completed,
        ];
        let here = path.iter().position(|status| *status == job.status);
        steps.extend(
            path.iter()
                .skip(here.map_or(0, |here| here + 1))
                .map(|status| Step {
                    status: status.as_str(),
                    order: "coming",
                    time: None,
                    clock: String::new(),
                }),
        );
    }
    Ok(steps)
}

fn error(job: &Job) -> Option<String> {
    let message = job.error_message()?;
    Some(text::plain(message.as_bytes()))
}

fn can_cancel(job: &Job) -> bool {
    !job.status.is_terminal() && job.status != JobStatus::CancelRequested
}

async fn files(app: &Workspace, l: Language, name: &str) -> Result<Option<String>> {
    let all = Artifacts::of(app, &RunName::parse(name)?).all().await?;
    if all.is_empty() {
        return Ok(None);
    }
    let files = all
        .values()
        .map(|found| (found.name.as_str(), found.length));
    part(&Tree::of(l, files, |path| file::address(name, path))).map(Some)
}

/// The child runs of a run, and whether more exist than are returned.
async fn children(app: &Workspace, name: &str) -> Result<(Vec<Row>, bool)> {
    let name = name.to_owned();
    let mut children = app
        .db(move |store| {
            let runs = mlflow::children(store, &name, 0, MOST_CHILDREN + 1)?;
            let runs = runs.iter().map(|run| job::of_run(store, run));
            runs.collect::<Result<Vec<Job>>>()
        })
        .await?;
    let more = children.len() > MOST_CHILDREN;
    children.truncate(MOST_CHILDREN);
    Ok((children.into_iter().map(Row::from).collect(), more))
}

async fn details(app: &Workspace, name: &str) -> Result<Vec<(String, String)>> {
    let name = name.to_owned();
    app.db(move |store| {
        let params = mlflow::params(store, &name)?
            .into_iter()
            .map(|param| (param.key, param.value));
        let tags = mlflow::tags(store, &name)?
            .into_iter()
            .filter(|tag| !tag.key.starts_with("mlflow."))
            .map(|tag| (tag.key, tag.value));
        Ok(params.chain(tags).collect())
    })
    .await
}

/// The name and the version in the resource id of a version.
fn version_of(id: &str) -> Option<(&str, &str)> {
    let mut parts = id.rsplit('/');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(version), Some("versions"), Some(name)) => Some((name, version)),
        _ => None,
    }
}

/// The program of a job; for a sweep, that of its trials.
#[derive(Default)]
struct Program<'a> {
    command: &'a str,
    code: &'a str,
    environment: &'a str,
    inputs: Option<&'a BTreeMap<String, JobInput>>,
}

impl<'a> Program<'a> {
    fn of(job: &'a Job) -> Self {
        match job.spec() {
            WireJob::Command(job) => Self {
                command: &job.command,
                code: job.code_id.as_deref().unwrap_or_default(),
                environment: &job.environment_id,
                inputs: job.inputs.as_ref(),
            },
            WireJob::Sweep(sweep) => Self {
                command: &sweep.trial.command,
                code: sweep.trial.code_id.as_deref().unwrap_or_default(),
                environment: &sweep.trial.environment_id,
                inputs: sweep.inputs.as_ref(),
            },
            WireJob::Other => Self::default(),
        }
    }
}

fn shown_input((name, input): (&String, &JobInput)) -> String {
    let value = match input {
        JobInput::Literal(literal) => &literal.value,
        JobInput::UriFile(asset)
        | JobInput::UriFolder(asset)
        | JobInput::Mltable(asset)
        | JobInput::CustomModel(asset)
        | JobInput::MlflowModel(asset)
        | JobInput::TritonModel(asset) => &asset.uri,
    };
    format!("{name} = {value}")
}

fn shown_output((name, output): (&String, &JobOutput)) -> String {
    let asset = output.asset();
    let place = asset.uri.as_ref().or(asset.asset_name.as_ref());
    format!("{name} = {}", place.map_or("", String::as_str))
}

/// The properties of the job's page.
fn facts(job: &Job) -> Vec<Fact> {
    let program = Program::of(job);
    let asset = |name, id: &str, kind| {
        let found = version_of(id);
        Fact {
            name,
            value: found.map_or_else(
                || id.to_owned(),
                |(name, version)| format!("{name}:{version}"),
            ),
            href: found.map(|(name, version)| assets::address(kind, name, version)),
        }
    };
    let plain = |name, value: String| Fact {
        name,
        value,
        href: None,
    };
    let inputs: Vec<String> = program
        .inputs
        .into_iter()
        .flatten()
        .map(shown_input)
        .collect();
    let outputs: Vec<String> = job.outputs().map(shown_output).collect();
    // While the job runs, the status path shows the start time.
    let duration = job.ended_at.as_ref().map(|_| jobs::duration(job));
    let mut facts = vec![
        plain("Id", job.name.clone()),
        Fact {
            name: "Parent",
            value: job.parent.clone().unwrap_or_default(),
            href: job
                .parent
                .as_ref()
                .map(|parent| format!("/studio/jobs/{}", encode(parent))),
        },
        plain("Experiment", job.experiment.clone()),
        plain("Submitted", text::clock(&job.created_at)),
        plain("Duration", duration.unwrap_or_default()),
        plain("Command", program.command.to_owned()),
        asset("Code", program.code, Kind::Code),
        asset("Environment", program.environment, Kind::Environment),
        Fact {
            href: Some("/studio/computes".to_owned()),
            ..plain("Compute", job.compute().unwrap_or_default().to_owned())
        },
        plain("Inputs", inputs.join(", ")),
        plain("Outputs", outputs.join(", ")),
    ];
    facts.retain(|fact| !fact.value.is_empty());
    facts
}

/// The address of a job's events, for a page that contains the log up to `log` and these charts.
fn events_address(name: &str, log: u64, charts: &[Arc<Chart>]) -> String {
    format!(
        "/studio/jobs/{}/events?log={log}&charts={}&metric={}",
        encode(name),
        charts.len(),
        chart::newest(charts)
    )
}
