//! A chain of credentials: the first one that works.

use super::{
    AccessToken, AzureCli, ClientSecret, Credential, ManagedIdentity, OnBehalfOf, Vars,
    WorkloadIdentity, reason,
};
use crate::error::{Error, Result};
use futures::future::BoxFuture;
use std::fmt::Write;
use std::sync::OnceLock;

/// A source of tokens.
#[derive(Debug)]
struct Source {
    name: &'static str,
    /// The credential, or the reason for its absence.
    credential: Result<Box<dyn Credential>, String>,
    /// Whether the source was configured for this program: if it is refused, no other identity is
    /// used in its place.
    is_meant: bool,
}

/// The first credential that works; the choice is kept.
#[derive(Debug)]
pub struct Chain {
    sources: Vec<Source>,
    chosen: OnceLock<usize>,
}

impl Chain {
    /// The order of [`default`](super::default).
    pub fn from_vars(vars: Vars) -> Self {
        fn boxed<C: Credential + 'static>(
            credential: Result<C, String>,
        ) -> Result<Box<dyn Credential>, String> {
            credential.map(|credential| Box::new(credential) as Box<dyn Credential>)
        }
        let sources = [
            ("client secret", boxed(ClientSecret::from_vars(vars)), true),
            (
                "managed identity",
                boxed(ManagedIdentity::from_vars(vars)),
                false,
            ),
            (
                "on behalf of the user",
                boxed(OnBehalfOf::from_vars(vars)),
                false,
            ),
            (
                "workload identity",
                boxed(WorkloadIdentity::from_vars(vars)),
                true,
            ),
            ("`az login`", boxed(Ok(AzureCli::from_vars(vars))), false),
        ];
        Self {
            sources: sources
                .into_iter()
                .map(|(name, credential, is_meant)| Source {
                    name,
                    credential,
                    is_meant,
                })
                .collect(),
            chosen: OnceLock::new(),
        }
    }

    async fn get(&self) -> Result<AccessToken> {
        if let Some(chosen) = self.chosen.get()
            && let Some(source) = self.sources.get(*chosen)
            && let Ok(credential) = &source.credential
        {
            return credential.token().await;
        }
        let mut tried = String::new();
        let mut way_out = String::new();
        for (index, source) in self.sources.iter().enumerate() {
            let why = match &source.credential {
                Err(why) => why.clone(),
                Ok(credential) => match credential.token().await {
                    Ok(token) => {
                        tracing::info!(credential = source.name, "signed in");
                        let _ = self.chosen.set(index);
                        return Ok(token);
                    }
                    Err(error) => {
                        let why = reason(&error);
                        if let Error::Credential {
                            hint, is_refused, ..
                        } = error
                        {
                            way_out = hint;
                            if is_refused && source.is_meant {
                                line(&mut tried, source.name, &why);
                                break;
                            }
                        }
                        why
                    }
                },
            };
            line(&mut tried, source.name, &why);
        }
        Err(super::failed(tried, way_out))
    }
}

/// Appends to the list of tried credentials. Writing to a String cannot fail.
fn line(tried: &mut String, name: &str, why: &str) {
    let why = why.replace('\n', "\n    ");
    let _ = write!(tried, "\n  {name}: {why}");
}

impl Credential for Chain {
    fn token(&self) -> BoxFuture<'_, Result<AccessToken>> {
        Box::pin(self.get())
    }
}
