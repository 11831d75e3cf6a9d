//! Long operations: the service says "accepted", and where to ask how it went.

use super::retry::retry_after;
use super::{Answer, Call, Client, code_and_message, parse, service_error};
use crate::error::{Error, Result};
use reqwest::StatusCode;
use serde_json::Value;
use std::time::{Duration, Instant};

/// Before the next question, where the service does not say.
const PAUSE: Duration = Duration::from_secs(5);
/// On this machine nothing takes long.
const LOCAL_PAUSE: Duration = Duration::from_millis(100);

/// The longest pause between two questions, whatever the service asks for.
const LONGEST: Duration = Duration::from_mins(1);
/// No operation of these services takes as long.
const OPERATION: Duration = Duration::from_hours(2);

/// How long something that the service does is waited for.
pub struct Patience<'a> {
    what: &'a str,
    since: Instant,
}

impl<'a> Patience<'a> {
    /// Of a wait that begins now, for the end of `what`.
    pub fn new(what: &'a str) -> Self {
        Self {
            what,
            since: Instant::now(),
        }
    }

    /// Waits before the next question; an error when it has taken too long already.
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
    /// Waits until what a call has begun has ended. `Azure-AsyncOperation` leads to a status; `Location` answers 202 until it is done.
    pub async fn finish(&self, what: &str, answer: Answer) -> Result<()> {
        let address = |name: &str| {
            let value = answer.headers.get(name)?.to_str().ok()?;
            Some(value.to_owned())
        };
        let (url, has_status) = match (address("azure-asyncoperation"), address("location")) {
            (Some(url), _) => (url, true),
            // That of something that was made at once is where it is.
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

/// Whether an operation has ended; an error where it has not ended well.
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
