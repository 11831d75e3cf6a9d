//! Middleware for every request: host check, authentication, the exchange log and panic catching.

use super::activity::Activity;
use super::address::{self, Area};
use super::trace::Trace;
use super::{auth, browser, render, trace};
use crate::error::{Error, Result};
use crate::studio::language::Language;
use crate::workspace::Shared;
use axum::extract::{Request, State};
use axum::http::Uri;
use axum::http::uri::PathAndQuery;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::FutureExt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

/// The state of the middleware. It has no `Debug` implementation because it contains the token.
pub struct Entrance {
    /// The workspace behind it.
    pub app: Shared,
    /// The bearer token of the owner.
    pub token: String,
    /// The log of HTTP exchanges, if enabled.
    pub trace: Option<Trace>,
    /// The requests in progress.
    pub activity: Activity,
}

/// Admits or rejects a request, and renders errors in the format of the requested service.
pub async fn entry(
    State(entrance): State<Arc<Entrance>>,
    request: Request,
    next: Next,
) -> Response {
    let _active = entrance.activity.begin();
    let area = address::area(request.uri().path());
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let language = Language::of(request.headers());
    // A panic becomes a response with status 500.
    let (response, exchange) = AssertUnwindSafe(answer(&entrance, area, request, next))
        .catch_unwind()
        .await
        .unwrap_or_else(|_| {
            let error = Error::Internal(
                "the local workspace failed to answer\nhint: see server.log in its folder"
                    .to_owned(),
            );
            (error.into_response(), None)
        });
    let response = render::render(area, &method, language, response).await;
    tracing::debug!(%method, path, status = response.status().as_u16());
    match exchange {
        Some(exchange) => trace::answered(entrance.trace.as_ref(), exchange, response).await,
        None => response,
    }
}

/// Admits the request and returns the response of its route.
async fn answer(
    entrance: &Entrance,
    area: Area,
    request: Request,
    next: Next,
) -> (Response, Option<trace::Exchange>) {
    let is_safe = request.method().is_safe();
    let admitted = match admit(entrance, area, request).await {
        Ok(request) => trace::asked(entrance.trace.as_ref(), area, request).await,
        Err(error) => Err(error),
    };
    let (request, exchange) = match admitted {
        Ok(admitted) => admitted,
        Err(error) => return (error.into_response(), None),
    };
    let response = next.run(request).await;
    // A change must not be acknowledged if it went to a folder that has been removed or replaced.
    match entrance.app.check_home() {
        Err(error) if !is_safe => (error.into_response(), exchange),
        _ => (response, exchange),
    }
}

/// The request with its caller, and with the inner path of its area.
async fn admit(entrance: &Entrance, area: Area, request: Request) -> Result<Request> {
    let (mut parts, body) = request.into_parts();
    let app = &entrance.app;
    browser::check_host(&parts.headers)?;
    browser::check_destination(area, &parts.headers)?;
    let inner = address::within(area, parts.uri.path())?.into_owned();
    if !parts.method.is_safe() {
        app.check_home()?;
    }
    let caller =
        auth::authenticate(app, &entrance.token, area, &inner, &parts.method, &parts).await?;
    let query = parts
        .uri
        .query()
        .map_or_else(String::new, |query| format!("?{query}"));
    let rewritten: PathAndQuery = format!("{}{inner}{query}", area.inner())
        .parse()
        .map_err(|_| Error::invalid("the address makes no sense"))?;
    parts.uri = Uri::from(rewritten);
    parts.extensions.insert(caller);
    Ok(Request::from_parts(parts, body))
}
