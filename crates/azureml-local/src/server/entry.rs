//! Middleware for every request: host check, authentication, the exchange log and panic catching.

use super::address::{self, Area};
use super::{auth, browser, render, trace};
use crate::app::Shared;
use crate::error::{Error, Result};
use crate::studio::language::Language;
use axum::extract::{Request, State};
use axum::http::Uri;
use axum::http::uri::PathAndQuery;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::FutureExt;
use std::panic::AssertUnwindSafe;

/// Admits or rejects a request, and renders errors in the format of the requested service.
pub async fn entry(State(app): State<Shared>, request: Request, next: Next) -> Response {
    let _active = app.activity.begin();
    let area = address::area(request.uri().path());
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let language = Language::of(request.headers());
    // A panic becomes a response with status 500.
    let (response, exchange) = AssertUnwindSafe(answer(&app, area, request, next))
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
        Some(exchange) => trace::answered(&app, exchange, response).await,
        None => response,
    }
}

/// Admits the request and returns the response of its route.
async fn answer(
    app: &Shared,
    area: Area,
    request: Request,
    next: Next,
) -> (Response, Option<trace::Exchange>) {
    let is_safe = request.method().is_safe();
    let admitted = match admit(app, area, request).await {
        Ok(request) => trace::asked(app, area, request).await,
        Err(error) => Err(error),
    };
    let (request, exchange) = match admitted {
        Ok(admitted) => admitted,
        Err(error) => return (error.into_response(), None),
    };
    let response = next.run(request).await;
    // A change must not be acknowledged if it went to a folder that has been removed or replaced.
    match app.check_home() {
        Err(error) if !is_safe => (error.into_response(), exchange),
        _ => (response, exchange),
    }
}

/// The request with its caller, and with the inner path of its area.
async fn admit(app: &Shared, area: Area, request: Request) -> Result<Request> {
    let (mut parts, body) = request.into_parts();
    browser::check_host(&parts.headers)?;
    browser::check_destination(area, &parts.headers)?;
    let inner = address::within(area, parts.uri.path())?.into_owned();
    if !parts.method.is_safe() {
        app.check_home()?;
    }
    let caller = auth::authenticate(app, area, &inner, &parts.method, &parts).await?;
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
