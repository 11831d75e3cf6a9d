//! The run history service: status, details, children and changes of runs.

use super::artifact;
use super::resource::{next_link, resource};
use crate::error::{Error, Result};
use crate::name::RunName;
use crate::read::lenient;
use crate::server::body::Json as Body;
use crate::store::job::{self, Job};
use crate::store::mlflow;
use crate::workspace::artifact::{Artifacts, check};
use crate::workspace::caller::Caller;
use crate::workspace::job::{Change, find, missing, modify as modify_run};
use crate::workspace::output::{NamedOutput, named_outputs};
use crate::workspace::{Shared, Workspace};
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::routing::{get, post};
use axum::{Json, Router};
use azureml_wire::Bag;
use azureml_wire::arm::{self, Resource};
use azureml_wire::job::JobStatus;
use azureml_wire::local::scope;
use azureml_wire::run_history::{
    ArtifactContent, ArtifactPage, ArtifactPaths, ArtifactUploads, RunWarning, STATUS_HISTORY,
};
use chrono::SecondsFormat;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The routes of run history.
pub fn router() -> Router<Shared> {
    Router::new()
        .merge(runs())
        // The same runs below the path of their experiment.
        .nest("/experiments/{experiment}", runs())
        .nest("/experimentids/{experiment}", runs())
        .route("/rundata", post(run_data))
}

fn runs() -> Router<Shared> {
    Router::new()
        .route("/runs/{run}", get(one).patch(modify))
        .route("/runs/{run}/details", get(details))
        .route("/runs/{run}/token", get(token))
        .route("/runs/{run}/metricsingest/wait", get(ingested))
        .route("/runs/{run}/events", post(event))
        .route("/runs/{run}/events/batch", post(event))
        .route("/runs/{run}/children", get(children))
        .route(
            "/runs/{run}/serviceinstances/{node}",
            get(service_instances),
        )
        .route("/runs/{run}/artifacts", get(artifacts))
        .route("/runs/{run}/artifacts/path", get(artifacts))
        .route("/runs/{run}/artifacts/contentinfo", get(content))
        .route("/runs/{run}/artifacts/prefix/contentinfo", get(contents))
        .route("/runs/{run}/artifacts/batch/metadata", post(upload))
}

/// The run segment of the path; the experiment segment is ignored.
#[derive(Debug, Deserialize)]
struct OfRun {
    run: String,
}

/// A run to which the caller has access, whether it is a job or not.
async fn found(app: &Workspace, caller: Caller, run: String) -> Result<Job> {
    app.db(move |store| {
        caller.may_use(store, &run)?;
        let found = mlflow::get_run(store, &run)?.ok_or_else(|| missing(&run))?;
        job::of_run(store, &found)
    })
    .await
}

/// A run in responses.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Summary {
    run_id: String,
    run_number: i64,
    parent_run_id: Option<String>,
    root_run_id: String,
    run_type: &'static str,
    experiment_id: String,
    data_container_id: String,
    display_name: Option<String>,
    description: Option<String>,
    status: JobStatus,
    created_utc: String,
    start_time_utc: Option<String>,
    end_time_utc: Option<String>,
    target: Option<String>,
    tags: Bag,
    properties: Bag,
    hidden: bool,
    error: Option<Value>,
    warnings: Vec<RunWarning>,
}

impl Summary {
    fn of(job: Job) -> Self {
        let text = |name: &str| job.text(name).map(str::to_owned);
        let warning = |message: String| RunWarning {
            source: Some("azureml-local".to_owned()),
            message,
        };
        Self {
            run_number: job.seq,
            root_run_id: job.parent.as_ref().unwrap_or(&job.name).clone(),
            run_type: if job.is_sweep() {
                "azureml.sweep"
            } else {
                "azureml.scriptrun"
            },
            experiment_id: job.experiment_id.to_string(),
            data_container_id: format!("dcid.{}", job.name),
            display_name: text("displayName"),
            description: text("description"),
            status: job.status,
            target: job.compute().map(str::to_owned),
            properties: job.own_properties().cloned().unwrap_or_default(),
            hidden: job.is_archived(),
            warnings: job.warnings.into_iter().map(warning).collect(),
            run_id: job.name,
            parent_run_id: job.parent,
            created_utc: job.created_at,
            start_time_utc: job.started_at,
            end_time_utc: job.ended_at,
            tags: job.tags,
            error: job.error,
        }
    }
}

