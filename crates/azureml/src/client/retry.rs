//! Retries with exponential backoff and jitter.

use super::answer::{Answer, service_error};
use crate::error::{Error, Result};
use crate::http::{self, Unread};
use chrono::{DateTime, Utc};
use reqwest::header::{DATE, HeaderMap, HeaderName, RETRY_AFTER};
use reqwest::{RequestBuilder, StatusCode};
use std::time::{Duration, Instant};

/// The most tries of one call.
const TRIES: u32 = 6;
/// The most tries of a call whose failure has an alternative.
const BRIEF: u32 = 3;
/// No try starts later than this after the first.
const PATIENCE: Duration = Duration::from_mins(2);
const FIRST_WAIT: Duration = Duration::from_millis(400);

/// The tries of one call.
pub struct Retry {
    what: String,
    most: u32,
    tries: u32,
    since: Instant,
}

/// The result of one try.
pub enum Verdict {
    /// The call has ended.
    Done(Result<Answer>),
    /// The service was busy; the wait is over, and the call can be sent again.
    Again,
}

impl Retry {
    /// The tries of the operation `what`.
    pub fn new(what: &str) -> Self {
        Self {
            what: what.to_owned(),
            most: TRIES,
            tries: 0,
            since: Instant::now(),
        }
    }

    /// Few tries of the operation `what`, for a call with an alternative.
    pub fn brief(what: &str) -> Self {
        Self {
            most: BRIEF,
            ..Self::new(what)
        }
    }

    /// A single try, for a call that is repeated by its caller.
    pub fn once(what: &str) -> Self {
        Self {
            most: 1,
            ..Self::new(what)
        }
    }

    /// Sends a request until it succeeds or fails permanently.
    pub async fn send(
        mut self,
        request: impl AsyncFn() -> Result<RequestBuilder>,
    ) -> Result<Answer> {
        loop {
            let sent = request().await?.send().await;
            if let Verdict::Done(answer) = self.judge_sent(sent).await {
                return answer;
            }
        }
    }

    /// Like [`Retry::send`], for a request whose body is not a stream.
    pub async fn send_copies(mut self, request: &RequestBuilder) -> Result<Answer> {
        loop {
            let Some(copy) = request.try_clone() else {
                return Err(Error::Http("a stream cannot be sent twice".to_owned()));
            };
            let sent = copy.send().await;
            if let Verdict::Done(answer) = self.judge_sent(sent).await {
                return answer;
            }
        }
    }

    async fn judge_sent(&mut self, sent: reqwest::Result<reqwest::Response>) -> Verdict {
        match sent {
            Ok(response) => self.judge(response).await,
            Err(error) => self.again(&error.into()).await,
        }
    }

    async fn again(&mut self, unread: &Unread) -> Verdict {
        match self.wait_or_fail(unread).await {
            Ok(()) => Verdict::Again,
            Err(error) => Verdict::Done(Err(error)),
        }
    }

    /// Reads a response; waits if it is transient, for the time in `Retry-After` if present.
    pub async fn judge(&mut self, response: reqwest::Response) -> Verdict {
        let status = response.status();
        let headers = response.headers().clone();
        let body = match http::read(response, http::ANSWER).await {
            Ok(body) => body,
            Err(unread) => return self.again(&unread).await,
        };
        if status.is_success() {
            return Verdict::Done(Ok(Answer {
                status,
                headers,
                body,
            }));
        }
        self.tries += 1;
        if is_transient(status)
            && let Some(wait) = self.next_wait(retry_after(&headers))
        {
            tracing::debug!(
                call = self.what,
                status = status.as_u16(),
                tries = self.tries,
                "tried again after an answer that asks for it"
            );
            tokio::time::sleep(wait).await;
            return Verdict::Again;
        }
        Verdict::Done(Err(service_error(
            &self.what, status, &headers, &body, self.tries,
        )))
    }

    /// After a transport error: waits for the next try, or returns the error if no try is left.
    pub async fn wait_or_fail(&mut self, unread: &Unread) -> Result<()> {
        let is_ours = match unread {
            Unread::TooLarge(_) => {
                return Err(Error::Answer {
                    call: self.what.clone(),
                    reason: unread.to_string(),
                });
            }
            Unread::TooSlow(_) => false,
            Unread::Lost(error) => error.is_builder(),
        };
        self.tries += 1;
        let wait = self.next_wait(None).filter(|_| !is_ours);
        let Some(wait) = wait else {
            return Err(Error::Transport {
                call: self.what.clone(),
                tries: self.tries,
                reason: unread.to_string(),
                hint: "check the network and the proxy; the service may be away for a moment",
            });
        };
        tracing::debug!(
            call = self.what,
            tries = self.tries,
            "tried again after an error on the way"
        );
        tokio::time::sleep(wait).await;
        Ok(())
    }

    /// Waits before a retry; `false` if no try is left.
    pub async fn wait(&mut self) -> bool {
        self.tries += 1;
        let Some(wait) = self.next_wait(None) else {
            self.tries -= 1;
            return false;
        };
        tokio::time::sleep(wait).await;
        true
    }

    fn next_wait(&self, asked: Option<Duration>) -> Option<Duration> {
        if self.tries >= self.most {
            return None;
        }
        // Exponential backoff with a jitter of up to a quarter, so that clients that failed at the
        // same time do not retry at the same time.
        let own = FIRST_WAIT * 2_u32.pow(self.tries - 1);
        let jitter = own.mul_f64(f64::from(uuid::Uuid::new_v4().as_bytes()[0]) / 1024.0);
        let wait = asked.unwrap_or(own + jitter);
        // The service may request any number of seconds.
        let end = self.since.elapsed().checked_add(wait)?;
        (end < PATIENCE).then_some(wait)
    }
}

fn is_transient(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 429 | 500 | 502..=504)
}

/// The wait of `Retry-After`, in seconds or as a time. A time is in the clock of the service, so
/// that it is compared with the `Date` of the response.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: HeaderName| headers.get(name)?.to_str().ok().map(str::trim);
    let time = |text: &str| DateTime::parse_from_rfc2822(text).ok();
    let asked = text(RETRY_AFTER)?;
    if let Ok(seconds) = asked.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let now = text(DATE)
        .and_then(time)
        .unwrap_or_else(|| Utc::now().fixed_offset());
    Some((time(asked)? - now).to_std().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_read_in_seconds_and_as_times() {
        let wait = |asked: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, asked.parse().unwrap());
            headers.insert(DATE, "Wed, 25 Nov 2026 10:00:00 GMT".parse().unwrap());
            retry_after(&headers)
        };
        assert_eq!(wait(" 7"), Some(Duration::from_secs(7)));
        let time = "Wed, 25 Nov 2026 10:00:09 GMT";
        assert_eq!(wait(time), Some(Duration::from_secs(9)));
        // A time in the past.
        let time = "Wed, 25 Nov 2026 09:00:00 GMT";
        assert_eq!(wait(time), Some(Duration::ZERO));
        assert_eq!(wait("soon"), None);
        let mut retry = Retry::new("x");
        retry.tries = 1;
        assert_eq!(retry.next_wait(wait(&u64::MAX.to_string())), None);
        assert_eq!(retry.next_wait(wait("7")), wait("7"));
    }
}
