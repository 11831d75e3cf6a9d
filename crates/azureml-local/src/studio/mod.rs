//! The web pages of the local workspace: jobs, computes and assets.
//!
//! The server renders HTML from templates, which are checked at compile time and escape their
//! values. A small script inserts the parts that the server sends later ([`live`]). Pages load
//! nothing from other hosts.

mod access;
mod assets;
mod chart;
mod compare;
mod computes;
mod file;
mod job;
mod jobs;
pub mod language;
mod live;
pub mod page;
mod text;
mod tree;
mod triton;

use crate::error::Result;
use crate::server::address::TRACKING;
use crate::tickets::Tickets;
use crate::workspace::Shared;
use askama::Template;
use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::{Extensions, header};
use axum::middleware::from_fn_with_state;
use axum::response::{Redirect, Response};
use axum::routing::{MethodRouter, get};
use azureml_wire::routes::encode;
use language::Language;
use page::page;
use serde::Deserialize;
use std::sync::Arc;

/// The pages. Each of the `tickets` opens them once.
pub fn router(app: &Shared, tickets: &Arc<Tickets>) -> Router<Shared> {
    let pages = Router::new()
        .merge(jobs::router())
        .merge(job::router())
        .merge(file::router())
        .merge(compare::router())
        .merge(computes::router())
        .merge(assets::router())
        .merge(live::router(app))
        .layer(from_fn_with_state(Arc::clone(app), access::admit));
    let entered = Router::new()
        .route("/runs/{run}", get(enter))
        .with_state((Arc::clone(app), Arc::clone(tickets)));
    Router::new()
        .merge(entered)
        .nest("/studio", pages)
        .route("/", get(|| async { Redirect::to("/studio/jobs") }))
        .route(TRACKING, get(tracking))
        .route(
            "/studio/tracking.js",
            asset(
                "text/javascript; charset=utf-8",
                include_str!("tracking.js"),
            ),
        )
        .route(
            "/studio/studio.css",
            asset("text/css; charset=utf-8", include_str!("studio.css")),
        )
        .route(
            "/studio/studio.js",
            asset("text/javascript; charset=utf-8", include_str!("studio.js")),
        )
        .route(
            "/studio/icon.svg",
            asset("image/svg+xml", include_str!("icon.svg")),
        )
}

/// A static file of the pages. It contains no data of the workspace, so it needs no cookie.
fn asset(kind: &'static str, content: &'static str) -> MethodRouter<Shared> {
    get(move || async move { ([(header::CONTENT_TYPE, kind)], content) })
}

/// The query of a job's link.
#[derive(Deserialize)]
struct Link {
    ticket: Option<String>,
}

/// The target of a job's link. It shows nothing and opens the job's page at once: a browser sends
/// no `SameSite=Strict` cookie with a request that follows another site's link, but it does with
/// the second request.
async fn enter(
    State((app, tickets)): State<(Shared, Arc<Tickets>)>,
    Path(run): Path<String>,
    Query(link): Query<Link>,
    extensions: Extensions,
) -> Result<Response> {
    #[derive(Template)]
    #[template(path = "enter.html")]
    struct Enter {
        to: String,
    }
    let to = format!("/studio/jobs/{}", encode(&run));
    let mut response = page(&Enter { to })?;
    let good = !access::is_foreign(&app, &extensions)
        && link.ticket.is_some_and(|ticket| tickets.exchange(&ticket));
    if good && let Some(cookie) = access::cookie(&app) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    Ok(response)
}

/// The target of links that MLflow's client prints. The run is in the fragment, which `tracking.js`
/// reads.
async fn tracking(l: Language) -> Result<Response> {
    #[derive(Template)]
    #[template(path = "tracking.html")]
    struct Tracking {
        l: Language,
    }
    page(&Tracking { l })
}