/// A run with its log files. Has no `Debug`: the URLs of the logs are secrets.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Details {
    #[serde(flatten)]
    run: Summary,
    log_files: BTreeMap<String, String>,
    input_datasets: [(); 0],
    output_datasets: [(); 0],
}

/// A page of child runs.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RunPage {
    value: Vec<Summary>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_link: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    continuation_token: Option<String>,
}

/// A run with its outputs, and its job.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RunData {
    run_metadata: Metadata,
    job_specification: Resource<Value>,
}

#[derive(Serialize)]
struct Metadata {
    #[serde(flatten)]
    run: Summary,
    outputs: BTreeMap<String, Output>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Output {
    #[serde(rename = "type")]
    kind: &'static str,
    asset_id: String,
}

async fn one(
    State(app): State<Shared>,
    caller: Caller,
    Path(OfRun { run }): Path<OfRun>,
) -> Result<Json<Summary>> {
    found(&app, caller, run).await.map(Summary::of).map(Json)
}

async fn details(
    State(app): State<Shared>,
    caller: Caller,
    Path(OfRun { run }): Path<OfRun>,
) -> Result<Json<Details>> {
    let mut run = Summary::of(found(&app, caller, run).await?);
    let name = run.run_id.clone();
    let history = app
        .db(move |store| Ok(serde_json::to_string(&job::history(store, &name)?)?))
        .await?;
    run.properties.insert(STATUS_HISTORY.to_owned(), history);
    Ok(Json(Details {
        log_files: Artifacts::of(&app, &RunName::parse(&run.run_id)?)
            .logs()
            .await?,
        run,
        input_datasets: [],
        output_datasets: [],
    }))
}

/// Returns a token for the processes of the run. SDK v1 requests a new one before its own expires.
async fn token(
    State(app): State<Shared>,
    caller: Caller,
    Path(OfRun { run }): Path<OfRun>,
) -> Result<Json<Value>> {
    let job = found(&app, caller, run).await?;
    let token = app.signer.run_token(&job.name);
    Ok(Json(json!({
        "token": token.text,
        "expiryTimeUtc": token.expiry.to_rfc3339_opts(SecondsFormat::Secs, true),
    })))
}

/// Reports that all metrics have been stored. They are stored before their request is answered.
async fn ingested(
    State(app): State<Shared>,
    caller: Caller,
    Path(OfRun { run }): Path<OfRun>,
) -> Result<Json<Value>> {
    found(&app, caller, run).await.map(|_| Json(json!({})))
}

/// Accepts and ignores the events that SDK v1 sends for a run's start, warnings and end: the status
/// of a job depends on its own process.
async fn event(
    State(app): State<Shared>,
    caller: Caller,
    Path(OfRun { run }): Path<OfRun>,
    Body(_): Body,
) -> Result<Json<Value>> {
    found(&app, caller, run).await.map(|_| Json(json!({})))
}

async fn modify(
    State(app): State<Shared>,
    caller: Caller,
    Path(OfRun { run }): Path<OfRun>,
    Body(body): Body,
) -> Result<Json<Summary>> {
    let change: Change = lenient(&body)?;
    let job = modify_run(&app, caller, run, change).await?;
    Ok(Json(Summary::of(job)))
}

/// The query parameters of the listing of child runs.
#[derive(Debug, Default, Deserialize)]
struct Children {
    #[serde(rename = "$top", alias = "top")]
    top: Option<usize>,
    #[serde(rename = "$continuationToken", alias = "$continuationtoken")]
    token: Option<String>,
}

/// The default number of runs on one page.
const PAGE: usize = 100;

async fn children(
    State(app): State<Shared>,
    caller: Caller,
    Path(OfRun { run }): Path<OfRun>,
    Query(query): Query<Children>,
) -> Result<Json<RunPage>> {
    let after = match &query.token {
        Some(token) => token
            .parse()
            .map_err(|_| Error::invalid(format!("{token:?} is no place in the list")))?,
        None => 0,
    };
    let top = query.top.unwrap_or(PAGE).clamp(1, 1000);
    let parent = run.clone();
    let mut children = app
        .db(move |store| {
            caller.may_use(store, &run)?;
            if mlflow::get_run(store, &run)?.is_none() {
                return Err(missing(&run));
            }
            mlflow::children(store, &run, after, top + 1)?
                .iter()
                .map(|child| job::of_run(store, child))
                .collect::<Result<Vec<Job>>>()
        })
        .await?;
    let more = children.len() > top;
    children.truncate(top);
    let token = children
        .last()
        .filter(|_| more)
        .map(|last| last.seq.to_string());
    let next_link = token.as_deref().map(|token| {
        let path = scope().run_history(&parent, "/children");
        let top = top.to_string();
        next_link(
            &app,
            &path,
            &[("$continuationToken", Some(token)), ("$top", Some(&top))],
        )
    });
    Ok(Json(RunPage {
        value: children.into_iter().map(Summary::of).collect(),
        next_link,
        continuation_token: token,
    }))
}

async fn service_instances() -> Json<Value> {
    Json(json!({ "instances": {} }))
}

/// The run that the request names.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RunDataRequest {
    run_id: String,
}

