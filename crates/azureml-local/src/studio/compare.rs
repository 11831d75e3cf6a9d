//! The comparison of several jobs.

use super::chart;
use super::language::Language;
use super::page::page;
use crate::error::{Error, Result};
use crate::store::{job, mlflow};
use crate::workspace::job::missing;
use crate::workspace::{Shared, blocking};
use askama::Template;
use axum::Router;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use axum::routing::get;
use std::collections::BTreeMap;

/// The maximum number of compared jobs: more colours are hard to distinguish.
const MOST: usize = 6;

pub fn router() -> Router<Shared> {
    Router::new().route("/compare", get(compare))
}

#[derive(Template)]
#[template(path = "compare.html")]
struct Page {
    l: Language,
    here: &'static str,
    names: Vec<(String, String)>,
    /// Names and SVG charts.
    charts: Vec<(String, String)>,
    rows: Vec<(String, Vec<String>)>,
}

fn rows_differ(values: &[String]) -> bool {
    values.windows(2).any(|pair| pair[0] != pair[1])
}

async fn compare(
    State(app): State<Shared>,
    l: Language,
    RawQuery(query): RawQuery,
) -> Result<Response> {
    let asked: Vec<String> = query
        .unwrap_or_default()
        .split('&')
        .filter_map(|pair| crate::blob::decode(pair.strip_prefix("run=")?))
        .collect();
    if asked.len() > MOST {
        return Err(Error::invalid(format!(
            "{} jobs are too many to compare\nhint: choose up to {MOST}",
            asked.len()
        )));
    }
    let (names, lines, rows) = app
        .db(move |store| {
            let mut names = Vec::new();
            let mut rows: BTreeMap<String, Vec<String>> = BTreeMap::new();
            for name in asked {
                let Some(job) = job::any(store, &name)? else {
                    return Err(missing(&name));
                };
                let column = names.len();
                let last = mlflow::latest_metrics(store, &name)?
                    .into_iter()
                    .map(|metric| (metric.key, super::text::number(metric.value)));
                let params = mlflow::params(store, &name)?
                    .into_iter()
                    .map(|param| (param.key, param.value));
                let status = [("status".to_owned(), job.status.to_string())];
                for (key, value) in params.chain(last).chain(job.tags.clone()).chain(status) {
                    let row = rows.entry(key).or_default();
                    row.resize(column, String::new());
                    row.push(value);
                }
                names.push((name, job.display_name().to_owned()));
            }
            for row in rows.values_mut() {
                row.resize(names.len(), String::new());
            }
            let lines = chart::lines(store, &names)?;
            Ok((names, lines, rows))
        })
        .await?;
    let charts = blocking(move || {
        let draw = |(name, lines): (String, Vec<chart::Series>)| Ok((name, chart::draw(&lines)?));
        lines.into_iter().map(draw).collect()
    })
    .await?;
    page(&Page {
        l,
        here: "jobs",
        names,
        charts,
        rows: rows.into_iter().collect(),
    })
}
