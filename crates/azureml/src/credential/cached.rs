//! A cache of a token until shortly before its expiry.

use super::{AccessToken, Credential, reason};
use crate::error::{Error, Result};
use futures::future::BoxFuture;
use std::time::Instant;
use tokio::sync::Mutex;

/// Caches a token until shortly before its expiry. Concurrent calls share one renewal.
#[derive(Debug)]
pub struct Cached<C> {
    inner: C,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    token: Option<AccessToken>,
    /// The time and the error of the last failed try: calls that waited for it return the same
    /// error, and do not try again.
    failed: Option<(Instant, Error)>,
}

impl<C: Credential> Cached<C> {
    /// Caches the tokens of `inner`.
    pub fn new(inner: C) -> Self {
        Self {
            inner,
            kept: Mutex::default(),
        }
    }

    #[cfg(test)]
    pub(super) async fn keep(&self, token: AccessToken) {
        self.kept.lock().await.token = Some(token);
    }

    async fn get(&self, refused: Option<&AccessToken>) -> Result<AccessToken> {
        let asked = Instant::now();
        // The lock is held during a renewal, so that concurrent calls fetch one token.
        let mut kept = self.kept.lock().await;
        let is_refused =
            |token: &AccessToken| refused.is_some_and(|refused| refused.secret == token.secret);
        let usable = kept.token.as_ref().filter(|token| !is_refused(token));
        if let Some(token) = usable.filter(|token| token.is_fresh()) {
            return Ok(token.clone());
        }
        if let Some((at, error)) = &kept.failed
            && *at >= asked
        {
            return Err(again(error));
        }
        match self.inner.token().await {
            Ok(token) => {
                kept.token = Some(token.clone());
                Ok(token)
            }
            Err(error) => {
                // The renewal starts early enough for a few failures.
                if let Some(token) = usable.filter(|token| token.is_good()) {
                    tracing::warn!(
                        reason = reason(&error),
                        "the token could not be renewed and is used on"
                    );
                    return Ok(token.clone());
                }
                let told = again(&error);
                kept.failed = Some((Instant::now(), error));
                Err(told)
            }
        }
    }
}

impl<C: Credential> Credential for Cached<C> {
    fn token(&self) -> BoxFuture<'_, Result<AccessToken>> {
        Box::pin(self.get(None))
    }

    fn renew<'a>(&'a self, refused: &'a AccessToken) -> BoxFuture<'a, Result<AccessToken>> {
        Box::pin(self.get(Some(refused)))
    }
}

/// A copy of the error for another caller.
fn again(error: &Error) -> Error {
    match error {
        Error::Credential {
            reason,
            hint,
            is_refused,
        } => Error::Credential {
            reason: reason.clone(),
            hint: hint.clone(),
            is_refused: *is_refused,
        },
        // A credential of the application, with another type of error.
        other => super::failed(
            reason(other),
            crate::error::split_hint(&other.to_string())
                .1
                .unwrap_or("look at the credential that the program gave"),
        ),
    }
}
