//! Run routes of MLflow: create, get, update, delete, restore and search.

use super::find::{find, find_active};
use super::request::Fields;
use super::response::{Empty, LoggedModels, Runs, Updated};
use super::search::{self, What};
use super::{experiment, name};
use crate::error::{Error, Result};
use crate::store::mlflow::{self, NewRun, PARENT, Run};
use crate::store::{dataset, search as query};
use crate::workspace::caller::Caller;
use crate::workspace::{Shared, Workspace};
use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use azureml_wire::mlflow::{self as wire, GetRun, RunData, RunInfo, RunInputs, RunTag};
use chrono::Utc;
use rusqlite::Connection;

/// The tag with the name of a run.
pub const RUN_NAME: &str = "mlflow.runName";

pub fn router() -> Router<Shared> {
    Router::new()
        .route("/mlflow/runs/create", post(create))
        .route("/mlflow/runs/get", get(one))
        .route("/mlflow/runs/update", post(update))
        .route("/mlflow/runs/search", post(search))
        .route("/mlflow/runs/delete", post(delete))
        .route("/mlflow/runs/restore", post(restore))
        .route("/mlflow/logged-models/search", post(search_logged_models))
}

fn info(run: &Run) -> RunInfo {
    RunInfo {
        run_id: run.id.clone(),
        run_uuid: run.id.clone(),
        run_name: Some(run.name.clone()),
        experiment_id: run.experiment.to_string(),
        user_id: Some(run.user.clone()),
        status: run.status.clone(),
        start_time: run.start_time,
        end_time: run.end_time,
        artifact_uri: Some(run.artifact_uri.clone()),
        lifecycle_stage: run.lifecycle.clone(),
    }
}

/// A run with its latest data, in MLflow's format.
fn shown(store: &Connection, run: &Run) -> Result<wire::Run> {
    Ok(wire::Run {
        info: info(run),
        data: RunData {
            metrics: mlflow::latest_metrics(store, &run.id)?,
            params: mlflow::params(store, &run.id)?,
            tags: mlflow::tags(store, &run.id)?,
        },
        inputs: RunInputs {
            dataset_inputs: dataset::of_run(store, &run.id)?,
        },
    })
}

/// The fields of a request to create a run.
struct Asked {
    experiment: Option<String>,
    user: Option<String>,
    name: Option<String>,
    start_time: Option<i64>,
    tags: Vec<RunTag>,
}

impl Asked {
    fn read(mut fields: Fields) -> Result<Self> {
        let tags = fields
            .objects("tags")?
            .iter()
            .map(name::tag)
            .collect::<Result<_>>()?;
        let text = |name| -> Result<Option<String>> {
            Ok(fields.optional_text(name)?.filter(|text| !text.is_empty()))
        };
        let asked = Self {
            experiment: text("experiment_id")?,
            user: text("user_id")?,
            name: text("run_name")?,
            start_time: fields.optional_integer("start_time")?,
            tags,
        };
        match (&asked.name, asked.tag(RUN_NAME)) {
            (Some(name), Some(tag)) if name != tag && !tag.is_empty() => {
                Err(Error::invalid(format!(
                    "Both 'run_name' argument and 'mlflow.runName' tag are specified, but with \
                     different values (run_name='{name}', mlflow.runName='{tag}')."
                )))
            }
            _ => Ok(asked),
        }
    }

    fn tag(&self, key: &str) -> Option<&str> {
        let tag = self.tags.iter().rfind(|tag| tag.key == key)?;
        Some(&tag.value)
    }

    /// Lets the processes of a job create child runs of their run only.
    fn check_caller(&self, store: &Connection, caller: &Caller) -> Result<()> {
        let Caller::Run(own) = caller else {
            return Ok(());
        };
        let parent = self.tag(PARENT).ok_or_else(|| {
            Error::Denied(format!(
                "the token of run {own} makes no runs but children of its own"
            ))
        })?;
        caller.may_use(store, parent)
    }

    fn make(&self, store: &Connection) -> Result<Run> {
        let experiment = experiment::find(store, self.experiment.as_deref())?;
        experiment.check_active()?;
        let id = uuid::Uuid::new_v4().simple().to_string();
        let tagged = self.tag(RUN_NAME).filter(|name| !name.is_empty());
        let name = match self.name.as_deref().or(tagged) {
            Some(name) => name.to_owned(),
            None => name::generated(),
        };
        let artifact_uri = experiment
            .artifact_location
            .map(|location| below(&location, &id));
        mlflow::insert_run(
            store,
            &NewRun {
                id: &id,
                experiment: experiment.id,
                name: &name,
                status: "RUNNING",
                start_time: Some(
                    self.start_time
                        .unwrap_or_else(|| Utc::now().timestamp_millis()),
                ),
                user: self.user.as_deref(),
                artifact_uri: artifact_uri.as_deref(),
            },
        )?;
        for tag in &self.tags {
            mlflow::set_tag(store, &id, &tag.key, &tag.value)?;
        }
        mlflow::set_tag(store, &id, RUN_NAME, &name)?;
        mlflow::get_run(store, &id)?
            .ok_or_else(|| Error::Internal(format!("run {id} is not there after it was made")))
    }
}

