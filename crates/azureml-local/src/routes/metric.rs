//! The metric service of SDK v1 (`Run.log`): its values are MLflow's metrics. A row has one for each of its columns.

use crate::app::Shared;
use crate::error::{Error, Result};
use crate::server::auth::Caller;
use crate::server::body::{Json as Body, lenient};
use crate::store::mlflow;
use axum::extract::{Path, State};
use axum::routing::post;
use axum::{Json, Router};
use azureml_wire::mlflow::Metric;
use chrono::{DateTime, SecondsFormat, Utc};
use rusqlite::Connection;
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// The metric service's calls.
pub fn router() -> Router<Shared> {
    Router::new()
        .route("/runs/{run}/batch", post(log))
        .route("/runs/{run}/list", post(names))
        .route("/runs/{run}/full", post(full))
}

/// The type of a metric whose values are single numbers.
const SCALAR: &str = "azureml.v1.scalar";

/// All values of a metric.
const EVERY: usize = i64::MAX as usize;

#[derive(Deserialize)]
struct Batch {
    #[serde(default)]
    values: Vec<Logged>,
}

/// A metric with some of its values.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Logged {
    name: String,
    #[serde(default)]
    value: Vec<LoggedValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LoggedValue {
    #[serde(rename = "createdUtc")]
    created: Option<DateTime<Utc>>,
    step: Option<i64>,
    #[serde(default)]
    data: Map<String, Value>,
}

async fn log(
    State(app): State<Shared>,
    caller: Caller,
    Path(run): Path<String>,
    Body(body): Body,
) -> Result<Json<Value>> {
    let batch: Batch = lenient(&body)?;
    let errors = app
        .db(move |store| {
            check(store, &caller, &run)?;
            let mut errors = Vec::new();
            for logged in &batch.values {
                for value in &logged.value {
                    errors.extend(log_value(store, &run, logged, value)?);
                }
            }
            Ok(errors)
        })
        .await?;
    Ok(Json(json!({ "errors": errors })))
}

/// Logs the columns of one value. Gives those that are no numbers, as errors.
fn log_value(
    store: &Connection,
    run: &str,
    logged: &Logged,
    value: &LoggedValue,
) -> Result<Vec<Value>> {
    let timestamp = value.created.unwrap_or_else(Utc::now).timestamp_millis();
    let mut errors = Vec::new();
    for (column, cell) in &value.data {
        let key = if *column == logged.name {
            logged.name.clone()
        } else {
            format!("{}/{column}", logged.name)
        };
        let Some(number) = number(cell) else {
            let error = Error::invalid(format!(
                "the metric {key:?} was not logged: {cell} is no number"
            ));
            errors.push(json!({
                "metric": { "name": logged.name },
                "errorResponse": crate::server::render::body(&error),
            }));
            continue;
        };
        let history = mlflow::metric_history(store, run, &key, 0, EVERY)?;
        // A batch that is sent again changes nothing.
        let is_same = |(_, metric): &(i64, Metric)| {
            metric.timestamp == timestamp && metric.value.to_bits() == number.to_bits()
        };
        if value.step.is_none() && history.iter().any(is_same) {
            continue;
        }
        let metric = Metric {
            key,
            value: number,
            timestamp,
            step: value.step.unwrap_or(history.len() as i64),
        };
        mlflow::log_metrics(store, run, &[metric])?;
    }
    Ok(errors)
}

/// A number, or its text: JSON has none for what is no finite number.
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
) -> Result<Json<Value>> {
    let metrics = app
        .db(move |store| {
            check(store, &caller, &run)?;
            mlflow::latest_metrics(store, &run)
        })
        .await?;
    let value: Vec<Value> = metrics
        .into_iter()
        .map(|metric| {
            json!({
                "metricKey": { "name": metric.key },
                "columns": { metric.key.clone(): "Double" },
                "properties": { "uxMetricType": SCALAR },
            })
        })
        .collect();
    Ok(Json(json!({ "value": value })))
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
) -> Result<Json<Value>> {
    let Full { metric_name: name } = lenient(&body)?;
    let (of, key) = (run.clone(), name.clone());
    let history = app
        .db(move |store| {
            check(store, &caller, &of)?;
            mlflow::metric_history(store, &of, &key, 0, EVERY)
        })
        .await?;
    if history.is_empty() {
        return Err(Error::not_found(format!(
            "run {run} has no metric {name:?}"
        )));
    }
    let value: Vec<Value> = history
        .into_iter()
        .map(|(seq, metric)| {
            let created = DateTime::from_timestamp_millis(metric.timestamp).unwrap_or_default();
            // A value that JSON has no number for goes as its text.
            let shown = if metric.value.is_finite() {
                json!(metric.value)
            } else {
                json!(metric.value.to_string())
            };
            json!({
                "metricId": seq.to_string(),
                "createdUtc": created.to_rfc3339_opts(SecondsFormat::Millis, true),
                "step": metric.step,
                "data": { name.clone(): shown },
            })
        })
        .collect();
    Ok(Json(json!({
        "dataContainerId": format!("dcid.{run}"),
        "name": name,
        "columns": { name.clone(): "Double" },
        "properties": { "uxMetricType": SCALAR },
        "value": value,
    })))
}

/// Refuses a run that is not there or that the caller may not use.
fn check(store: &Connection, caller: &Caller, run: &str) -> Result<()> {
    caller.may_use(store, run)?;
    match mlflow::get_run(store, run)? {
        Some(_) => Ok(()),
        None => Err(super::job::missing(run)),
    }
}
