//! Tokens of the account of `az login`.

use super::{AccessToken, Credential, Vars, after, audience, failed};
use crate::env;
use crate::error::Result;
use chrono::{NaiveDateTime, TimeZone};
use futures::future::BoxFuture;
use serde::Deserialize;
use std::process::Stdio;
use std::time::{Duration, SystemTime};
use tokio::process::Command;

/// The time limit for `az`, which uses the network and starts slowly.
const PATIENCE: Duration = Duration::from_mins(1);
const SIGN_IN: &str = "sign in with `az login`, or work without an account: `Workspace::local()`";
const INSTALL: &str = "install the Azure CLI and sign in with `az login`, or work without an account: `Workspace::local()`";

/// The account of `az login`.
#[derive(Debug, Clone)]
pub struct AzureCli {
    scope: String,
    /// The search path for programs.
    path: Option<String>,
}

impl AzureCli {
    /// The account of `az login`.
    pub fn new() -> Self {
        Self::from_vars(&env::var)
    }

    pub(super) fn from_vars(vars: Vars) -> Self {
        Self {
            scope: format!("{}/.default", audience(vars)),
            path: vars("PATH"),
        }
    }

    async fn get(&self) -> Result<AccessToken> {
        let mut command = Command::new("az");
        command
            .args(["account", "get-access-token", "--output", "json", "--scope"])
            .arg(&self.scope)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        if let Some(path) = &self.path {
            command.env("PATH", path);
        }
        let output = tokio::time::timeout(PATIENCE, command.output())
            .await
            .map_err(|_| {
                failed(
                    format!(
                        "`az account get-access-token` does not answer within {} s",
                        PATIENCE.as_secs()
                    ),
                    SIGN_IN,
                )
            })?
            .map_err(|error| {
                failed(
                    format!("the Azure CLI (`az`) cannot be run: {error}"),
                    INSTALL,
                )
            })?;
        if !output.status.success() {
            let text = String::from_utf8_lossy(&output.stderr);
            let line = text
                .lines()
                .find(|line| !line.trim().is_empty())
                .unwrap_or("no reason given");
            return Err(failed(
                format!(
                    "`az account get-access-token` says: {}",
                    line.trim_start_matches("ERROR: ")
                ),
                SIGN_IN,
            ));
        }
        let answer: Answer = serde_json::from_slice(&output.stdout).map_err(|_| {
            // The message of the parser is not used: it may quote the token.
            failed(
                "`az account get-access-token` answered something that is no token",
                "update the Azure CLI with `az upgrade`",
            )
        })?;
        let expires = answer
            .expires_at
            .or_else(|| local_time(answer.expires_on.as_deref()?))
            .map_or_else(SystemTime::now, |seconds| {
                after(SystemTime::UNIX_EPOCH, seconds.max(0) as u64)
            });
        Ok(AccessToken::new(answer.access_token, expires))
    }
}

impl Default for AzureCli {
    fn default() -> Self {
        Self::new()
    }
}

/// The output of `az account get-access-token`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    access_token: String,
    #[serde(rename = "expires_on")]
    expires_at: Option<i64>,
    expires_on: Option<String>,
}

impl Credential for AzureCli {
    fn token(&self) -> BoxFuture<'_, Result<AccessToken>> {
        Box::pin(self.get())
    }
}

/// Parses `2026-01-31 12:00:00.000000` in the time zone of the machine, the format of older
/// versions of `az`.
fn local_time(text: &str) -> Option<i64> {
    let time = NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f").ok()?;
    Some(
        chrono::Local
            .from_local_datetime(&time)
            .earliest()?
            .timestamp(),
    )
}