/// The artifact location of a run below that of its experiment; a query stays at the end.
fn below(location: &str, run: &str) -> String {
    let (path, query) = match location.split_once('?') {
        Some((path, query)) => (path, format!("?{query}")),
        None => (location, String::new()),
    };
    format!("{}/{run}/artifacts{query}", path.trim_end_matches('/'))
}

async fn create(State(app): State<Shared>, caller: Caller, fields: Fields) -> Result<Json<GetRun>> {
    let asked = Asked::read(fields)?;
    let run = app
        .db(move |store| {
            asked.check_caller(store, &caller)?;
            shown(store, &asked.make(store)?)
        })
        .await?;
    Ok(Json(GetRun { run }))
}

async fn one(State(app): State<Shared>, caller: Caller, fields: Fields) -> Result<Json<GetRun>> {
    let id = fields.run()?;
    let run = app
        .db(move |store| shown(store, &find(store, &caller, &id)?))
        .await?;
    Ok(Json(GetRun { run }))
}

async fn update(
    State(app): State<Shared>,
    caller: Caller,
    fields: Fields,
) -> Result<Json<Updated>> {
    let id = fields.run()?;
    let name = fields.optional_text("run_name")?;
    let status = name::status(&fields)?;
    let end_time = fields.optional_integer("end_time")?;
    let run_info = app
        .db(move |store| {
            let mut run = find_active(store, &caller, &id)?;
            // The workspace sets the status of a job: its script ends the MLflow run before the job
            // ends.
            if !run.is_job {
                run.status = status.unwrap_or(run.status);
                run.end_time = end_time.or(run.end_time);
            }
            mlflow::update_run(store, &run)?;
            if let Some(name) = name {
                rename(store, &mut run, &name)?;
            }
            Ok(info(&run))
        })
        .await?;
    Ok(Json(Updated { run_info }))
}

/// Renames a run; an empty name changes nothing.
pub fn rename(store: &Connection, run: &mut Run, name: &str) -> Result<()> {
    if name.is_empty() {
        return Ok(());
    }
    name.clone_into(&mut run.name);
    mlflow::update_run(store, run)?;
    mlflow::set_tag(store, &run.id, RUN_NAME, name)
}

async fn delete(State(app): State<Shared>, caller: Caller, fields: Fields) -> Result<Json<Empty>> {
    change_lifecycle(&app, caller, &fields, "deleted").await
}

async fn restore(State(app): State<Shared>, caller: Caller, fields: Fields) -> Result<Json<Empty>> {
    change_lifecycle(&app, caller, &fields, "active").await
}

async fn change_lifecycle(
    app: &Workspace,
    caller: Caller,
    fields: &Fields,
    lifecycle: &'static str,
) -> Result<Json<Empty>> {
    let id = fields.run()?;
    app.db(move |store| {
        let mut run = find(store, &caller, &id)?;
        lifecycle.clone_into(&mut run.lifecycle);
        mlflow::update_run(store, &run)
    })
    .await?;
    Ok(Json(Empty {}))
}

async fn search(State(app): State<Shared>, caller: Caller, fields: Fields) -> Result<Json<Runs>> {
    let wanted = search::read(What::Runs, &fields)?;
    let experiments = fields
        .texts("experiment_ids")?
        .iter()
        .map(|id| experiment::number(id))
        .collect::<Result<Vec<i64>>>()?;
    let (runs, next) = app
        .db(move |store| {
            // The token of a run gives access to this run and its descendants only.
            let within = match &caller {
                Caller::Run(own) => Some(own.as_str()),
                _ => None,
            };
            let found = query::runs(store, &wanted, &experiments, within)?;
            let (page, next) = search::page(&wanted, found);
            let runs: Vec<wire::Run> = page
                .iter()
                .map(|run| shown(store, run))
                .collect::<Result<_>>()?;
            Ok((runs, next))
        })
        .await?;
    Ok(Json(Runs {
        runs,
        next_page_token: next,
    }))
}

/// Returns an empty list: logged models apart from a run's artifacts are not supported.
async fn search_logged_models() -> Json<LoggedModels> {
    Json(LoggedModels { models: [] })
}

#[cfg(test)]
mod tests {
    use super::below;

    #[test]
    fn a_run_has_its_artifacts_below_those_of_its_experiment() {
        for (location, expected) in [
            ("/data", "/data/r/artifacts"),
            (
                "s3://bucket/a/?version=1",
                "s3://bucket/a/r/artifacts?version=1",
            ),
        ] {
            assert_eq!(below(location, "r"), expected);
        }
    }
}
