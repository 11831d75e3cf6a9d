//! A token that is kept until shortly before it ends.

use super::{AccessToken, Credential, reason};
use crate::error::{Error, Result};
use futures::future::BoxFuture;
use std::time::Instant;
use tokio::sync::Mutex;

/// Keeps a token until shortly before it ends, and renews it once however many calls wait for it.
#[derive(Debug)]
pub struct Cached<C> {
    inner: C,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    token: Option<AccessToken>,
    /// When the last try failed, and how: those who waited for it are told, and do not try once more each.
    failed: Option<(Instant, Error)>,
}

impl<C: Credential> Cached<C> {
    /// Keeps the tokens of `inner`.
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
        // Held while a new one is fetched, so that many calls at once fetch one.
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
                // Renewing began early enough to fail a few times.
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

/// The same error for somebody else.
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
        // A credential of the program's own, which has its own errors.
        other => super::failed(
            reason(other),
            crate::error::split_hint(&other.to_string())
                .1
                .unwrap_or("look at the credential that the program gave"),
        ),
    }
}