async fn run_data(
    State(app): State<Shared>,
    caller: Caller,
    Body(body): Body,
) -> Result<Json<RunData>> {
    let request: RunDataRequest = lenient(&body)?;
    let job = found(&app, caller, request.run_id).await?;
    let output = |output: NamedOutput| {
        let shown = Output {
            kind: asset_type(output.kind),
            asset_id: output.uri,
        };
        (output.name, shown)
    };
    Ok(Json(RunData {
        job_specification: resource(
            &["jobs", &job.name],
            &job.created_at,
            job.properties.clone(),
        ),
        run_metadata: Metadata {
            outputs: named_outputs(&job).into_iter().map(output).collect(),
            run: Summary::of(job),
        },
    }))
}

/// The type of an output in run history. A model is reported as a folder, because the official
/// client fails on a `CustomModel` before it requests its location.
fn asset_type(kind: &'static str) -> &'static str {
    match kind {
        "custom_model" | "mlflow_model" | "triton_model" => "uri_folder",
        data => data,
    }
}

async fn artifacts(
    State(app): State<Shared>,
    caller: Caller,
    Path(OfRun { run }): Path<OfRun>,
    Query(page): Query<artifact::Page>,
) -> Result<Json<ArtifactPage>> {
    let run = check(&app, caller, &run).await?;
    let experiment = find(&app, run.to_string()).await.map(|job| job.experiment);
    let address = scope().artifacts(experiment.as_deref().unwrap_or("Default"), run.as_ref(), "");
    artifact::listed(&app, &run, &page, &address)
        .await
        .map(Json)
}

async fn content(
    State(app): State<Shared>,
    caller: Caller,
    Path(OfRun { run }): Path<OfRun>,
    Query(page): Query<artifact::Page>,
) -> Result<Json<ArtifactContent>> {
    let run = check(&app, caller, &run).await?;
    artifact::content(&app, &run, &page).await.map(Json)
}

async fn contents(
    State(app): State<Shared>,
    caller: Caller,
    Path(OfRun { run }): Path<OfRun>,
    Query(page): Query<artifact::Page>,
) -> Result<Json<arm::Page<ArtifactContent>>> {
    let run = check(&app, caller, &run).await?;
    artifact::contents(&app, &run, &page).await.map(Json)
}

async fn upload(
    State(app): State<Shared>,
    caller: Caller,
    Path(OfRun { run }): Path<OfRun>,
    headers: HeaderMap,
    Body(body): Body,
) -> Result<Json<ArtifactUploads>> {
    artifact::refuse_sdk_v1(&headers)?;
    let run = check(&app, caller, &run).await?;
    let paths: ArtifactPaths = lenient(&body)?;
    Ok(Json(artifact::places(&app, &run, &paths)))
}
