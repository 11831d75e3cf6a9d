//! MLflow runs: every acknowledged metric, parameter and tag is present exactly once.

use crate::http::{Response, Service};
use crate::journal::Journal;
use crate::run::Run;
use azureml_wire::local::scope;
use fastrand::Rng;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The name of the metric, the same in all runs.
const KEY: &str = "loss";

/// Logs to one run after the other until the journal is over. Every call is retried until it is
/// acknowledged.
pub fn log(service: &Service, journal: &Journal, mut rng: Rng) {
    while !journal.is_over() {
        let body = json!({ "experiment_id": "0", "start_time": 1 });
        let Some(created) = call(service, journal, "runs/create", &body) else {
            continue;
        };
        let created = created.json();
        let id = created["run"]["info"]["run_id"]
            .as_str()
            .unwrap_or_default();
        journal.acknowledge(|state| state.runs.insert(id.to_owned(), Run::default()));
        let mut step = 0;
        for _ in 0..rng.usize(20..80) {
            if journal.is_over() {
                return;
            }
            log_some(service, journal, &mut rng, id, &mut step);
        }
        let body = json!({ "run_id": id, "status": "FINISHED", "end_time": 2 });
        if call(service, journal, "runs/update", &body).is_some() {
            update(journal, id, |run| run.finished = true);
        }
        verify_one(service, journal, id);
    }
}

/// Logs one metric, tag or other item to a run.
fn log_some(service: &Service, journal: &Journal, rng: &mut Rng, id: &str, step: &mut i64) {
    match rng.u8(..4) {
        0 => {
            *step += 1;
            let (name, value) = (format!("p{step}"), rng.u32(..).to_string());
            let body = json!({ "run_id": id, "key": name, "value": value });
            if call(service, journal, "runs/log-parameter", &body).is_some() {
                update(journal, id, |run| drop(run.params.insert(name, value)));
            }
        }
        1 => {
            // Overwritten repeatedly.
            let (name, value) = (format!("t{}", rng.u8(..3)), rng.u32(..).to_string());
            let body = json!({ "run_id": id, "key": name, "value": value });
            if call(service, journal, "runs/set-tag", &body).is_some() {
                update(journal, id, |run| drop(run.tags.insert(name, value)));
            }
        }
        _ => {
            let values: BTreeMap<i64, f64> = (0..rng.i64(1..50))
                .map(|more| (*step + more, f64::from(rng.u32(..1000))))
                .collect();
            *step += values.len() as i64;
            let metric = |(step, value): (&i64, &f64)| json!({ "key": KEY, "value": value, "timestamp": step, "step": step });
            let metrics: Vec<Value> = values.iter().map(metric).collect();
            let body = json!({ "run_id": id, "metrics": metrics });
            let times = 1 + usize::from(rng.u8(..5) == 0);
            for _ in 0..times {
                // The second time is a retry, as after a lost response.
                if call(service, journal, "runs/log-batch", &body).is_some() {
                    update(journal, id, |run| run.metrics.extend(&values));
                }
            }
        }
    }
}

fn update(journal: &Journal, id: &str, write: impl FnOnce(&mut Run)) {
    journal.acknowledge(|state| {
        if let Some(run) = state.runs.get_mut(id) {
            write(run);
        }
    });
}

fn call(service: &Service, journal: &Journal, call: &str, body: &Value) -> Option<Response> {
    let response = service.json("POST", &scope().mlflow(call), body);
    if response.status == 200 {
        return Some(response);
    }
    journal.fault(format!(
        "{call} has status {}: {}",
        response.status,
        response.text()
    ));
    None
}

/// Compares every run with the journal.
pub fn verify(service: &Service, journal: &Journal) {
    let ids: Vec<String> = journal.state().runs.keys().cloned().collect();
    for id in ids {
        verify_one(service, journal, &id);
    }
}

fn verify_one(service: &Service, journal: &Journal, id: &str) {
    let Some(run) = journal.state().runs.get(id).cloned() else {
        return;
    };
    let mut found = Run::default();
    let mut count = 0;
    let mut page = String::new();
    loop {
        let query = format!("metrics/get-history?run_id={id}&metric_key={KEY}{page}");
        let history = service
            .json("GET", &scope().mlflow(&query), &Value::Null)
            .json();
        for metric in history["metrics"].as_array().into_iter().flatten() {
            let step = metric["step"].as_i64().unwrap_or(-1);
            found
                .metrics
                .insert(step, metric["value"].as_f64().unwrap_or(-1.0));
            count += 1;
        }
        match history["next_page_token"].as_str() {
            Some(token) => page = format!("&page_token={token}"),
            None => break,
        }
    }
    if found.metrics != run.metrics || count != run.metrics.len() {
        let acknowledged = run.metrics.len();
        journal.fault(format!("run {id} has {count} metrics of {acknowledged}"));
    }
    let query = scope().mlflow(&format!("runs/get?run_id={id}"));
    let shown = service.json("GET", &query, &Value::Null).json();
    let pairs = |of: &str| -> BTreeMap<String, String> {
        let list = shown["run"]["data"][of].as_array();
        let pair =
            |pair: &Value| Some((pair["key"].as_str()?.into(), pair["value"].as_str()?.into()));
        list.into_iter().flatten().filter_map(pair).collect()
    };
    let (params, tags) = (pairs("params"), pairs("tags"));
    if params != run.params
        || run
            .tags
            .iter()
            .any(|(name, value)| tags.get(name) != Some(value))
    {
        journal.fault(format!("run {id} should be {run:?}: {shown}"));
    }
    let finished = shown["run"]["info"]["status"] == "FINISHED";
    if finished != run.finished {
        journal.fault(format!("run {id} is finished: {finished}"));
    }
}
