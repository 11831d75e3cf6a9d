//! Who calls: tokens for Azure.
//!
//! Where a program names no credential of its own, [`default`] looks for one in the order in which they are meant: what the environment
//! says, what the compute has, who is signed in. The requests are few and small, so they are made here: `azure_identity` would bring a
//! hundred crates and a C build, refuses Azure ML's managed identity, and does not know the on-behalf-of endpoint.

mod authority;
mod cached;
mod chain;
mod cli;
mod compute;

pub use authority::{ClientSecret, WorkloadIdentity};
pub use cached::Cached;
pub use cli::AzureCli;
pub use compute::{ManagedIdentity, OnBehalfOf};

use crate::client::retry::Retry;
use crate::error::{Error, Result, split_hint};
use crate::{env, http};
use futures::future::BoxFuture;
use serde_json::Value;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// The service of the public cloud that tokens are for.
const RESOURCE_MANAGER: &str = "https://management.azure.com";
/// No token of these services is good for longer.
const LONGEST: Duration = Duration::from_hours(24);
/// A token is renewed this long before it ends, or after half of its life when that is shorter.
const MARGIN: Duration = Duration::from_mins(5);

/// Something that gives tokens for the scope `https://management.azure.com/.default`.
pub trait Credential: Send + Sync + fmt::Debug {
    /// A token that is good now.
    fn token(&self) -> BoxFuture<'_, Result<AccessToken>>;

    /// A token in the place of one that the service has refused.
    fn renew<'a>(&'a self, refused: &'a AccessToken) -> BoxFuture<'a, Result<AccessToken>> {
        let _ = refused;
        self.token()
    }
}

/// A bearer token. `Debug` hides it.
///
/// It is a [`Credential`] of its own, good until it ends: `Workspace::get_with(…, Arc::new(AccessToken::new(secret, expires)))`.
#[derive(Clone)]
pub struct AccessToken {
    secret: String,
    renew_at: SystemTime,
    expires: SystemTime,
}

impl AccessToken {
    /// A token and when it ends.
    pub fn new(secret: impl Into<String>, expires: SystemTime) -> Self {
        let life = expires
            .duration_since(SystemTime::now())
            .unwrap_or_default();
        Self {
            secret: secret.into(),
            renew_at: expires.checked_sub(MARGIN.min(life / 2)).unwrap_or(expires),
            expires,
        }
    }

    /// The token itself; a secret.
    pub fn secret(&self) -> &str {
        &self.secret
    }

    /// Whether it is good for a while.
    fn is_fresh(&self) -> bool {
        SystemTime::now() < self.renew_at
    }

