//! Credentials: tokens for Azure.
//!
//! If a program does not set a credential, [`default`] searches for one in this order: explicit
//! environment variables, the identity of the compute, the signed-in user.
//!
//! The requests are few and small, so they are implemented here: `azure_identity` would add a
//! hundred crates and a C build, does not accept Azure ML's managed identity, and does not support
//! the on-behalf-of endpoint.

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

/// The audience of tokens in the public cloud.
const RESOURCE_MANAGER: &str = "https://management.azure.com";
/// The longest lifetime of a token of these services.
const LONGEST: Duration = Duration::from_hours(24);
/// A token is renewed this long before its expiry, or after half of its lifetime if that is
/// shorter.
const MARGIN: Duration = Duration::from_mins(5);

/// A source of tokens for the scope `https://management.azure.com/.default`.
pub trait Credential: Send + Sync + fmt::Debug {
    /// Returns a token that is valid now.
    fn token(&self) -> BoxFuture<'_, Result<AccessToken>>;

    /// Returns a token in place of one that the service has refused.
    fn renew<'a>(&'a self, refused: &'a AccessToken) -> BoxFuture<'a, Result<AccessToken>> {
        let _ = refused;
        self.token()
    }
}

/// A bearer token. `Debug` hides it.
///
/// It is also a [`Credential`], valid until its expiry:
/// `Workspace::get_with(…, Arc::new(AccessToken::new(secret, expires)))`.
#[derive(Clone)]
pub struct AccessToken {
    secret: String,
    renew_at: SystemTime,
    expires: SystemTime,
}

impl AccessToken {
    /// A token and its expiry.
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

    /// Whether the token need not be renewed yet.
    fn is_fresh(&self) -> bool {
        SystemTime::now() < self.renew_at
    }

    /// Whether the token is valid now.
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

/// The default credential: the first of these that works, which is then kept.
///
/// 1. A client secret: `AZURE_TENANT_ID`, `AZURE_CLIENT_ID`, `AZURE_CLIENT_SECRET`.
/// 2. Azure ML's managed identity: `MSI_ENDPOINT`, `MSI_SECRET`, `DEFAULT_IDENTITY_CLIENT_ID`.
/// 3. Azure ML on behalf of the user: `OBO_ENDPOINT`.
/// 4. A workload's identity: `AZURE_TENANT_ID`, `AZURE_CLIENT_ID`, `AZURE_FEDERATED_TOKEN_FILE`.
/// 5. The account of `az login`.
///
/// A client secret or workload identity that is refused is an error; the chain does not continue
/// with another identity.
pub fn default() -> Arc<dyn Credential> {
    Arc::new(Cached::new(chain::Chain::from_vars(&env::var)))
}

/// Reads environment variables; tests provide their own.
type Vars<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The values of `names`, or an error with the names that are not set.
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

/// The audience of tokens: that of the public cloud, or the one in the environment.
fn audience(vars: Vars) -> String {
    vars(env::RESOURCE_MANAGER)
        .filter(|root| root.starts_with("https://"))
        .map_or_else(
            || RESOURCE_MANAGER.to_owned(),
            |root| root.trim_end_matches('/').to_owned(),
        )
}

/// The token in a response, if present. Endpoints report the expiry in different fields.
fn token_in(answer: &Value) -> Option<AccessToken> {
    let secret = ["access_token", "token"]
        .iter()
        .find_map(|name| answer[*name].as_str())?;
    let number = |name: &str| {
        let value = &answer[name];
        value.as_u64().or_else(|| value.as_str()?.parse().ok())
    };
    // The lifetime relative to now comes first: it does not depend on the clock of this machine.
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

/// The time that an endpoint reports in seconds, limited to a day from now: any number may be
/// reported, and a token with a longer lifetime is renewed after a day.
fn after(begin: SystemTime, seconds: u64) -> SystemTime {
    let latest = SystemTime::now() + LONGEST;
    begin
        .checked_add(Duration::from_secs(seconds))
        .map_or(latest, |time| time.min(latest))
}

/// Requests a token with retries. The error never contains `secrets`, even if the endpoint quotes
/// them.
async fn ask(
    who: &str,
    request: &reqwest::RequestBuilder,
    secrets: &[&str],
    hint: &str,
) -> Result<AccessToken> {
    // Fewer retries than for other calls: another credential may be available.
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
    // The message of the parser is not used: it may quote the token.
    token_in(&answer)
        .ok_or_else(|| failed(format!("{who} gave an answer that holds no token"), hint))
}

/// A client for an endpoint on this machine or in its network, which is never reached through a
/// proxy.
fn client_beside() -> Result<reqwest::Client> {
    http::client("http://127.0.0.1")
}

/// The error of a credential without a token.
fn failed(reason: impl Into<String>, hint: impl Into<String>) -> Error {
    Error::Credential {
        reason: reason.into(),
        hint: hint.into(),
        is_refused: false,
    }
}

/// The reason of an error, for the list of tried credentials.
fn reason(error: &Error) -> String {
    if let Error::Credential { reason, .. } = error {
        return reason.clone();
    }
    split_hint(&error.to_string()).0.to_owned()
}

#[cfg(test)]
mod tests;
