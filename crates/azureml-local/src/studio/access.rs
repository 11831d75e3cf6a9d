//! Who may look at the pages: a ticket in a link is exchanged once for a cookie.
//!
//! The link of a job holds a ticket, signed and good for one use within a day. What the browser keeps is a cookie that no script can read
//! and that no other site's page can make it send. Neither opens the REST calls.

use crate::app::{App, Shared};
use crate::error::{Error, Result};
use crate::home::random;
use crate::signer::{Signer, equal, hex};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use chrono::{TimeDelta, Utc};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// How long a link opens the pages, if it was not used.
const TICKET: TimeDelta = TimeDelta::hours(24);

/// How long a browser that has opened a link may come back.
const COOKIE: TimeDelta = TimeDelta::days(30);

/// What the pages may do: no script but the server's own, no frame around them, nothing from elsewhere.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
    form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// What somebody without a cookie is told.
pub const NO_TICKET: &str = "this page opens from a link with a ticket\n\
    hint: run `run.portal_url()` in a cell and follow its link; each link opens once";

/// The tickets that have been used and would still be good.
#[derive(Debug, Default)]
pub struct Tickets {
    used: Mutex<HashMap<String, i64>>,
}

impl Tickets {
    /// Whether `ticket` is good; afterwards it no longer is.
    pub fn exchange(&self, signer: &Signer, ticket: &str) -> bool {
        let now = Utc::now().timestamp();
        let Some((expiry, nonce)) = signer.page_pass_of("ticket", ticket, now) else {
            return false;
        };
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.retain(|_, expiry| *expiry > now);
        used.insert(nonce.to_owned(), expiry).is_none()
    }
}

/// A new ticket; `None` when the system gives no random bytes, which the link can do without.
pub fn ticket(app: &App) -> Option<String> {
    let nonce = hex(&random().ok()?[..12]);
    let expiry = (Utc::now() + TICKET).timestamp();
    Some(app.signer.page_pass("ticket", expiry, &nonce))
}

/// The name of the cookie: cookies do not know ports, and two local workspaces must not take each other's.
fn cookie_name(app: &App) -> String {
    format!("azureml_local_{}", app.port)
}

/// The header that gives a browser its cookie.
pub fn cookie(app: &App) -> Option<HeaderValue> {
    let nonce = hex(&random().ok()?[..12]);
    let pass = app
        .signer
        .page_pass("cookie", (Utc::now() + COOKIE).timestamp(), &nonce);
    HeaderValue::from_str(&format!(
        "{}={pass}; Path=/; Max-Age={}; HttpOnly; SameSite=Strict",
        cookie_name(app),
        COOKIE.num_seconds()
    ))
    .ok()
}

fn has_cookie(app: &App, headers: &HeaderMap) -> bool {
    let name = cookie_name(app);
    let now = Utc::now().timestamp();
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .any(|(key, value)| key == name && app.signer.page_pass_of("cookie", value, now).is_some())
}

/// Lets those in who have a cookie, and of those who change something only the pages themselves.
pub async fn admit(State(app): State<Shared>, request: Request, next: Next) -> Response {
    match check(&app, &request) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}

fn check(app: &App, request: &Request) -> Result<()> {
    let headers = request.headers();
    if !has_cookie(app, headers) {
        return Err(Error::Denied(NO_TICKET.to_owned()));
    }
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        return Ok(());
    }
    let text = |name| {
        headers
            .get(name)
            .and_then(|value: &HeaderValue| value.to_str().ok())
    };
    let own = text(header::HOST).map(|host| format!("http://{host}"));
    match text(header::ORIGIN) {
        Some(origin) if own.is_some_and(|own| equal(own.as_bytes(), origin.as_bytes())) => Ok(()),
        _ => Err(Error::Denied(
            "only the local workspace's own pages may change something here".to_owned(),
        )),
    }
}

/// Gives every page the headers that keep it to itself.
pub async fn seal(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // With `no-referrer`, browsers would keep the origin of the pages' own forms from us, too.
        (header::REFERRER_POLICY, "same-origin"),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ] {
        headers
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    }
    headers.insert(
        "cross-origin-resource-policy",
        HeaderValue::from_static("same-origin"),
    );
    headers.insert(
        "cross-origin-opener-policy",
        HeaderValue::from_static("same-origin"),
    );
    response
}
