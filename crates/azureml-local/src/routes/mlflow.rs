//! MLflow's tracking calls, and its artifact service.

use super::artifact::Artifacts;
use super::user;
use crate::app::{Shared, blocking};
use crate::blob;
use crate::error::{Error, Result};
use crate::name::{BlobName, ContainerName};
use crate::routes::artifact;
use crate::server::auth::Caller;
use crate::server::body::{Json as Body, lenient};
use crate::store::mlflow::{self, Experiment, NewRun, Run};
use axum::extract::{Path, Query, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use azureml_wire::mlflow::{LogBatch, Metric, RunTag};
use chrono::Utc;
use rusqlite::Connection;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

mod search;

/// MLflow's calls, below `/api/2.0`.
pub fn router() -> Router<Shared> {
    Router::new()
        .route("/mlflow/experiments/create", post(create_experiment))
        .route("/mlflow/experiments/get", get(get_experiment))
        .route(
            "/mlflow/experiments/get-by-name",
            get(get_experiment_by_name),
        )
        .route(
            "/mlflow/experiments/search",
            post(search_experiments).get(list_experiments),
        )
        .route("/mlflow/experiments/list", get(list_experiments))
        .route("/mlflow/experiments/update", post(update_experiment))
        .route("/mlflow/experiments/delete", post(delete_experiment))
        .route("/mlflow/experiments/restore", post(restore_experiment))
        .route("/mlflow/runs/create", post(create_run))
        .route("/mlflow/runs/get", get(get_run))
        .route("/mlflow/runs/update", post(update_run))
        .route("/mlflow/runs/search", post(search_runs))
        .route("/mlflow/runs/delete", post(delete_run))
        .route("/mlflow/runs/restore", post(restore_run))
        .route("/mlflow/runs/log-metric", post(log_metric))
        .route("/mlflow/runs/log-batch", post(log_batch))
        .route("/mlflow/runs/log-parameter", post(log_parameter))
        .route("/mlflow/runs/log-inputs", post(log_inputs))
        .route("/mlflow/runs/set-tag", post(set_tag))
        .route("/mlflow/runs/delete-tag", post(delete_tag))
        .route("/mlflow/metrics/get-history", get(metric_history))
        .route("/mlflow/logged-models/search", post(search_logged_models))
        .route("/mlflow/artifacts/list", get(list_artifacts))
        .route("/mlflow-artifacts/artifacts", get(list_files))
        .route(
            "/mlflow-artifacts/artifacts/{*path}",
            put(put_artifact).get(get_artifact).delete(delete_artifact),
        )
}

fn no_run(id: &str) -> Error {
    Error::not_found(format!("there is no run {id:?} in this workspace"))
}

fn no_experiment(what: &str) -> Error {
    Error::not_found(format!("there is no experiment {what} in this workspace"))
}

/// A run that the caller may use.
fn find(store: &Connection, caller: &Caller, id: &str) -> Result<Run> {
    if id.is_empty() {
        return Err(Error::invalid("the request names no run_id"));
    }
    caller.may_use(store, id)?;
    mlflow::get_run(store, id)?.ok_or_else(|| no_run(id))
}

fn artifact_uri(run: &str) -> String {
    format!("mlflow-artifacts:/ExperimentRun/dcid.{run}")
}

/// A run with its latest data, as MLflow has it.
fn shown(store: &Connection, run: &Run) -> Result<Value> {
    let metrics = mlflow::latest_metrics(store, &run.id)?;
    let params = mlflow::params(store, &run.id)?;
    let tags = mlflow::tags(store, &run.id)?;
    let mut info = json!({
        "run_id": run.id,
        "run_uuid": run.id,
        "run_name": run.name,
        "experiment_id": run.experiment.to_string(),
        "user_id": user(),
        "status": run.status,
        "artifact_uri": artifact_uri(&run.id),
        "lifecycle_stage": run.lifecycle,
    });
    if let Some(time) = run.start_time {
        info["start_time"] = json!(time);
    }
    if let Some(time) = run.end_time {
        info["end_time"] = json!(time);
    }
    Ok(json!({
        "info": info,
        "data": { "metrics": metrics, "params": params, "tags": tags },
        "inputs": {},
    }))
}

fn experiment(experiment: &Experiment) -> Value {
    json!({
        "experiment_id": experiment.id.to_string(),
        "name": experiment.name,
        "artifact_location": format!("mlflow-artifacts:/experiments/{}", experiment.id),
        "lifecycle_stage": experiment.lifecycle,
        "creation_time": experiment.created_at,
        "last_update_time": experiment.updated_at,
        "tags": [],
    })
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ExperimentRequest {
    experiment_id: String,
    experiment_name: String,
    name: String,
    new_name: String,
}

impl ExperimentRequest {
    fn id(&self) -> Result<i64> {
        self.experiment_id
            .parse()
            .map_err(|_| no_experiment(&format!("{:?}", self.experiment_id)))
    }
}

async fn create_experiment(State(app): State<Shared>, Body(body): Body) -> Result<Json<Value>> {
    let request: ExperimentRequest = lenient(&body)?;
    if request.name.is_empty() {
        return Err(Error::invalid("an experiment needs a name"));
    }
    let id = app
        .db(move |store| {
            if mlflow::experiment_by_name(store, &request.name)?.is_some() {
                return Err(Error::conflict(format!(
                    "Experiment {:?} already exists.",
                    request.name
                )));
            }
            mlflow::experiment_named(store, &request.name)
        })
        .await?;
    Ok(Json(json!({ "experiment_id": id.to_string() })))
}

async fn get_experiment(
    State(app): State<Shared>,
    Query(request): Query<ExperimentRequest>,
) -> Result<Json<Value>> {
    let id = request.id()?;
    let found = app
        .db(move |store| {
            mlflow::experiment_by_id(store, id)?
                .ok_or_else(|| no_experiment(&format!("with id {id}")))
        })
        .await?;
    Ok(Json(json!({ "experiment": experiment(&found) })))
}

async fn get_experiment_by_name(
    State(app): State<Shared>,
    Query(request): Query<ExperimentRequest>,
) -> Result<Json<Value>> {
    let found = app
        .db(move |store| {
            mlflow::experiment_by_name(store, &request.experiment_name)?
                .ok_or_else(|| no_experiment(&format!("{:?}", request.experiment_name)))
        })
        .await?;
    Ok(Json(json!({ "experiment": experiment(&found) })))
}

async fn list_experiments(State(app): State<Shared>) -> Result<Json<Value>> {
    search_experiments(State(app), Body(json!({}))).await
}

async fn search_experiments(State(app): State<Shared>, Body(body): Body) -> Result<Json<Value>> {
    let request: search::Request = lenient(&body)?;
    let filter = search::Filter::parse(&request.filter)?;
    let mut found = app.db(mlflow::experiments).await?;
    found.retain(|found| {
        search::shows(request.view(), &found.lifecycle)
            && filter.holds(|kind, key| match (kind, key) {
                (search::Kind::Attribute, "name") => {
                    Some(search::Operand::Text(found.name.clone()))
                }
                (search::Kind::Attribute, "experiment_id") => {
                    Some(search::Operand::Text(found.id.to_string()))
                }
                (search::Kind::Attribute, "creation_time") => {
                    Some(search::Operand::Number(found.created_at as f64))
                }
                (search::Kind::Attribute, "last_update_time") => {
                    Some(search::Operand::Number(found.updated_at as f64))
                }
                _ => None,
            })
    });
    let (page, next) = request.page(found)?;
    let mut answer = json!({ "experiments": page.iter().map(experiment).collect::<Vec<_>>() });
    if let Some(next) = next {
        answer["next_page_token"] = json!(next);
    }
    Ok(Json(answer))
}

async fn update_experiment(State(app): State<Shared>, Body(body): Body) -> Result<Json<Value>> {
    let request: ExperimentRequest = lenient(&body)?;
    let id = request.id()?;
    app.db(move |store| {
        if mlflow::experiment_by_name(store, &request.new_name)?.is_some_and(|found| found.id != id)
        {
            return Err(Error::conflict(format!(
                "there is an experiment {:?} already",
                request.new_name
            )));
        }
        if mlflow::rename_experiment(store, id, &request.new_name)? {
            Ok(())
        } else {
            Err(no_experiment(&format!("with id {id}")))
        }
    })
    .await?;
    Ok(Json(json!({})))
}

async fn delete_experiment(state: State<Shared>, body: Body) -> Result<Json<Value>> {
    experiment_lifecycle(state, body, "deleted").await
}

async fn restore_experiment(state: State<Shared>, body: Body) -> Result<Json<Value>> {
    experiment_lifecycle(state, body, "active").await
}

async fn experiment_lifecycle(
    State(app): State<Shared>,
    Body(body): Body,
    lifecycle: &'static str,
) -> Result<Json<Value>> {
    let request: ExperimentRequest = lenient(&body)?;
    let id = request.id()?;
    let there = app
        .db(move |store| mlflow::set_experiment_lifecycle(store, id, lifecycle))
        .await?;
    if there {
        Ok(Json(json!({})))
    } else {
        Err(no_experiment(&format!("with id {id}")))
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct CreateRun {
    experiment_id: Option<String>,
    run_name: Option<String>,
    start_time: Option<i64>,
    tags: Vec<RunTag>,
}

async fn create_run(
    State(app): State<Shared>,
    caller: Caller,
    Body(body): Body,
) -> Result<Json<Value>> {
    let request: CreateRun = lenient(&body)?;
    let run = app
        .db(move |store| {
            let tag = |key: &str| {
                request
                    .tags
                    .iter()
                    .find(|tag| tag.key == key)
                    .map(|tag| tag.value.clone())
            };
            // A job's processes make children of their run, nothing else.
            if let Caller::Run(own) = &caller {
                let parent = tag("mlflow.parentRunId").ok_or_else(|| {
                    Error::Denied(format!(
                        "the token of run {own} makes no runs but children of its own"
                    ))
                })?;
                caller.may_use(store, &parent)?;
            }
            let experiment: i64 = match request.experiment_id.as_deref() {
                None | Some("") => 0,
                Some(id) => id.parse().map_err(|_| no_experiment(&format!("{id:?}")))?,
            };
            if mlflow::experiment_by_id(store, experiment)?.is_none() {
                return Err(no_experiment(&format!("with id {experiment}")));
            }
            let id = uuid::Uuid::new_v4().simple().to_string();
            let name = request
                .run_name
                .filter(|name| !name.is_empty())
                .or_else(|| tag("mlflow.runName"))
                .unwrap_or_else(|| format!("run-{}", &id[..8]));
            mlflow::insert_run(
                store,
                &NewRun {
                    id: &id,
                    experiment,
                    name: &name,
                    status: "RUNNING",
                    start_time: Some(
                        request
                            .start_time
                            .unwrap_or_else(|| Utc::now().timestamp_millis()),
                    ),
                },
            )?;
            for tag in &request.tags {
                mlflow::set_tag(store, &id, &tag.key, &tag.value)?;
            }
            mlflow::set_tag(store, &id, "mlflow.runName", &name)?;
            let run = mlflow::get_run(store, &id)?.ok_or_else(|| no_run(&id))?;
            shown(store, &run)
        })
        .await?;
    Ok(Json(json!({ "run": run })))
}

/// What most calls on a run have; `run_uuid` is the older name of `run_id`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RunRequest {
    run_id: String,
    run_uuid: String,
    key: String,
    value: String,
    run_name: Option<String>,
    status: Option<Value>,
    end_time: Option<i64>,
    metric_key: String,
    max_results: Option<usize>,
    page_token: String,
    path: String,
}

impl RunRequest {
    fn run(&self) -> &str {
        if self.run_id.is_empty() {
            &self.run_uuid
        } else {
            &self.run_id
        }
    }
}

async fn get_run(
    State(app): State<Shared>,
    caller: Caller,
    Query(request): Query<RunRequest>,
) -> Result<Json<Value>> {
    let run = app
        .db(move |store| {
            let run = find(store, &caller, request.run())?;
            shown(store, &run)
        })
        .await?;
    Ok(Json(json!({ "run": run })))
}

async fn update_run(
    State(app): State<Shared>,
    caller: Caller,
    Body(body): Body,
) -> Result<Json<Value>> {
    let request: RunRequest = lenient(&body)?;
    let info = app
        .db(move |store| {
            let mut run = find(store, &caller, request.run())?;
            if let Some(name) = &request.run_name {
                run.name.clone_from(name);
                mlflow::set_tag(store, &run.id, "mlflow.runName", name)?;
            }
            // A job's status is its own: its program ends a run before the job ends.
            if !run.is_job {
                if let Some(status) = &request.status {
                    run.status = status_word(status)?;
                }
                run.end_time = request.end_time.or(run.end_time);
            }
            mlflow::update_run(store, &run)?;
            Ok(shown(store, &run)?["info"].clone())
        })
        .await?;
    Ok(Json(json!({ "run_info": info })))
}

/// A status by its name or by its number.
fn status_word(status: &Value) -> Result<String> {
    const WORDS: [&str; 5] = ["RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED"];
    let word = match status {
        Value::String(word) => WORDS.iter().find(|known| *known == word),
        Value::Number(number) => number
            .as_u64()
            .and_then(|number| WORDS.get((number as usize).checked_sub(1)?)),
        _ => None,
    };
    word.map(|word| (*word).to_owned())
        .ok_or_else(|| Error::invalid(format!("{status} is no status of a run")))
}

async fn delete_run(state: State<Shared>, caller: Caller, body: Body) -> Result<Json<Value>> {
    run_lifecycle(state, caller, body, "deleted").await
}

async fn restore_run(state: State<Shared>, caller: Caller, body: Body) -> Result<Json<Value>> {
    run_lifecycle(state, caller, body, "active").await
}

async fn run_lifecycle(
    State(app): State<Shared>,
    caller: Caller,
    Body(body): Body,
    lifecycle: &'static str,
) -> Result<Json<Value>> {
    let request: RunRequest = lenient(&body)?;
    app.db(move |store| {
        let mut run = find(store, &caller, request.run())?;
        lifecycle.clone_into(&mut run.lifecycle);
        mlflow::update_run(store, &run)
    })
    .await?;
    Ok(Json(json!({})))
}

async fn search_runs(
    State(app): State<Shared>,
    caller: Caller,
    Body(body): Body,
) -> Result<Json<Value>> {
    let request: search::Request = lenient(&body)?;
    let filter = search::Filter::parse(&request.filter)?;
    let order = search::Order::parse_all(&request.order_by)?;
    let (runs, next) = app
        .db(move |store| {
            let mut found = Vec::new();
            for id in &request.experiment_ids {
                let id = id.parse().map_err(|_| no_experiment(&format!("{id:?}")))?;
                for run in mlflow::runs(store, id)? {
                    if !search::shows(request.view(), &run.lifecycle)
                        || matches!(&caller, Caller::Run(_))
                            && caller.may_use(store, &run.id).is_err()
                    {
                        continue;
                    }
                    let facts = search::Facts::of(store, run)?;
                    if filter.holds(|kind, key| facts.get(kind, key)) {
                        found.push(facts);
                    }
                }
            }
            search::sort(&mut found, &order);
            let (page, next) = request.page(found)?;
            let runs: Vec<Value> = page
                .iter()
                .map(|facts| shown(store, &facts.run))
                .collect::<Result<_>>()?;
            Ok((runs, next))
        })
        .await?;
    let mut answer = json!({ "runs": runs });
    if let Some(next) = next {
        answer["next_page_token"] = json!(next);
    }
    Ok(Json(answer))
}

#[derive(Debug, Deserialize)]
struct LogMetric {
    #[serde(default)]
    run_id: String,
    #[serde(default)]
    run_uuid: String,
    #[serde(flatten)]
    metric: Metric,
}

async fn log_metric(
    State(app): State<Shared>,
    caller: Caller,
    Body(body): Body,
) -> Result<Json<Value>> {
    let request: LogMetric = lenient(&body)?;
    app.db(move |store| {
        let id = if request.run_id.is_empty() {
            &request.run_uuid
        } else {
            &request.run_id
        };
        let run = find(store, &caller, id)?;
        mlflow::log_metrics(store, &run.id, &[request.metric])
    })
    .await?;
    Ok(Json(json!({})))
}

async fn log_batch(
    State(app): State<Shared>,
    caller: Caller,
    Body(body): Body,
) -> Result<Json<Value>> {
    let request: LogBatch = lenient(&body)?;
    for (what, count, most) in [
        ("metrics", request.metrics.len(), 1000),
        ("params", request.params.len(), 100),
        ("tags", request.tags.len(), 100),
    ] {
        if count > most {
            return Err(Error::invalid(format!(
                "a batch may hold {most} {what}, this one has {count}"
            )));
        }
    }
    app.db(move |store| {
        let run = find(store, &caller, &request.run_id)?;
        for param in &request.params {
            mlflow::log_param(store, &run.id, &param.key, &param.value)?;
        }
        mlflow::log_metrics(store, &run.id, &request.metrics)?;
        for tag in &request.tags {
            mlflow::set_tag(store, &run.id, &tag.key, &tag.value)?;
        }
        Ok(())
    })
    .await?;
    Ok(Json(json!({})))
}

async fn log_parameter(
    State(app): State<Shared>,
    caller: Caller,
    Body(body): Body,
) -> Result<Json<Value>> {
    let request: RunRequest = lenient(&body)?;
    app.db(move |store| {
        let run = find(store, &caller, request.run())?;
        mlflow::log_param(store, &run.id, &request.key, &request.value)
    })
    .await?;
    Ok(Json(json!({})))
}

/// Datasets that a run has read: taken note of by nobody yet.
async fn log_inputs(
    State(app): State<Shared>,
    caller: Caller,
    Body(body): Body,
) -> Result<Json<Value>> {
    let run = body["run_id"].as_str().unwrap_or_default().to_owned();
    app.db(move |store| find(store, &caller, &run)).await?;
    Ok(Json(json!({})))
}

async fn set_tag(
    State(app): State<Shared>,
    caller: Caller,
    Body(body): Body,
) -> Result<Json<Value>> {
    let request: RunRequest = lenient(&body)?;
    if request.key.is_empty() {
        return Err(Error::invalid("a tag needs a key"));
    }
    app.db(move |store| {
        let mut run = find(store, &caller, request.run())?;
        if request.key == "mlflow.runName" {
            run.name.clone_from(&request.value);
            mlflow::update_run(store, &run)?;
        }
        mlflow::set_tag(store, &run.id, &request.key, &request.value)
    })
    .await?;
    Ok(Json(json!({})))
}

async fn delete_tag(
    State(app): State<Shared>,
    caller: Caller,
    Body(body): Body,
) -> Result<Json<Value>> {
    let request: RunRequest = lenient(&body)?;
    app.db(move |store| {
        let run = find(store, &caller, request.run())?;
        if mlflow::delete_tag(store, &run.id, &request.key)? {
            Ok(())
        } else {
            Err(Error::not_found(format!(
                "run {:?} has no tag {:?}",
                run.id, request.key
            )))
        }
    })
    .await?;
    Ok(Json(json!({})))
}

async fn metric_history(
    State(app): State<Shared>,
    caller: Caller,
    Query(request): Query<RunRequest>,
) -> Result<Json<Value>> {
    let after = search::place(&request.page_token)?;
    let most = request.max_results.unwrap_or(25_000).clamp(1, 25_000);
    let mut found = app
        .db(move |store| {
            let run = find(store, &caller, request.run())?;
            mlflow::metric_history(store, &run.id, &request.metric_key, after, most + 1)
        })
        .await?;
    let more = found.len() > most;
    found.truncate(most);
    let last = found.last().map(|(place, _)| *place);
    let metrics: Vec<Metric> = found.into_iter().map(|(_, metric)| metric).collect();
    let mut answer = json!({ "metrics": metrics });
    if let Some(last) = last.filter(|_| more) {
        answer["next_page_token"] = json!(last.to_string());
    }
    Ok(Json(answer))
}

/// Models that were logged apart from a run's artifacts: there are none here.
async fn search_logged_models() -> Json<Value> {
    Json(json!({ "models": [] }))
}

/// What lies directly in a folder, as MLflow has it: folders and files, by path.
fn entries<'a>(files: impl Iterator<Item = (&'a str, u64)>, folder: &str) -> Vec<Value> {
    let folder = folder.trim_matches('/');
    let mut entries: BTreeMap<String, Value> = BTreeMap::new();
    for (path, length) in files {
        let rest = if folder.is_empty() {
            path
        } else {
            match path
                .strip_prefix(folder)
                .and_then(|rest| rest.strip_prefix('/'))
            {
                Some(rest) => rest,
                None => continue,
            }
        };
        let shown = |name: &str| {
            if folder.is_empty() {
                name.to_owned()
            } else {
                format!("{folder}/{name}")
            }
        };
        let (path, entry) = if let Some((name, _)) = rest.split_once('/') {
            (shown(name), json!({ "is_dir": true }))
        } else {
            (shown(rest), json!({ "is_dir": false, "file_size": length }))
        };
        let mut entry = entry;
        entry["path"] = json!(path);
        entries.insert(path, entry);
    }
    entries.into_values().collect()
}

async fn list_artifacts(
    State(app): State<Shared>,
    caller: Caller,
    Query(request): Query<RunRequest>,
) -> Result<Json<Value>> {
    let run = artifact::check(&app, caller, request.run()).await?;
    let all = Artifacts::of(&app, &run).all().await?;
    let files = entries(
        all.iter()
            .map(|(path, found)| (path.as_str(), found.length)),
        &request.path,
    );
    Ok(Json(json!({
        "root_uri": artifact_uri(request.run()),
        "files": files,
    })))
}

/// The run and the path within it that a path of MLflow's artifact service names.
fn within_run(path: &str) -> Result<(&str, &str)> {
    let path = path.trim_matches('/');
    path.strip_prefix("ExperimentRun/dcid.")
        .map(|rest| rest.split_once('/').unwrap_or((rest, "")))
        .ok_or_else(|| Error::not_found(format!("there are no artifacts at {path:?}")))
}

/// The blob of an artifact, in a run that the caller may use.
async fn artifact_of(app: &Shared, caller: Caller, path: &str) -> Result<BlobName> {
    let (run, path) = within_run(path)?;
    let run = artifact::check(app, caller, run).await?;
    BlobName::parse(&format!("{}/{path}", run.artifacts()))
}

#[derive(Debug, Deserialize)]
struct FolderOf {
    #[serde(default)]
    path: String,
}

async fn list_files(
    State(app): State<Shared>,
    caller: Caller,
    Query(folder): Query<FolderOf>,
) -> Result<Json<Value>> {
    let (run, path) = within_run(&folder.path)?;
    let run = artifact::check(&app, caller, run).await?;
    let all = Artifacts::of(&app, &run).all().await?;
    let mut files = entries(
        all.iter()
            .map(|(path, found)| (path.as_str(), found.length)),
        path,
    );
    // Here paths are those within the folder.
    let prefix = if path.is_empty() {
        String::new()
    } else {
        format!("{path}/")
    };
    for file in &mut files {
        let shown = file["path"]
            .as_str()
            .and_then(|path| path.strip_prefix(&prefix))
            .map(str::to_owned);
        file["path"] = json!(shown);
    }
    Ok(Json(json!({ "files": files })))
}

async fn put_artifact(
    State(app): State<Shared>,
    caller: Caller,
    Path(path): Path<String>,
    request: Request,
) -> Result<Json<Value>> {
    let name = artifact_of(&app, caller, &path).await?;
    super::blob::store(&app, name, request.into_body()).await?;
    Ok(Json(json!({})))
}

async fn get_artifact(
    State(app): State<Shared>,
    caller: Caller,
    Path(path): Path<String>,
    request: Request,
) -> Result<Response> {
    let name = artifact_of(&app, caller, &path).await?;
    super::blob::load(&app, name, request.headers()).await
}

async fn delete_artifact(
    State(app): State<Shared>,
    caller: Caller,
    Path(path): Path<String>,
) -> Result<Response> {
    let name = artifact_of(&app, caller, &path).await?;
    let home = app.home.clone();
    let container = ContainerName::default_datastore();
    blocking(move || blob::delete(&home, &container, &name)).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
