//! The page of one job.

use super::chart::{self, Chart};
use super::file::{self, Tail};
use super::language::Language;
use super::{jobs, live, page, part, text};
use crate::app::{Shared, blocking};
use crate::error::Result;
use crate::routes::artifact::Artifacts;
use crate::routes::job as calls;
use crate::store::job::{self, Job};
use crate::store::mlflow;
use askama::Template;
use axum::Router;
use axum::extract::{Path, State};
use axum::response::{Redirect, Response};
use axum::routing::{get, post};
use azureml_wire::arm::last_part;
use azureml_wire::job::JobStatus;
use azureml_wire::local::{SERVER_FILE, scope};
use azureml_wire::routes::encode;
use serde_json::{Value, json};
use std::sync::Arc;

/// The log that a job's page shows.
pub const LOG: &str = "user_logs/std_log.txt";

pub fn router() -> Router<Shared> {
    Router::new()
        .route("/jobs/{name}", get(show))
        .route("/jobs/{name}/events", get(live::of_job))
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
    facts: Vec<(&'static str, String)>,
    charts: Vec<Arc<Chart>>,
    files: Vec<File>,
    log: String,
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

/// One status that the job has had.
struct Step {
    status: &'static str,
    time: Option<String>,
    clock: String,
}

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
    files: Vec<File>,
}

struct File {
    path: String,
    href: String,
    size: String,
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
    let job = calls::find(&app, name).await?;
    let steps = steps(&app, &job).await?;
    let charts = chart::of_run(&app, &job.name, &[]).await?;
    let files = files(&app, &job.name).await?;
    let details = details(&app, &job.name).await?;
    let log = log(&app, &job.name, None).await?;
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
        events: live::address(&job.name, log.end, &charts),
        charts,
        files,
        log: text::plain(&log.bytes),
        log_file: file::address(&job.name, LOG),
        details,
        request_path: scope().path(["jobs", &job.name]),
        request_body: serde_json::to_string_pretty(&json!({ "properties": properties }))?,
        tracking_uri: app.tracking_uri(),
        server_file: app.home.root().join(SERVER_FILE).display().to_string(),
        job: Names {
            display_name: job.text("displayName").unwrap_or(&job.name).to_owned(),
            name: job.name,
        },
    })
}

async fn cancel(State(app): State<Shared>, Path(name): Path<String>) -> Result<Redirect> {
    let to = format!("/studio/jobs/{}", encode(&name));
    calls::request_cancel(&app, name).await?;
    Ok(Redirect::to(&to))
}

/// The statuses, rendered.
pub async fn steps_part(app: &Shared, l: Language, job: &Job) -> Result<String> {
    part(&StatusPath {
        l,
        name: job.name.clone(),
        steps: steps(app, job).await?,
        error: error(job),
        can_cancel: can_cancel(job),
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
pub async fn files_part(app: &Shared, l: Language, name: &str) -> Result<String> {
    let files = files(app, name).await?;
    part(&Files { l, files })
}

/// Parameters and tags, rendered.
pub async fn details_part(app: &Shared, l: Language, name: &str) -> Result<String> {
    let details = details(app, name).await?;
    part(&Details { l, details })
}

/// The job's log from `from`, or its end.
pub async fn log(app: &Shared, name: &str, from: Option<u64>) -> Result<Tail> {
    let path = file::of_log(app, name, LOG);
    blocking(move || Tail::read(&path, from)).await
}

async fn steps(app: &Shared, job: &Job) -> Result<Vec<Step>> {
    let name = job.name.clone();
    let history = app.db(move |store| job::history(store, &name)).await?;
    let mut steps: Vec<Step> = history
        .into_iter()
        .map(|change| {
            let time = change.time.to_rfc3339();
            Step {
                status: change.status.as_str(),
                clock: text::clock(&time),
                time: Some(time),
            }
        })
        .collect();
    if !job.status.is_terminal() && job.status != JobStatus::CancelRequested {
        // What is still to come, in grey.
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
                    time: None,
                    clock: String::new(),
                }),
        );
    }
    Ok(steps)
}

fn error(job: &Job) -> Option<String> {
    let message = job.error.as_ref()?.pointer("/error/message")?.as_str()?;
    Some(text::plain(message.as_bytes()))
}

fn can_cancel(job: &Job) -> bool {
    !job.status.is_terminal() && job.status != JobStatus::CancelRequested
}

async fn files(app: &Shared, name: &str) -> Result<Vec<File>> {
    let all = Artifacts::of(app, name).all().await?;
    Ok(all
        .into_values()
        .map(|found| File {
            href: file::address(name, &found.name),
            path: found.name,
            size: text::size(found.length),
        })
        .collect())
}

async fn details(app: &Shared, name: &str) -> Result<Vec<(String, String)>> {
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

/// What a job is made of.
fn facts(job: &Job) -> Vec<(&'static str, String)> {
    let last = |member: &str| {
        job.text(member)
            .map(last_part)
            .unwrap_or_default()
            .to_owned()
    };
    // That of a sweep is its trials'.
    let of_program = |member: &str| {
        let trial = || job.properties.get("trial")?.get(member)?.as_str();
        job.text(member).or_else(trial).unwrap_or_default()
    };
    let version = |id: &str| {
        let mut parts = id.rsplit('/');
        match (parts.next(), parts.next(), parts.next()) {
            (Some(version), Some("versions"), Some(name)) => format!("{name}:{version}"),
            _ => id.to_owned(),
        }
    };
    let named = |member: &str| {
        let all = job.properties.get(member).and_then(Value::as_object);
        all.into_iter()
            .flatten()
            .map(|(name, value)| {
                let of = |key| value.get(key).and_then(Value::as_str);
                let what = of("value").or(of("uri")).or(of("assetName"));
                format!(
                    "{name} = {}",
                    what.or(of("jobInputType")).unwrap_or_default()
                )
            })
            .collect::<Vec<_>>()
            .join(", ")
    };
    let mut facts = vec![
        ("Id", job.name.clone()),
        ("Experiment", job.experiment.clone()),
        ("Submitted", text::clock(&job.created_at)),
        ("Duration", jobs::duration(job)),
        ("Command", of_program("command").to_owned()),
        ("Code", version(of_program("codeId"))),
        ("Environment", version(of_program("environmentId"))),
        ("Compute", last("computeId")),
        ("Inputs", named("inputs")),
        ("Outputs", named("outputs")),
    ];
    facts.retain(|(_, value)| !value.is_empty());
    facts
}
