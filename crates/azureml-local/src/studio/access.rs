//! Access to the pages: the ticket in a link ([`crate::tickets`]) is exchanged once for a cookie.
//!
//! The browser stores a cookie that no script can read and that requests from other sites' pages do
//! not carry. It is valid for this home folder at this port until it expires, and opens the pages
//! only. Browsers send cookies to all ports of a host: another server on this machine can receive
//! the cookie if the user opens an address below `/studio` there. The cookie opens nothing for a
//! process of another user ([`crate::server::peer`]). A process of the same user could use it until
//! it expires. This server cannot prevent that, but such a process can read the home folder, too.

use crate::error::{Error, Result};
use crate::server::{browser, peer::Peer};
use crate::tickets::{NO_TICKET, nonce};
use crate::workspace::{Shared, Workspace};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{Extensions, HeaderMap, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use chrono::{TimeDelta, Utc};

/// Lifetime of the cookie.
const COOKIE: TimeDelta = TimeDelta::days(7);

/// The content that a cookie's signature covers. It includes the folder, as a copy has the same
/// key, and the port, as cookies apply to all ports.
fn cookie_kind(app: &Workspace) -> String {
    format!("cookie\n{}\n{}", app.port, app.home.root().display())
}

/// The name of the cookie, different for each local workspace on this machine.
fn cookie_name(app: &Workspace) -> String {
    format!("azureml_local_{}_{}", app.port, app.home.id())
}

/// The `Set-Cookie` header.
pub fn cookie(app: &Workspace) -> Option<HeaderValue> {
    let expiry = (Utc::now() + COOKIE).timestamp();
    let pass = app.signer.page_pass(&cookie_kind(app), expiry, &nonce()?);
    HeaderValue::from_str(&format!(
        "{}={pass}; Path=/studio; Max-Age={}; HttpOnly; SameSite=Strict",
        cookie_name(app),
        COOKIE.num_seconds()
    ))
    .ok()
}

fn has_cookie(app: &Workspace, headers: &HeaderMap) -> bool {
    let (name, kind) = (cookie_name(app), cookie_kind(app));
    let now = Utc::now().timestamp();
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .any(|(key, value)| key == name && app.signer.page_pass_of(&kind, value, now).is_some())
}

/// Whether a request comes from a process of another user.
pub fn is_foreign(app: &Workspace, extensions: &Extensions) -> bool {
    extensions
        .get::<ConnectInfo<Peer>>()
        .is_some_and(|ConnectInfo(peer)| peer.is_foreign(app.port))
}

/// Middleware that requires a cookie; requests that change something must also come from the pages
/// themselves.
pub async fn admit(State(app): State<Shared>, request: Request, next: Next) -> Response {
    match check(&app, &request) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}

fn check(app: &Workspace, request: &Request) -> Result<()> {
    if !has_cookie(app, request.headers()) || is_foreign(app, request.extensions()) {
        return Err(Error::Denied(NO_TICKET.to_owned()));
    }
    browser::check_page(request.method(), request.headers())
}
