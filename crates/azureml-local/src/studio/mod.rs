//! The web pages of the local workspace: jobs, computes and assets.
//!
//! The server renders HTML from templates, which are checked at compile time and escape their
//! values. A small script inserts the parts that the server sends later ([`live`]). Pages load
//! nothing from other hosts.

pub mod access;
mod assets;
mod chart;
mod compare;
mod computes;
mod file;
mod job;
mod jobs;
pub mod language;
pub mod live;
mod text;
mod tree;
mod triton;

use crate::app::Shared;
use crate::error::{Error, Result};
use crate::server::address::TRACKING;
use askama::Template;
use axum::Router;
use axum::extract::{FromRequestParts, Path, Query, State};
use axum::http::request::Parts;
use axum::http::{Extensions, StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{MethodRouter, get};
use azureml_wire::routes::encode;
use language::Language;
use serde::Deserialize;
use std::convert::Infallible;

/// The pages.
pub fn router(app: &Shared) -> Router<Shared> {
    let pages = Router::new()
        .merge(jobs::router())
        .merge(job::router())
        .merge(file::router())
        .merge(compare::router())
        .merge(computes::router())
        .merge(assets::router())
        .layer(from_fn_with_state(app.clone(), access::admit));
    Router::new()
        .nest("/studio", pages)
        .route("/", get(|| async { Redirect::to("/studio/jobs") }))
        .route("/runs/{run}", get(enter))
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
    State(app): State<Shared>,
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
        && link
            .ticket
            .is_some_and(|ticket| app.tickets.exchange(&ticket));
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

/// The page of an error.
pub fn error_page(l: Language, status: StatusCode, error: &Error) -> Response {
    #[derive(Template)]
    #[template(path = "error.html")]
    struct ErrorPage {
        l: Language,
        title: &'static str,
        status: StatusCode,
        message: String,
    }
    page(&ErrorPage {
        l,
        title: match status {
            StatusCode::FORBIDDEN => "This page does not open like this",
            StatusCode::NOT_FOUND => "There is no such page",
            _ => "Something went wrong",
        },
        status,
        message: error.to_string(),
    })
    .unwrap_or_else(|_| error.to_string().into_response())
}

fn page(template: &impl Template) -> Result<Response> {
    Ok(Html(part(template)?).into_response())
}

fn part(template: &impl Template) -> Result<String> {
    template
        .render()
        .map_err(|error| Error::Internal(format!("a page could not be written: {error}")))
}

impl<S: Sync> FromRequestParts<S> for Language {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(&parts.headers))
    }
}
