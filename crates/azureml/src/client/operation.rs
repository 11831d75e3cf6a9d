//! Long-running operations: status 202 and a URL to poll.

use super::answer::{Answer, code_and_message, parse, service_error};
use super::retry::retry_after;
use super::{Call, Client};
use crate::error::{Error, Result};
use reqwest::StatusCode;
use serde_json::Value;
use std::time::{Duration, Instant};

/// The polling interval on Azure, if the service does not send one.
const PAUSE: Duration = Duration::from_secs(5);
/// The polling interval in the local workspace, where operations are short.
const LOCAL_PAUSE: Duration = Duration::from_millis(100);

/// The longest polling interval, also if the service requests a longer one.
const LONGEST: Duration = Duration::from_mins(1);
/// The longest wait for an operation.
const OPERATION: Duration = Duration::from_hours(2);

/// A time limit on the wait for an operation.
pub struct Patience<'a> {
    what: &'a str,
    since: Instant,
}

impl<'a> Patience<'a> {
    /// Starts a wait for the end of `what`.
    pub fn new(what: &'a str) -> Self {
        Self {
            what,
            since: Instant::now(),
        }
    }

    /// Sleeps before the next poll; an error when the time limit has passed.
    pub async fn pause(&self, asked: Duration) -> Result<()> {
        if self.since.elapsed() > OPERATION {
            return Err(Error::invalid(
                format!(
                    "{} has not ended after {} hours",
                    self.what,
                    OPERATION.as_secs() / 3600
                ),
                "it may go on: Studio shows how it stands",
            ));
        }
        tokio::time::sleep(asked.min(LONGEST)).await;
        Ok(())
    }
}

impl Client {
    /// Waits for the end of the operation that a call has started. `Azure-AsyncOperation` is a URL
    /// with a status; `Location` is a URL that returns status 202 until the operation has ended.
    pub async fn finish(&self, what: &str, answer: Answer) -> Result<()> {
        let address = |name: &str| {
            let value = answer.headers.get(name)?.to_str().ok()?;
            Some(value.to_owned())
        };
        let (url, has_status) = match (address("azure-asyncoperation"), address("location")) {
            (Some(url), _) => (url, true),
            // Without status 202, `Location` is the address of the created resource.
            (None, Some(url)) if answer.status == StatusCode::ACCEPTED => (url, false),
            _ => return Ok(()),
        };
        let patience = Patience::new(what);
        loop {
            let answer = self.send(Call::url(what, url.clone())).await?;
            let is_done = if has_status {
                is_done(what, &answer)?
            } else {
                answer.status != StatusCode::ACCEPTED
            };
            if is_done {
                return Ok(());
            }
            let pause = if self.is_local() { LOCAL_PAUSE } else { PAUSE };
            let asked = retry_after(&answer.headers).unwrap_or(pause);
            patience.pause(asked).await?;
        }
    }
}

/// Whether an operation has ended; an error when it has failed.
fn is_done(what: &str, answer: &Answer) -> Result<bool> {
    let operation: Value = parse(what, &answer.body)?;
    match operation["status"].as_str() {
        Some("Succeeded") => Ok(true),
        Some(status @ ("Failed" | "Canceled")) => {
            if code_and_message(&answer.body).1.is_empty() {
                return Err(Error::invalid(
                    format!("{what} ended as {status}, and the service gave no reason"),
                    "Studio may show it",
                ));
            }
            Err(service_error(
                what,
                answer.status,
                &answer.headers,
                &answer.body,
                1,
            ))
        }
        Some(_) => Ok(false),
        None => Err(Error::Answer {
            call: what.to_owned(),
            reason: "the operation has no status".to_owned(),
        }),
    }
}
