//! The metric service of SDK v1 (`Run.log`).
//!
//! Values are stored as they are logged. Their numbers are also stored as MLflow metrics; those of
//! a table row have the key `row/column`.

use crate::error::{Error, Result};
use crate::read::lenient;
use crate::server::body::Json as Body;
use crate::store::mlflow;
use crate::store::sdk_metric::{self, Definition};
use crate::workspace::Shared;
use crate::workspace::caller::Caller;
use crate::workspace::job::missing;
use axum::extract::{Path, State};
use axum::routing::post;
use axum::{Json, Router};
use azureml_wire::arm::Page;
use azureml_wire::mlflow::Metric;
use chrono::{DateTime, SecondsFormat, Utc};
use rusqlite::Connection;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// The routes of the metric service.
pub fn router() -> Router<Shared> {
    Router::new()
        .route("/runs/{run}/batch", post(log))
        .route("/runs/{run}/list", post(names))
        .route("/runs/{run}/full", post(full))
}

/// The type of a metric whose values are single numbers.
const SCALAR: &str = "azureml.v1.scalar";

/// The type of a metric whose values are rows.
const TABLE: &str = "azureml.v1.table";

/// The limit that returns all values of a metric.
const EVERY: usize = i64::MAX as usize;

#[derive(Deserialize)]
struct Batch {
    #[serde(default)]
    values: Vec<Logged>,
}

