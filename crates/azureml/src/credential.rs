//! Who calls: tokens for Azure.

use crate::env;
use crate::error::{Error, Result};
use crate::http;
use chrono::{NaiveDateTime, TimeZone};
use futures::future::BoxFuture;
use serde::Deserialize;
use serde_json::Value;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::Mutex;

/// What the service's tokens are for.
const RESOURCE: &str = "https://management.azure.com/";
const SCOPE: &str = "https://management.azure.com/.default";
/// A token is renewed this long before it ends.
const MARGIN: Duration = Duration::from_mins(5);

/// Something that gives tokens for the scope `https://management.azure.com/.default`.
pub trait Credential: Send + Sync + fmt::Debug {
    /// A token that is good now.
    fn token(&self) -> BoxFuture<'_, Result<AccessToken>>;
}

/// A bearer token. `Debug` hides it.
#[derive(Clone)]
pub struct AccessToken {
    secret: String,
    expires: SystemTime,
}

impl AccessToken {
    /// A token and when it ends.
    pub fn new(secret: impl Into<String>, expires: SystemTime) -> Self {
        Self {
            secret: secret.into(),
            expires,
        }
    }

    /// The token itself; a secret.
    pub fn secret(&self) -> &str {
        &self.secret
    }

    fn is_fresh(&self) -> bool {
        SystemTime::now() + MARGIN < self.expires
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessToken")
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

/// The credential that is used where none is given: Azure ML's managed identity where there is one, else `az login`.
pub fn default() -> Arc<dyn Credential> {
    match ManagedIdentity::from_env() {
        Some(identity) => Arc::new(Cached::new(identity)),
        None => Arc::new(Cached::new(AzureCli)),
    }
}

/// Keeps a token until shortly before it ends.
#[derive(Debug)]
pub struct Cached<C> {
    inner: C,
    token: Mutex<Option<AccessToken>>,
}

impl<C: Credential> Cached<C> {
    /// Keeps the tokens of `inner`.
    pub fn new(inner: C) -> Self {
        Self {
            inner,
            token: Mutex::new(None),
        }
    }
}

impl<C: Credential> Credential for Cached<C> {
    fn token(&self) -> BoxFuture<'_, Result<AccessToken>> {
        Box::pin(async {
            // Held while a new one is fetched, so that many calls at once fetch one.
            let mut kept = self.token.lock().await;
            if let Some(token) = kept.as_ref().filter(|token| token.is_fresh()) {
                return Ok(token.clone());
            }
            let token = self.inner.token().await?;
            *kept = Some(token.clone());
            Ok(token)
        })
    }
}

/// The account of `az login`.
#[derive(Debug, Clone, Copy)]
pub struct AzureCli;

/// What `az account get-access-token` answers.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CliAnswer {
    access_token: String,
    #[serde(rename = "expires_on")]
    expires_at: Option<i64>,
    expires_on: Option<String>,
}

impl Credential for AzureCli {
    fn token(&self) -> BoxFuture<'_, Result<AccessToken>> {
        Box::pin(async {
            let output = tokio::process::Command::new("az")
                .args(["account", "get-access-token", "--output", "json", "--scope", SCOPE])
                .stdin(std::process::Stdio::null())
                .output()
                .await
                .map_err(|error| {
                    no_credential(
                        format!("the Azure CLI (`az`) cannot be run: {error}"),
                        "install the Azure CLI and sign in with `az login`, or work without an account: `Workspace::local()`",
                    )
                })?;
            if !output.status.success() {
                let text = String::from_utf8_lossy(&output.stderr);
                let line = text
                    .lines()
                    .find(|line| !line.trim().is_empty())
                    .unwrap_or("no reason given");
                return Err(no_credential(
                    format!(
                        "`az account get-access-token` says: {}",
                        line.trim_start_matches("ERROR: ")
                    ),
                    "sign in with `az login`, or work without an account: `Workspace::local()`",
                ));
            }
            let answer: CliAnswer = serde_json::from_slice(&output.stdout).map_err(|_| {
                // Not the parser's own words: they may quote the token.
                no_credential(
                    "`az account get-access-token` answered something that is no token".to_owned(),
                    "update the Azure CLI with `az upgrade`",
                )
            })?;
            let expires = answer
                .expires_at
                .or_else(|| local_time(answer.expires_on.as_deref()?))
                .map_or_else(SystemTime::now, from_unix);
            Ok(AccessToken::new(answer.access_token, expires))
        })
    }
}

