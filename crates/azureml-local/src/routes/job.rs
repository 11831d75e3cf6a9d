//! Job routes: submit, get, list and cancel.

use super::asset::Listing;
use super::compute::accepted;
use super::resource::{next_link, resource};
use crate::error::{Error, Result};
use crate::read::strict;
use crate::server::body::Json as Body;
use crate::store::job::Job;
use crate::tickets::Tickets;
use crate::workspace::output::named_outputs;
use crate::workspace::uri::readdress;
use crate::workspace::{Shared, job};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use axum::{Json, Router};
use azureml_wire::arm::{Page, Resource};
use azureml_wire::job::{Job as WireJob, JobStatus};
use azureml_wire::local::scope;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// The job routes. The links to jobs that they return contain `tickets`.
pub fn router(app: &Shared, tickets: &Arc<Tickets>) -> Router<Shared> {
    Router::new()
        .route("/jobs", get(list))
        .route("/jobs/{name}", get(one).put(put))
        .route("/jobs/{name}/cancel", post(cancel))
        .with_state(Jobs {
            app: Arc::clone(app),
            tickets: Arc::clone(tickets),
        })
}

/// The state of the job routes.
#[derive(Clone)]
struct Jobs {
    app: Shared,
    tickets: Arc<Tickets>,
}

impl Jobs {
    /// A job as an ARM resource.
    fn shown(&self, job: &Job) -> Resource<Value> {
        let app = &self.app;
        let mut properties = job.properties.clone();
        readdress(&app.url(), &mut properties);
        properties["experimentName"] = json!(job.experiment);
        properties["tags"] = json!(job.tags);
        properties["status"] = json!(job.status);
        properties["isArchived"] = json!(job.is_archived());
        if properties.get("properties").is_none() {
            properties["properties"] = json!({});
        }
        if !job.is_sweep() && properties.get("parameters").is_none() {
            properties["parameters"] = json!({});
        }
        properties["services"] = json!({
            "Tracking": {
                "jobServiceType": "Tracking",
                "endpoint": app.tracking_uri(),
            },
            "Studio": {
                "jobServiceType": "Studio",
                "endpoint": self.studio_link(&job.name),
            },
        });
        // The outputs of a sweep belong to its trials.
        if !job.is_sweep()
            && let Some(outputs) = properties.get_mut("outputs").and_then(Value::as_object_mut)
        {
            for output in named_outputs(job) {
                outputs[&output.name]["uri"] = json!(output.uri);
            }
        }
        resource(&["jobs", &job.name], &job.created_at, properties)
    }

    /// The link to a job's page. Its ticket opens the pages once and is not valid for anything else.
    fn studio_link(&self, name: &str) -> String {
        let link = format!("{}/runs/{name}?wsid={}", self.app.url(), scope());
        match self.tickets.issue() {
            Some(ticket) => format!("{link}&ticket={ticket}"),
            None => link,
        }
    }
}

async fn one(State(jobs): State<Jobs>, Path(name): Path<String>) -> Result<Json<Resource<Value>>> {
    let job = job::find(&jobs.app, name).await?;
    Ok(Json(jobs.shown(&job)))
}

async fn put(
    State(jobs): State<Jobs>,
    Path(name): Path<String>,
    Body(body): Body,
) -> Result<(StatusCode, Json<Resource<Value>>)> {
    let properties = body.get("properties").cloned().unwrap_or(Value::Null);
    let kind = properties.get("jobType").and_then(Value::as_str);
    if let Some(kind) = kind.filter(|kind| !matches!(*kind, "Command" | "Sweep")) {
        return Err(Error::invalid(format!(
            "the local workspace runs command jobs and sweeps, not jobs of the kind {kind:?}\n\
             hint: submit it to a workspace on Azure"
        )));
    }
    let request: Resource<WireJob> = strict(&body)?;
    let (is_new, job) = job::put(&jobs.app, name, request.properties, properties).await?;
    let mut answer = jobs.shown(&job);
    if !is_new {
        return Ok((StatusCode::OK, Json(answer)));
    }
    // Like the service: the response shows the state before the queue has processed the job.
    answer.properties["status"] = json!(JobStatus::Starting);
    Ok((StatusCode::CREATED, Json(answer)))
}

/// The query parameters of the listing.
#[derive(Debug, Default, Deserialize)]
struct JobListing {
    #[serde(rename = "$skip")]
    skip: Option<String>,
    #[serde(rename = "$top")]
    top: Option<usize>,
    #[serde(rename = "listViewType")]
    view: Option<String>,
    tag: Option<String>,
    #[serde(rename = "jobType")]
    kind: Option<String>,
}

/// The default number of jobs on one page.
const PAGE: usize = 50;

async fn list(
    State(jobs): State<Jobs>,
    Query(query): Query<JobListing>,
) -> Result<Json<Page<Resource<Value>>>> {
    // The continuation token is the sequence number of the last job shown, so that new jobs do not
    // shift the pages.
    let before = match &query.skip {
        Some(text) => text
            .parse()
            .map_err(|_| Error::invalid(format!("{text:?} is no place in the list")))?,
        None => i64::MAX,
    };
    let top = query.top.unwrap_or(PAGE).clamp(1, 1000);
    let view = Listing {
        view: query.view.clone(),
        ..Listing::default()
    };
    let wanted = {
        let tag = query.tag.clone();
        let kind = query.kind.clone();
        move |job: &Job| {
            // Trials are listed through their parent sweep.
            job.parent.is_none()
                && view.shows(job.is_archived())
                && kind
                    .as_deref()
                    .is_none_or(|kind| job.text("jobType") == Some(kind))
                && tag.as_deref().is_none_or(|tag| match tag.split_once('=') {
                    Some((key, value)) => job.tags.get(key).is_some_and(|have| have == value),
                    None => job.tags.contains_key(tag),
                })
        }
    };
    // One job more than requested shows whether a next page exists.
    let found = job::list(&jobs.app, before, top + 1, wanted).await?;
    let next = (found.len() > top).then(|| {
        next_link(
            &jobs.app,
            &scope().path(["jobs"]),
            &[
                ("$skip", Some(&found[top - 1].seq.to_string())),
                ("$top", Some(&top.to_string())),
                ("listViewType", query.view.as_deref()),
                ("tag", query.tag.as_deref()),
                ("jobType", query.kind.as_deref()),
            ],
        )
    });
    let shown = found.iter().take(top).map(|job| jobs.shown(job));
    Ok(Json(Page {
        value: shown.collect(),
        next_link: next,
    }))
}

async fn cancel(
    State(jobs): State<Jobs>,
    Path(name): Path<String>,
) -> Result<(StatusCode, HeaderMap)> {
    job::request_cancel(&jobs.app, name).await?;
    Ok((StatusCode::ACCEPTED, accepted(&jobs.app)))
}
