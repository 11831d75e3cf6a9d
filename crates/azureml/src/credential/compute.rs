//! Tokens from the endpoints of Azure ML compute.

use super::{AccessToken, Credential, Vars, all_of, ask, audience, client_beside, failed};
use crate::env;
use crate::error::Result;
use futures::future::BoxFuture;
use std::fmt;

const HINT: &str = "assign an identity to this compute and give it a role in the workspace, or sign in with `az login`";

/// The managed identity of a compute instance or a job of Azure ML. `Debug` hides its secret.
pub struct ManagedIdentity {
    endpoint: String,
    secret: String,
    client_id: String,
    /// The audience of the tokens.
    resource: String,
}

impl ManagedIdentity {
    /// The identity in `MSI_ENDPOINT`, `MSI_SECRET` and `DEFAULT_IDENTITY_CLIENT_ID`; Azure ML
    /// requires all three.
    pub fn from_env() -> Result<Self> {
        Self::from_vars(&env::var).map_err(|reason| failed(reason, HINT))
    }

    /// The credential in the environment variables, or the reason for its absence.
    pub(super) fn from_vars(vars: Vars) -> Result<Self, String> {
        let [endpoint, secret, client_id] = all_of(
            vars,
            [
                env::MSI_ENDPOINT,
                env::MSI_SECRET,
                env::DEFAULT_IDENTITY_CLIENT_ID,
            ],
        )?;
        Ok(Self {
            endpoint,
            secret,
            client_id,
            resource: format!("{}/", audience(vars)),
        })
    }

    async fn get(&self) -> Result<AccessToken> {
        let client = client_beside()?;
        let query = [
            ("api-version", "2017-09-01"),
            ("resource", &self.resource),
            ("clientid", &self.client_id),
        ];
        let request = client
            .get(&self.endpoint)
            .query(&query)
            .header("secret", &self.secret);
        ask(
            "asking for the managed identity",
            &request,
            &[&self.secret],
            HINT,
        )
        .await
    }
}

impl fmt::Debug for ManagedIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManagedIdentity")
            .field("endpoint", &self.endpoint)
            .field("client_id", &self.client_id)
            .finish_non_exhaustive()
    }
}

impl Credential for ManagedIdentity {
    fn token(&self) -> BoxFuture<'_, Result<AccessToken>> {
        Box::pin(self.get())
    }
}

/// The user who submitted the job of this program, if the job was submitted with the user's
/// identity.
#[derive(Debug)]
pub struct OnBehalfOf {
    endpoint: String,
    /// The audience of the tokens.
    resource: String,
}

impl OnBehalfOf {
    /// The user behind `OBO_ENDPOINT`.
    pub fn from_env() -> Result<Self> {
        Self::from_vars(&env::var).map_err(|reason| {
            failed(
                reason,
                "submit the job with the user's identity, or sign in with `az login`",
            )
        })
    }

    /// The credential in the environment variables, or the reason for its absence.
    pub(super) fn from_vars(vars: Vars) -> Result<Self, String> {
        let [endpoint] = all_of(vars, [env::OBO_ENDPOINT])?;
        Ok(Self {
            endpoint,
            resource: audience(vars),
        })
    }

    async fn get(&self) -> Result<AccessToken> {
        let client = client_beside()?;
        let request = client
            .get(&self.endpoint)
            .query(&[("resource", &self.resource)]);
        ask("asking on behalf of the user", &request, &[], HINT).await
    }
}

impl Credential for OnBehalfOf {
    fn token(&self) -> BoxFuture<'_, Result<AccessToken>> {
        Box::pin(self.get())
    }
}