/// A metric with some of its values.
#[derive(Deserialize)]
struct Logged {
    name: String,
    #[serde(default)]
    columns: BTreeMap<String, String>,
    #[serde(default)]
    value: Vec<LoggedValue>,
    #[serde(default)]
    properties: Option<Properties>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Properties {
    ux_metric_type: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LoggedValue {
    metric_id: Option<String>,
    #[serde(rename = "createdUtc")]
    created: Option<DateTime<Utc>>,
    step: Option<i64>,
    #[serde(default)]
    data: Map<String, Value>,
}

/// The response to logged values. A wrong value fails the whole request.
#[derive(Serialize)]
struct LogResult {
    errors: [(); 0],
}

/// A metric in the list of a run's metrics.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    metric_key: Key,
    columns: BTreeMap<String, String>,
    properties: Shape,
}

#[derive(Serialize)]
struct Key {
    name: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shape {
    ux_metric_type: String,
}

impl Shape {
    fn of(kind: String) -> Self {
        Self {
            ux_metric_type: kind,
        }
    }
}

/// A metric with its values.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WithValues {
    data_container_id: String,
    name: String,
    columns: BTreeMap<String, String>,
    properties: Shape,
    value: Vec<ShownValue>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownValue {
    metric_id: String,
    created_utc: String,
    step: Option<i64>,
    data: Map<String, Value>,
}

impl Logged {
    fn definition(&self) -> Definition {
        let kind = self
            .properties
            .as_ref()
            .and_then(|properties| properties.ux_metric_type.clone());
        let is_scalar = self.columns.len() < 2 && !self.columns.keys().any(|c| *c != self.name);
        Definition {
            name: self.name.clone(),
            kind: kind.unwrap_or_else(|| if is_scalar { SCALAR } else { TABLE }.to_owned()),
            columns: self.columns.clone(),
        }
    }
}

impl LoggedValue {
    fn stored(&self) -> sdk_metric::Logged {
        let created = self.created.unwrap_or_else(Utc::now).timestamp_millis();
        let id = self.metric_id.clone();
        sdk_metric::Logged {
            // A value without an id gets one from its content, so that a repeated request is
            // idempotent.
            id: id.unwrap_or_else(|| format!("{created} {}", json!(self.data))),
            created,
            step: self.step,
            data: self.data.clone(),
            metric: None,
        }
    }
}

async fn log(
    State(app): State<Shared>,
    caller: Caller,
    Path(run): Path<String>,
    Body(body): Body,
) -> Result<Json<LogResult>> {
    let batch: Batch = lenient(&body)?;
    app.db(move |store| {
        check(store, &caller, &run)?;
        for logged in &batch.values {
            sdk_metric::define(store, &run, &logged.definition())?;
            for value in &logged.value {
                log_value(store, &run, &logged.name, &value.stored())?;
            }
        }
        Ok(())
    })
    .await?;
    Ok(Json(LogResult { errors: [] }))
}

/// Stores a value, and its numbers as MLflow metrics. Idempotent: a repeated value is ignored.
fn log_value(store: &Connection, run: &str, name: &str, value: &sdk_metric::Logged) -> Result<()> {
    if !sdk_metric::log(store, run, name, value)? {
        return Ok(());
    }
    for (column, cell) in &value.data {
        let Some(number) = number(cell) else {
            continue;
        };
        let key = key(name, column);
        let step = match value.step {
            Some(step) => step,
            None => mlflow::count(store, run, &key)?,
        };
        let metric = Metric {
            key,
            value: number,
            timestamp: value.created,
            step,
        };
        mlflow::log_metrics(store, run, &[metric])?;
        if column == name {
            sdk_metric::link(store, run, name, &value.id)?;
        }
    }
    Ok(())
}

/// The MLflow key for the numbers of a column.
fn key(name: &str, column: &str) -> String {
    if column == name {
        name.to_owned()
    } else {
        format!("{name}/{column}")
    }
}

/// The number in a cell. Non-finite numbers come as text because JSON cannot represent them.
fn number(cell: &Value) -> Option<f64> {
    match cell {
        Value::Number(number) => number.as_f64(),
        Value::Bool(yes) => Some(f64::from(u8::from(*yes))),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

async fn names(
    State(app): State<Shared>,
    caller: Caller,
    Path(run): Path<String>,
) -> Result<Json<Page<Listed>>> {
    let metrics = app
        .db(move |store| {
            check(store, &caller, &run)?;
            let mut metrics = sdk_metric::all(store, &run)?;
            let known: BTreeSet<String> = metrics
                .iter()
                .flat_map(|metric| {
                    metric
                        .columns
                        .keys()
                        .map(|column| key(&metric.name, column))
                })
                .collect();
            // The metrics that MLflow clients have logged are listed, too.
            let others = mlflow::latest_metrics(store, &run)?;
            let others = others.into_iter().map(|metric| metric.key);
            metrics.extend(others.filter(|key| !known.contains(key)).map(single));
            Ok(metrics)
        })
        .await?;
    let shown = metrics.into_iter().map(|metric| Listed {
        metric_key: Key { name: metric.name },
        columns: metric.columns,
        properties: Shape::of(metric.kind),
    });
    Ok(Json(Page {
        value: shown.collect(),
        next_link: None,
    }))
}

/// The definition of a metric that an MLflow client has logged.
fn single(name: String) -> Definition {
    Definition {
        columns: [(name.clone(), "Double".to_owned())].into(),
        kind: SCALAR.to_owned(),
        name,
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Full {
    metric_name: String,
}

async fn full(
    State(app): State<Shared>,
    caller: Caller,
    Path(run): Path<String>,
    Body(body): Body,
) -> Result<Json<WithValues>> {
    let Full { metric_name: name } = lenient(&body)?;
    let of = run.clone();
    let (metric, values) = app
        .db(move |store| {
            check(store, &caller, &of)?;
            values(store, &of, name)
        })
        .await?;
    if values.is_empty() {
        return Err(Error::not_found(format!(
            "run {run} has no metric {:?}",
            metric.name
        )));
    }
    let values = values.into_iter().map(|value| {
        let created = DateTime::from_timestamp_millis(value.created).unwrap_or_default();
        ShownValue {
            metric_id: value.id,
            created_utc: created.to_rfc3339_opts(SecondsFormat::Millis, true),
            step: value.step,
            data: value.data,
        }
    });
    Ok(Json(WithValues {
        data_container_id: format!("dcid.{run}"),
        name: metric.name,
        columns: metric.columns,
        properties: Shape::of(metric.kind),
        value: values.collect(),
    }))
}

/// A metric with its values: those that SDK v1 logged, unchanged, and MLflow's values of that name.
fn values(
    store: &Connection,
    run: &str,
    name: String,
) -> Result<(Definition, Vec<sdk_metric::Logged>)> {
    let known = sdk_metric::get(store, run, &name)?;
    let mut metric = known.unwrap_or_else(|| single(name));
    let mut values = sdk_metric::values(store, run, &mut metric)?;
    let name = &metric.name;
    if metric.columns.keys().ne([name]) {
        return Ok((metric, values));
    }
    let linked: BTreeSet<i64> = values.iter().filter_map(|value| value.metric).collect();
    let others = mlflow::metric_history(store, run, name, 0, EVERY)?;
    for (place, other) in others {
        if linked.contains(&place) {
            continue;
        }
        // JSON cannot represent non-finite numbers, so they are sent as text.
        let shown = if other.value.is_finite() {
            json!(other.value)
        } else {
            json!(other.value.to_string())
        };
        values.push(sdk_metric::Logged {
            id: place.to_string(),
            created: other.timestamp,
            step: Some(other.step),
            data: [(name.clone(), shown)].into_iter().collect(),
            metric: Some(place),
        });
    }
    values.sort_by_key(|value| value.created);
    Ok((metric, values))
}

/// Returns an error if the run does not exist or the caller has no access to it.
fn check(store: &Connection, caller: &Caller, run: &str) -> Result<()> {
    caller.may_use(store, run)?;
    match mlflow::get_run(store, run)? {
        Some(_) => Ok(()),
        None => Err(missing(run)),
    }
}
