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
use crate::workspace::job::{find, missing};
use crate::workspace::output::named_outputs;
use crate::workspace::{Shared, Workspace};
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::routing::{get, post};
use axum::{Json, Router};
use azureml_wire::Bag;
use azureml_wire::arm;
use azureml_wire::local::scope;
use azureml_wire::run_history::{
    ArtifactContent, ArtifactPage, ArtifactPaths, ArtifactUploads, RunWarning, STATUS_HISTORY,
};
use chrono::SecondsFormat;
use serde::Deserialize;
use serde_json::{Value, json};

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

fn shown(job: &Job) -> Value {
    json!({
        "runId": job.name,
        "runNumber": job.seq,
        "parentRunId": job.parent,
        "rootRunId": job.parent.as_ref().unwrap_or(&job.name),
        "runType": if job.is_sweep() { "azureml.sweep" } else { "azureml.scriptrun" },
        "experimentId": job.experiment_id.to_string(),
        "dataContainerId": format!("dcid.{}", job.name),
        "displayName": job.text("displayName"),
        "description": job.text("description"),
        "status": job.status,
        "createdUtc": job.created_at,
        "startTimeUtc": job.started_at,
        "endTimeUtc": job.ended_at,
        "target": target(job),
        "tags": job.tags,
        "properties": properties(job, None),
        "hidden": job.is_archived(),
        "error": job.error,
        "warnings": warnings(job),
    })
}

fn target(job: &Job) -> Option<&str> {
    job.compute()
}

fn warnings(job: &Job) -> Vec<RunWarning> {
    job.warnings
        .iter()
        .map(|message| RunWarning {
            source: Some("azureml-local".to_owned()),
            message: message.clone(),
        })
        .collect()
}

fn properties(job: &Job, history: Option<String>) -> Bag {
    let mut properties = job.own_properties().cloned().unwrap_or_default();
    if let Some(history) = history {
        properties.insert(STATUS_HISTORY.to_owned(), history);
    }
    properties
}

async fn one(
    State(app): State<Shared>,
    caller: Caller,
    Path(OfRun { run }): Path<OfRun>,
) -> Result<Json<Value>> {
    let job = found(&app, caller, run).await?;
    Ok(Json(shown(&job)))
}

async fn details(
    State(app): State<Shared>,
    caller: Caller,
    Path(OfRun { run }): Path<OfRun>,
) -> Result<Json<Value>> {
    let job = found(&app, caller, run.clone()).await?;
    let history = app
        .db(move |store| Ok(serde_json::to_string(&job::history(store, &run)?)?))
        .await?;
    let logs = Artifacts::of(&app, &RunName::parse(&job.name)?)
        .logs()
        .await?;
    let mut details = shown(&job);
    details["properties"] = json!(properties(&job, Some(history)));
    details["logFiles"] = json!(logs);
    details["inputDatasets"] = json!([]);
    details["outputDatasets"] = json!([]);
    Ok(Json(details))
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

/// The changeable fields of a run; all other fields of the service's model are ignored.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Modify {
    tags: Option<Bag>,
    properties: Option<Bag>,
    display_name: Option<String>,
    description: Option<String>,
    hidden: Option<bool>,
}

async fn modify(
    State(app): State<Shared>,
    caller: Caller,
    Path(OfRun { run }): Path<OfRun>,
    Body(body): Body,
) -> Result<Json<Value>> {
    let change: Modify = lenient(&body)?;
    let job = app
        .db(move |store| {
            caller.may_use(store, &run)?;
            let job = job::get(store, &run)?.ok_or_else(|| missing(&run))?;
            if (change.tags.is_some() || change.display_name.is_some())
                && let Some(run) = mlflow::get_run(store, &run)?
            {
                run.check_active()?;
            }
            let mut properties = job.properties;
            for (name, value) in [
                ("displayName", change.display_name),
                ("description", change.description),
            ] {
                if let Some(value) = value {
                    properties[name] = json!(value);
                }
            }
            if let Some(hidden) = change.hidden {
                properties["isArchived"] = json!(hidden);
            }
            for (key, value) in change.properties.into_iter().flatten() {
                properties["properties"][key] = json!(value);
            }
            job::set_properties(store, &run, &properties)?;
            for (key, value) in change.tags.into_iter().flatten() {
                mlflow::set_tag(store, &run, &key, &value)?;
            }
            job::get(store, &run)?.ok_or_else(|| missing(&run))
        })
        .await?;
    Ok(Json(shown(&job)))
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
) -> Result<Json<Value>> {
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
    let mut page = json!({ "value": children.iter().map(shown).collect::<Vec<_>>() });
    if let Some(last) = children.last().filter(|_| more) {
        let token = last.seq.to_string();
        let path = scope().run_history(&parent, "/children");
        let top = top.to_string();
        page["nextLink"] = json!(next_link(
            &app,
            &path,
            &[("$continuationToken", Some(&token)), ("$top", Some(&top))],
        ));
        page["continuationToken"] = json!(token);
    }
    Ok(Json(page))
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
) -> Result<Json<Value>> {
    let request: RunDataRequest = lenient(&body)?;
    let job = found(&app, caller, request.run_id).await?;
    let mut metadata = shown(&job);
    let outputs: serde_json::Map<String, Value> = named_outputs(&job)
        .into_iter()
        .map(|output| {
            let shown = json!({ "type": asset_type(output.kind), "assetId": output.uri });
            (output.name, shown)
        })
        .collect();
    metadata["outputs"] = Value::Object(outputs);
    Ok(Json(json!({
        "runMetadata": metadata,
        "jobSpecification": resource(&["jobs", &job.name], &job.created_at, &job.properties),
    })))
}

/// The type of an output in run history. A model is reported as a folder, because the official
/// client fails on a `CustomModel` before it requests its location.
fn asset_type(kind: &str) -> &str {
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