    /// Whether it is good now.
    fn is_good(&self) -> bool {
        SystemTime::now() < self.expires
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessToken")
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

impl Credential for AccessToken {
    fn token(&self) -> BoxFuture<'_, Result<AccessToken>> {
        Box::pin(async {
            if self.is_good() {
                return Ok(self.clone());
            }
            Err(failed(
                "the token that was given has ended",
                "get another one, or let the SDK get its own: `Workspace::from_config()`",
            ))
        })
    }
}

/// The credential that is used where none is given: the first of these that there is, and the one that it was first is kept.
///
/// 1. A client secret: `AZURE_TENANT_ID`, `AZURE_CLIENT_ID`, `AZURE_CLIENT_SECRET`.
/// 2. Azure ML's managed identity: `MSI_ENDPOINT`, `MSI_SECRET`, `DEFAULT_IDENTITY_CLIENT_ID`.
/// 3. Azure ML on behalf of the user: `OBO_ENDPOINT`.
/// 4. A workload's identity: `AZURE_TENANT_ID`, `AZURE_CLIENT_ID`, `AZURE_FEDERATED_TOKEN_FILE`.
/// 5. The account of `az login`.
///
/// A client secret or a workload's identity that is refused is an error, not a reason to go on as somebody else.
pub fn default() -> Arc<dyn Credential> {
    Arc::new(Cached::new(chain::Chain::from_vars(&env::var)))
}

/// Reads environment variables; tests have their own.
type Vars<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Those of `names` that are set, or which are not.
fn all_of<const N: usize>(vars: Vars, names: [&str; N]) -> Result<[String; N], String> {
    let missing: Vec<&str> = names
        .into_iter()
        .filter(|name| vars(name).is_none())
        .collect();
    match missing.as_slice() {
        [] => Ok(names.map(|name| vars(name).unwrap_or_default())),
        [one] => Err(format!("{one} is not set")),
        [most @ .., last] => Err(format!("{} and {last} are not set", most.join(", "))),
    }
}

/// The service that tokens are for: that of the public cloud, or the one that the environment names.
fn audience(vars: Vars) -> String {
    vars(env::RESOURCE_MANAGER)
        .filter(|root| root.starts_with("https://"))
        .map_or_else(
            || RESOURCE_MANAGER.to_owned(),
            |root| root.trim_end_matches('/').to_owned(),
        )
}

/// The token in an answer; `None` when there is none. Endpoints have their own words for when it ends.
fn token_in(answer: &Value) -> Option<AccessToken> {
    let secret = ["access_token", "token"]
        .iter()
        .find_map(|name| answer[*name].as_str())?;
    let number = |name: &str| {
        let value = &answer[name];
        value.as_u64().or_else(|| value.as_str()?.parse().ok())
    };
    // Counted from now where it can be: then it does not matter whether this machine's clock is right.
    let expires = number("expires_in")
        .map(|seconds| after(SystemTime::now(), seconds))
        .or_else(|| Some(after(SystemTime::UNIX_EPOCH, number("expires_on")?)))
        .or_else(|| {
            let time = answer["expiresOn"].as_str()?;
            Some(chrono::DateTime::parse_from_rfc3339(time).ok()?.into())
        });
    Some(AccessToken::new(
        secret,
        expires.unwrap_or_else(SystemTime::now),
    ))
}

/// The time that an endpoint names by a number of seconds, which may be any: a token that is good for longer than a day is asked
/// for again after one.
fn after(begin: SystemTime, seconds: u64) -> SystemTime {
    let latest = SystemTime::now() + LONGEST;
    begin
        .checked_add(Duration::from_secs(seconds))
        .map_or(latest, |time| time.min(latest))
}

/// Asks an endpoint for a token until it answers for good. What is wrong is said without `secrets`, whatever the endpoint quotes.
async fn ask(
    who: &str,
    request: &reqwest::RequestBuilder,
    secrets: &[&str],
    hint: &str,
) -> Result<AccessToken> {
    // A token that cannot be had is waited for less long than a service that is away: there may be another one.
    let answer = Retry::brief(who).send_copies(request).await;
    let body = match answer {
        Ok(answer) => answer.body,
        Err(error) => {
            let reason = secrets
                .iter()
                .filter(|secret| !secret.is_empty())
                .fold(reason(&error), |reason, secret| {
                    reason.replace(secret, "***")
                });
            return Err(Error::Credential {
                reason,
                hint: hint.to_owned(),
                is_refused: matches!(error.status(), Some(400 | 401 | 403)),
            });
        }
    };
    let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
    // Not the parser's own words: they may quote the token.
    token_in(&answer)
        .ok_or_else(|| failed(format!("{who} gave an answer that holds no token"), hint))
}

/// A client for an endpoint that is on this machine or on its own network, where a proxy never leads.
fn client_beside() -> Result<reqwest::Client> {
    http::client("http://127.0.0.1")
}

/// There is no token from here.
fn failed(reason: impl Into<String>, hint: impl Into<String>) -> Error {
    Error::Credential {
        reason: reason.into(),
        hint: hint.into(),
        is_refused: false,
    }
}

/// Why there is no token, for a list of reasons.
fn reason(error: &Error) -> String {
    if let Error::Credential { reason, .. } = error {
        return reason.clone();
    }
    split_hint(&error.to_string()).0.to_owned()
}

#[cfg(test)]
mod tests;
