//! Experiment routes of MLflow.

use super::name;
use super::request::Fields;
use super::response::{Created, Empty, Experiments, GetExperiment, ShownExperiment};
use super::search::{self, What};
use crate::error::{Error, Result};
use crate::store::experiment::{self, Experiment};
use crate::store::mlflow::artifact_uri;
use crate::workspace::{Shared, Workspace};
use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use rusqlite::Connection;

pub fn router() -> Router<Shared> {
    Router::new()
        .route("/mlflow/experiments/create", post(create))
        .route("/mlflow/experiments/get", get(by_id))
        .route("/mlflow/experiments/get-by-name", get(by_name))
        .route("/mlflow/experiments/search", get(search).post(search))
        .route("/mlflow/experiments/list", get(search))
        .route("/mlflow/experiments/update", post(rename))
        .route("/mlflow/experiments/delete", post(delete))
        .route("/mlflow/experiments/restore", post(restore))
        .route("/mlflow/experiments/set-experiment-tag", post(set_tag))
        .route(
            "/mlflow/experiments/delete-experiment-tag",
            post(delete_tag),
        )
}

fn unknown(id: &str) -> Error {
    Error::not_found(format!("No Experiment with id={id} exists"))
}

/// The experiment with an id; the default experiment without one.
pub fn find(store: &Connection, id: Option<&str>) -> Result<Experiment> {
    let id = id.filter(|id| !id.is_empty()).unwrap_or("0");
    let number = number(id)?;
    experiment::by_id(store, number)?.ok_or_else(|| unknown(id))
}

/// Parses the id of an experiment.
pub fn number(id: &str) -> Result<i64> {
    id.parse().map_err(|_| {
        Error::invalid(format!(
            "Invalid experiment ID '{id}'. Experiment ID must be a valid integer."
        ))
    })
}

/// The experiment in the `experiment_id` field of a request.
fn asked(store: &Connection, fields: &Fields) -> Result<Experiment> {
    find(store, Some(&fields.text("experiment_id")?))
}

fn already(name: &str) -> Error {
    Error::conflict(format!(
        "Experiment(name={name}) already exists.\n\
         hint: use it, restore it if it is deleted, or choose another name"
    ))
}

fn shown(store: &Connection, experiment: &Experiment) -> Result<ShownExperiment> {
    let location = experiment
        .artifact_location
        .clone()
        .unwrap_or_else(|| artifact_uri(&format!("experiments/{}", experiment.id)));
    Ok(ShownExperiment {
        experiment_id: experiment.id.to_string(),
        name: experiment.name.clone(),
        artifact_location: location,
        lifecycle_stage: experiment.lifecycle.clone(),
        creation_time: experiment.created_at,
        last_update_time: experiment.updated_at,
        tags: experiment::tags(store, experiment.id)?,
    })
}

async fn create(State(app): State<Shared>, mut fields: Fields) -> Result<Json<Created>> {
    let name = name::experiment(&fields, "name")?;
    let location = name::artifact_location(&fields)?;
    let tags = fields
        .objects("tags")?
        .iter()
        .map(name::experiment_tag)
        .collect::<Result<Vec<_>>>()?;
    let id = app
        .db(move |store| {
            if experiment::by_name(store, &name)?.is_some() {
                return Err(already(&name));
            }
            let id = experiment::insert(store, &name, location.as_deref())?;
            for tag in &tags {
                experiment::set_tag(store, id, &tag.key, &tag.value)?;
            }
            Ok(id)
        })
        .await?;
    Ok(Json(Created {
        experiment_id: id.to_string(),
    }))
}

async fn by_id(State(app): State<Shared>, fields: Fields) -> Result<Json<GetExperiment>> {
    let found = app
        .db(move |store| shown(store, &asked(store, &fields)?))
        .await?;
    Ok(Json(GetExperiment { experiment: found }))
}

async fn by_name(State(app): State<Shared>, fields: Fields) -> Result<Json<GetExperiment>> {
    let name = fields.text("experiment_name")?;
    let found = app
        .db(move |store| {
            let found = experiment::by_name(store, &name)?.ok_or_else(|| {
                Error::not_found(format!("Could not find experiment with name '{name}'"))
            })?;
            shown(store, &found)
        })
        .await?;
    Ok(Json(GetExperiment { experiment: found }))
}

async fn search(State(app): State<Shared>, fields: Fields) -> Result<Json<Experiments>> {
    let wanted = search::read(What::Experiments, &fields)?;
    let (experiments, next) = app
        .db(move |store| {
            let found = crate::store::search::experiments(store, &wanted)?;
            let (page, next) = search::page(&wanted, found);
            let shown: Vec<ShownExperiment> = page
                .iter()
                .map(|experiment| shown(store, experiment))
                .collect::<Result<_>>()?;
            Ok((shown, next))
        })
        .await?;
    Ok(Json(Experiments {
        experiments,
        next_page_token: next,
    }))
}

async fn rename(State(app): State<Shared>, fields: Fields) -> Result<Json<Empty>> {
    let name = name::experiment(&fields, "new_name")?;
    app.db(move |store| {
        let renamed = asked(store, &fields)?;
        if renamed.check_active().is_err() {
            return Err(Error::Invalid {
                code: "INVALID_STATE",
                message: format!(
                    "Cannot rename a non-active experiment.\n\
                     hint: restore experiment `{}` first",
                    renamed.name
                ),
            });
        }
        if experiment::by_name(store, &name)?.is_some_and(|found| found.id != renamed.id) {
            return Err(already(&name));
        }
        experiment::rename(store, renamed.id, &name)
    })
    .await?;
    Ok(Json(Empty {}))
}

async fn delete(State(app): State<Shared>, fields: Fields) -> Result<Json<Empty>> {
    change_lifecycle(&app, fields, "active", "deleted").await
}

async fn restore(State(app): State<Shared>, fields: Fields) -> Result<Json<Empty>> {
    change_lifecycle(&app, fields, "deleted", "active").await
}

/// Moves an experiment to another lifecycle stage. Fails with 404 if it is not in the stage `from`.
async fn change_lifecycle(
    app: &Workspace,
    fields: Fields,
    from: &'static str,
    to: &'static str,
) -> Result<Json<Empty>> {
    app.db(move |store| {
        let found = asked(store, &fields)?;
        if found.lifecycle != from {
            return Err(unknown(&found.id.to_string()));
        }
        experiment::set_lifecycle(store, found.id, to)
    })
    .await?;
    Ok(Json(Empty {}))
}

async fn set_tag(State(app): State<Shared>, fields: Fields) -> Result<Json<Empty>> {
    let tag = name::experiment_tag(&fields)?;
    app.db(move |store| {
        let found = asked(store, &fields)?;
        found.check_active()?;
        experiment::set_tag(store, found.id, &tag.key, &tag.value)
    })
    .await?;
    Ok(Json(Empty {}))
}

async fn delete_tag(State(app): State<Shared>, fields: Fields) -> Result<Json<Empty>> {
    let key = fields.text("key")?;
    app.db(move |store| {
        let found = asked(store, &fields)?;
        found.check_active()?;
        if experiment::delete_tag(store, found.id, &key)? {
            return Ok(());
        }
        Err(Error::not_found(format!(
            "No tag with name: {key} in experiment with id {}",
            found.id
        )))
    })
    .await?;
    Ok(Json(Empty {}))
}