/// Azure ML's managed identity, as a compute instance or a job has it.
pub struct ManagedIdentity {
    endpoint: String,
    secret: Option<String>,
    client_id: Option<String>,
}

impl fmt::Debug for ManagedIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManagedIdentity")
            .field("endpoint", &self.endpoint)
            .field("client_id", &self.client_id)
            .finish_non_exhaustive()
    }
}

impl ManagedIdentity {
    /// The identity that the variables name; `None` where there is none.
    pub fn from_env() -> Option<Self> {
        Some(Self {
            endpoint: env::var(env::MSI_ENDPOINT)?,
            secret: env::var(env::MSI_SECRET),
            client_id: env::var(env::DEFAULT_IDENTITY_CLIENT_ID),
        })
    }
}

impl Credential for ManagedIdentity {
    fn token(&self) -> BoxFuture<'_, Result<AccessToken>> {
        const HINT: &str = "assign an identity to this compute and give it a role in the workspace, or sign in with `az login`";
        Box::pin(async {
            let mut query = vec![("api-version", "2017-09-01"), ("resource", RESOURCE)];
            if let Some(id) = &self.client_id {
                query.push(("clientid", id));
            }
            // The endpoint is on this machine, or on its own network; a proxy never leads there.
            let client = http::client("http://127.0.0.1")?;
            let mut request = client.get(&self.endpoint).query(&query);
            if let Some(secret) = &self.secret {
                request = request.header("secret", secret);
            }
            let response = request.send().await.map_err(|error| {
                no_credential(
                    format!(
                        "the managed identity does not answer: {}",
                        http::describe(error)
                    ),
                    HINT,
                )
            })?;
            let status = response.status();
            let body: Value = response.json().await.unwrap_or_default();
            let expires = body["expires_on"]
                .as_i64()
                .or_else(|| body["expires_on"].as_str()?.parse().ok())
                .map_or_else(SystemTime::now, from_unix);
            match body["access_token"].as_str() {
                Some(secret) if status.is_success() => Ok(AccessToken::new(secret, expires)),
                _ => Err(no_credential(
                    format!("the managed identity answers {status}"),
                    HINT,
                )),
            }
        })
    }
}

fn no_credential(reason: String, hint: &'static str) -> Error {
    Error::Credential { reason, hint }
}

fn from_unix(seconds: i64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.max(0) as u64)
}

/// `2026-01-31 12:00:00.000000` in the machine's own time, as older versions of `az` say it.
fn local_time(text: &str) -> Option<i64> {
    let time = NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f").ok()?;
    Some(
        chrono::Local
            .from_local_datetime(&time)
            .earliest()?
            .timestamp(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[derive(Debug)]
    struct Counting {
        calls: AtomicU32,
        lifetime: Duration,
    }

    impl Credential for Counting {
        fn token(&self) -> BoxFuture<'_, Result<AccessToken>> {
            let call = self.calls.fetch_add(1, Ordering::Relaxed);
            let expires = SystemTime::now() + self.lifetime;
            Box::pin(async move { Ok(AccessToken::new(format!("t{call}"), expires)) })
        }
    }

    #[tokio::test]
    async fn tokens_are_kept_until_shortly_before_they_end() {
        for (lifetime, calls) in [(3600, 1), (200, 2)] {
            let cached = Cached::new(Counting {
                calls: AtomicU32::new(0),
                lifetime: Duration::from_secs(lifetime),
            });
            cached.token().await.unwrap();
            cached.token().await.unwrap();
            assert_eq!(cached.inner.calls.load(Ordering::Relaxed), calls);
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let token = AccessToken::new("hidden", SystemTime::now());
        let identity = ManagedIdentity {
            endpoint: "http://127.0.0.1/token".into(),
            secret: Some("hidden".into()),
            client_id: None,
        };
        assert!(!format!("{token:?} {identity:?}").contains("hidden"));
    }
}
