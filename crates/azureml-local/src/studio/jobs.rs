//! The list of jobs.

use super::language::Language;
use super::page::page;
use super::text;
use crate::error::{Error, Result};
use crate::store::experiment;
use crate::store::job::{self, Filter, Job};
use crate::workspace::Shared;
use askama::Template;
use axum::Router;
use axum::extract::{Path, Query, State};
use axum::response::{Redirect, Response};
use axum::routing::get;
use azureml_wire::routes::encode;
use serde::Deserialize;

/// Jobs on one page.
const PAGE: usize = 50;

/// The statuses in the filter.
const STATUSES: [&str; 8] = [
    "Queued",
    "Preparing",
    "Running",
    "Finalizing",
    "CancelRequested",
    "Completed",
    "Failed",
    "Canceled",
];

pub fn router() -> Router<Shared> {
    Router::new()
        .route("/jobs", get(list))
        .route("/experiments/{id}", get(of_experiment))
}

/// Redirects to the jobs of an experiment by its id, which MLflow's links contain.
async fn of_experiment(State(app): State<Shared>, Path(id): Path<i64>) -> Result<Redirect> {
    let found = app.db(move |store| experiment::by_id(store, id)).await?;
    let found = found.ok_or_else(|| Error::not_found(format!("there is no experiment {id}")))?;
    Ok(Redirect::to(&format!(
        "/studio/jobs?experiment={}",
        encode(&found.name)
    )))
}

#[derive(Debug, Default, Deserialize)]
struct Asked {
    #[serde(default)]
    experiment: String,
    #[serde(default)]
    status: String,
    /// Lists the children of this run.
    #[serde(default)]
    parent: String,
    /// Whether the list includes child runs.
    #[serde(default)]
    children: String,
    before: Option<i64>,
}

#[derive(Template)]
#[template(path = "jobs.html")]
struct List {
    l: Language,
    here: &'static str,
    experiments: Vec<String>,
    experiment: String,
    statuses: [&'static str; 8],
    status: String,
    parent: String,
    children: bool,
    jobs: Vec<Row>,
    next: Option<String>,
}

/// A row of a list of runs.
pub struct Row {
    pub name: String,
    pub display_name: String,
    pub experiment: String,
    pub status: &'static str,
    pub created_at: String,
    pub created: String,
    pub duration: String,
    pub compute: String,
}

impl From<Job> for Row {
    fn from(job: Job) -> Self {
        Self {
            display_name: job.display_name().to_owned(),
            compute: job.compute().unwrap_or_default().to_owned(),
            duration: duration(&job),
            status: job.status.as_str(),
            created: text::clock(&job.created_at),
            created_at: job.created_at,
            experiment: job.experiment,
            name: job.name,
        }
    }
}

/// How long a job's command, or an MLflow run, has run so far.
pub fn duration(job: &Job) -> String {
    job.started_at.as_deref().map_or_else(String::new, |start| {
        text::between(start, job.ended_at.as_deref())
    })
}

async fn list(
    State(app): State<Shared>,
    l: Language,
    Query(asked): Query<Asked>,
) -> Result<Response> {
    let filter = Filter {
        experiment: Some(asked.experiment.clone()).filter(|name| !name.is_empty()),
        status: Some(asked.status.clone()).filter(|status| !status.is_empty()),
        parent: Some(asked.parent.clone()).filter(|parent| !parent.is_empty()),
        children: !asked.children.is_empty(),
    };
    let before = asked.before.unwrap_or(i64::MAX);
    let (mut jobs, experiments) = app
        .db(move |store| {
            Ok((
                job::matching(store, &filter, before, PAGE + 1)?,
                experiment::all(store)?,
            ))
        })
        .await?;
    let more = jobs.len() > PAGE;
    jobs.truncate(PAGE);
    let next = jobs.last().filter(|_| more).map(|last| {
        format!(
            "/studio/jobs?experiment={}&status={}&parent={}&children={}&before={}",
            encode(&asked.experiment),
            encode(&asked.status),
            encode(&asked.parent),
            encode(&asked.children),
            last.seq
        )
    });
    page(&List {
        l,
        here: "jobs",
        experiments: experiments
            .into_iter()
            .map(|experiment| experiment.name)
            .collect(),
        experiment: asked.experiment,
        statuses: STATUSES,
        status: asked.status,
        parent: asked.parent,
        children: !asked.children.is_empty(),
        jobs: jobs.into_iter().map(Row::from).collect(),
        next,
    })
}
