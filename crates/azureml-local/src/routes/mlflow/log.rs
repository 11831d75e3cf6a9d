//! Logging routes of MLflow: metrics, parameters, tags and input datasets.

use super::find::{find, find_active};
use super::request::Fields;
use super::response::Empty;
use super::run::{RUN_NAME, rename};
use super::{name, search};
use crate::error::{Error, Result};
use crate::store::dataset;
use crate::store::mlflow::{self, Run};
use crate::workspace::Shared;
use crate::workspace::caller::Caller;
use axum::extract::{DefaultBodyLimit, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use azureml_wire::mlflow::{Dataset, DatasetInput, Metric, MetricHistory, Param, RunTag};
use rusqlite::Connection;

/// The maximum number of values on one page of a metric's history.
const HISTORY: i64 = 25_000;

/// The maximum number of characters of a dataset's profile.
const PROFILE: usize = 16_777_215;

/// The maximum size of a request that logs a dataset with such a profile.
const INPUTS: usize = PROFILE + (4 << 20);

pub fn router() -> Router<Shared> {
    Router::new()
        .route("/mlflow/runs/log-metric", post(log_metric))
        .route("/mlflow/runs/log-batch", post(log_batch))
        .route("/mlflow/runs/log-parameter", post(log_parameter))
        .route(
            "/mlflow/runs/log-inputs",
            post(log_inputs).layer(DefaultBodyLimit::max(INPUTS)),
        )
        .route("/mlflow/runs/set-tag", post(set_tag))
        .route("/mlflow/runs/delete-tag", post(delete_tag))
        .route("/mlflow/metrics/get-history", get(metric_history))
}

async fn log_metric(
    State(app): State<Shared>,
    caller: Caller,
    fields: Fields,
) -> Result<Json<Empty>> {
    let id = fields.run()?;
    let metric = name::metric(&fields)?;
    app.db(move |store| {
        let run = find_active(store, &caller, &id)?;
        mlflow::log_metrics(store, &run.id, &[metric])
    })
    .await?;
    Ok(Json(Empty {}))
}

/// The content of a `log-batch` request.
struct Batch {
    metrics: Vec<Metric>,
    params: Vec<Param>,
    tags: Vec<RunTag>,
}

impl Batch {
    fn read(fields: &mut Fields) -> Result<Self> {
        let (metrics, params, tags) = (
            fields.objects("metrics")?,
            fields.objects("params")?,
            fields.objects("tags")?,
        );
        for (what, count, most) in [
            ("metrics", metrics.len(), 1000),
            ("params", params.len(), 100),
            ("tags", tags.len(), 100),
            (
                "metrics, params, and tags",
                metrics.len() + params.len() + tags.len(),
                1000,
            ),
        ] {
            if count > most {
                return Err(Error::invalid(format!(
                    "A batch logging request can contain at most {most} {what}. Got {count} \
                     {what}. Please split up {what} across multiple requests and try again."
                )));
            }
        }
        let params = params
            .iter()
            .map(name::param)
            .collect::<Result<Vec<Param>>>()?;
        for (at, param) in params.iter().enumerate() {
            let differs = |other: &Param| other.key == param.key && other.value != param.value;
            if params[..at].iter().any(differs) {
                return Err(Error::invalid(format!(
                    "Duplicate parameter keys have been submitted: ['{}']. Please ensure the \
                     request contains only one param value per param key.",
                    param.key
                )));
            }
        }
        Ok(Self {
            metrics: metrics.iter().map(name::metric).collect::<Result<_>>()?,
            params,
            tags: tags.iter().map(name::tag).collect::<Result<_>>()?,
        })
    }
}

async fn log_batch(
    State(app): State<Shared>,
    caller: Caller,
    mut fields: Fields,
) -> Result<Json<Empty>> {
    let id = fields.run()?;
    let batch = Batch::read(&mut fields)?;
    app.db(move |store| {
        let mut run = find_active(store, &caller, &id)?;
        for param in &batch.params {
            mlflow::log_param(store, &run.id, &param.key, &param.value)?;
        }
        mlflow::log_metrics(store, &run.id, &batch.metrics)?;
        for tag in &batch.tags {
            tag_run(store, &mut run, tag)?;
        }
        Ok(())
    })
    .await?;
    Ok(Json(Empty {}))
}

async fn log_parameter(
    State(app): State<Shared>,
    caller: Caller,
    fields: Fields,
) -> Result<Json<Empty>> {
    let id = fields.run()?;
    let param = name::param(&fields)?;
    app.db(move |store| {
        let run = find_active(store, &caller, &id)?;
        mlflow::log_param(store, &run.id, &param.key, &param.value)
    })
    .await?;
    Ok(Json(Empty {}))
}

/// Reads an input dataset from a request.
fn dataset_input(mut fields: Fields) -> Result<DatasetInput> {
    let dataset = fields.object("dataset")?;
    let missing = |what: &str| Error::invalid(format!("{what} cannot be None"));
    let text = |name, most| {
        let text = dataset
            .optional_text(name)?
            .filter(|text| !text.is_empty())
            .ok_or_else(|| missing(&format!("Dataset {name}")))?;
        name::check_length(name, &text, most).map(|()| text)
    };
    let optional = |name, most| {
        let text = dataset.optional_text(name)?;
        name::check_length(name, text.as_deref().unwrap_or_default(), most).map(|()| text)
    };
    let tag = |fields: &Fields| {
        let text = |name, most| {
            let text = fields
                .optional_text(name)?
                .ok_or_else(|| missing(&format!("InputTag {name}")))?;
            name::check_length(name, &text, most).map(|()| text)
        };
        Ok(RunTag {
            key: text("key", 255)?,
            value: text("value", 500)?,
        })
    };
    Ok(DatasetInput {
        dataset: Dataset {
            name: text("name", 500)?,
            digest: text("digest", 36)?,
            source_type: text("source_type", 500)?,
            source: text("source", 65_535)?,
            schema: optional("schema", 1_048_575)?,
            profile: optional("profile", PROFILE)?,
        },
        tags: fields
            .objects("tags")?
            .iter()
            .map(tag)
            .collect::<Result<_>>()?,
    })
}

async fn log_inputs(
    State(app): State<Shared>,
    caller: Caller,
    mut fields: Fields,
) -> Result<Json<Empty>> {
    let id = fields.run()?;
    if let Some(model) = fields.objects("models")?.first() {
        return Err(Error::not_found(format!(
            "Logged model with ID '{}' not found: the local workspace keeps no logged models\n\
             hint: log the input without a model",
            model.text("model_id")?
        )));
    }
    let inputs = fields
        .objects("datasets")?
        .into_iter()
        .map(dataset_input)
        .collect::<Result<Vec<_>>>()?;
    app.db(move |store| {
        let run = find_active(store, &caller, &id)?;
        dataset::log(store, &run, &inputs)
    })
    .await?;
    Ok(Json(Empty {}))
}

/// Sets a tag; the tag `mlflow.runName` also renames the run.
fn tag_run(store: &Connection, run: &mut Run, tag: &RunTag) -> Result<()> {
    if tag.key == RUN_NAME {
        rename(store, run, &tag.value)
    } else {
        mlflow::set_tag(store, &run.id, &tag.key, &tag.value)
    }
}

async fn set_tag(State(app): State<Shared>, caller: Caller, fields: Fields) -> Result<Json<Empty>> {
    let id = fields.run()?;
    let tag = name::tag(&fields)?;
    app.db(move |store| {
        let mut run = find_active(store, &caller, &id)?;
        tag_run(store, &mut run, &tag)
    })
    .await?;
    Ok(Json(Empty {}))
}

async fn delete_tag(
    State(app): State<Shared>,
    caller: Caller,
    fields: Fields,
) -> Result<Json<Empty>> {
    let id = fields.run()?;
    let key = fields.text("key")?;
    app.db(move |store| {
        let run = find_active(store, &caller, &id)?;
        if mlflow::delete_tag(store, &run.id, &key)? {
            return Ok(());
        }
        Err(Error::not_found(format!(
            "No tag with name: {key} in run with id {id}"
        )))
    })
    .await?;
    Ok(Json(Empty {}))
}

async fn metric_history(
    State(app): State<Shared>,
    caller: Caller,
    fields: Fields,
) -> Result<Json<MetricHistory>> {
    let id = fields.run()?;
    let key = fields.text("metric_key")?;
    let after = search::place(&fields)?;
    let wanted = fields.optional_integer("max_results")?.unwrap_or(HISTORY);
    if wanted == 0 {
        return Ok(Json(MetricHistory::default()));
    }
    let most = usize::try_from(wanted.clamp(1, HISTORY)).unwrap_or(1);
    let mut found = app
        .db(move |store| {
            let run = find(store, &caller, &id)?;
            mlflow::metric_history(store, &run.id, &key, after, most + 1)
        })
        .await?;
    let more = found.len() > most;
    found.truncate(most);
    let last = found.last().map(|(place, _)| *place);
    Ok(Json(MetricHistory {
        metrics: found.into_iter().map(|(_, metric)| metric).collect(),
        next_page_token: last.filter(|_| more).map(|last| last.to_string()),
    }))
}
