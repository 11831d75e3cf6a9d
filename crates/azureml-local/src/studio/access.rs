//! Access to the pages: the ticket in a link is exchanged once for a cookie.
//!
//! A job's link contains a ticket. It is valid once, for an hour, and only with the server that
//! issued it. It is signed with a key that ends with the process: a restart would lose the record
//! of used tickets and so make them valid again.
//!
//! The browser stores a cookie that no script can read and that requests from other sites' pages do
//! not carry. It is valid for this home folder at this port until it expires, and opens the pages
//! only. Browsers send cookies to all ports of a host: another server on this machine can receive
//! the cookie if the user opens an address below `/studio` there. The cookie opens nothing for a
//! process of another user ([`crate::server::peer`]). A process of the same user could use it until
//! it expires. This server cannot prevent that, but such a process can read the home folder, too.

use crate::app::{App, Shared};
use crate::error::{Error, Result};
use crate::hmac::hex;
use crate::home::random;
use crate::server::{browser, peer::Peer};
use crate::signer::Signer;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{Extensions, HeaderMap, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use chrono::{TimeDelta, Utc};
use std::collections::HashMap;
use std::io;
use std::sync::{Mutex, PoisonError};

/// Lifetime of an unused ticket.
const TICKET: TimeDelta = TimeDelta::hours(1);

/// Lifetime of the cookie.
const COOKIE: TimeDelta = TimeDelta::days(7);

/// The error message for requests without a cookie.
pub const NO_TICKET: &str = "this page opens from a link with a ticket\n\
    hint: run `run.portal_url()` in a cell and follow its link; each link opens once";

/// Issues tickets and remembers the used ones until they expire. Has no `Debug`: it contains a key.
pub struct Tickets {
    /// With a key of this process only.
    signer: Signer,
    used: Mutex<HashMap<String, i64>>,
}

impl Tickets {
    /// An empty set of tickets with a new key.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            signer: Signer::new(random()?),
            used: Mutex::default(),
        })
    }

    /// Issues a ticket; `None` if the system returns no random bytes. The link then has no ticket.
    pub fn issue(&self) -> Option<String> {
        let expiry = (Utc::now() + TICKET).timestamp();
        Some(self.signer.page_pass("ticket", expiry, &nonce()?))
    }

    /// Whether `ticket` is valid; marks it as used.
    pub fn exchange(&self, ticket: &str) -> bool {
        let now = Utc::now().timestamp();
        let Some((expiry, nonce)) = self.signer.page_pass_of("ticket", ticket, now) else {
            return false;
        };
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.retain(|_, expiry| *expiry > now);
        used.insert(nonce.to_owned(), expiry).is_none()
    }
}

fn nonce() -> Option<String> {
    Some(hex(&random().ok()?[..12]))
}

/// The content that a cookie's signature covers. It includes the folder, as a copy has the same
/// key, and the port, as cookies apply to all ports.
fn cookie_kind(app: &App) -> String {
    format!("cookie\n{}\n{}", app.port, app.home.root().display())
}

/// The name of the cookie, different for each local workspace on this machine.
fn cookie_name(app: &App) -> String {
    format!("azureml_local_{}_{}", app.port, app.home.id())
}

/// The `Set-Cookie` header.
pub fn cookie(app: &App) -> Option<HeaderValue> {
    let expiry = (Utc::now() + COOKIE).timestamp();
    let pass = app.signer.page_pass(&cookie_kind(app), expiry, &nonce()?);
    HeaderValue::from_str(&format!(
        "{}={pass}; Path=/studio; Max-Age={}; HttpOnly; SameSite=Strict",
        cookie_name(app),
        COOKIE.num_seconds()
    ))
    .ok()
}

fn has_cookie(app: &App, headers: &HeaderMap) -> bool {
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
pub fn is_foreign(app: &App, extensions: &Extensions) -> bool {
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

fn check(app: &App, request: &Request) -> Result<()> {
    if !has_cookie(app, request.headers()) || is_foreign(app, request.extensions()) {
        return Err(Error::Denied(NO_TICKET.to_owned()));
    }
    browser::check_page(request.method(), request.headers())
}
