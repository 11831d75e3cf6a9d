//! Tokens from the authority (Microsoft Entra ID), for programs with an application identity.

use super::{AccessToken, Credential, Vars, all_of, ask, audience, failed};
use crate::error::{Error, Result};
use crate::{env, http};
use azureml_wire::routes::encode;
use futures::future::BoxFuture;
use reqwest::header::CONTENT_TYPE;
use std::fmt;
use std::path::PathBuf;

/// The authority of the public cloud.
const PUBLIC: &str = "https://login.microsoftonline.com";
const SECRET_HINT: &str = "check AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET; a secret ends on a day that its application's page shows";
const ASSERTION: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// An application of a tenant, and its authority.
#[derive(Debug, Clone)]
struct Application {
    authority: String,
    tenant_id: String,
    client_id: String,
    scope: String,
}

impl Application {
    fn new(vars: Vars, tenant_id: String, client_id: String) -> Result<Self, String> {
        let authority = vars(env::AZURE_AUTHORITY_HOST).unwrap_or_else(|| PUBLIC.to_owned());
        // The variable may contain only the host.
        let authority = if authority.contains("://") {
            authority
        } else {
            format!("https://{authority}")
        };
        if !authority.starts_with("https://") && !http::is_loopback(&authority) {
            return Err(
                "AZURE_AUTHORITY_HOST is no https address, and a secret would be sent there"
                    .to_owned(),
            );
        }
        Ok(Self {
            authority: authority.trim_end_matches('/').to_owned(),
            tenant_id,
            client_id,
            scope: format!("{}/.default", audience(vars)),
        })
    }

    /// Requests a token with `proof` of the application's identity.
    async fn token(&self, who: &str, proof: &[(&str, &str)], hint: &str) -> Result<AccessToken> {
        let url = format!(
            "{}/{}/oauth2/v2.0/token",
            self.authority,
            encode(&self.tenant_id)
        );
        let own = [
            ("grant_type", "client_credentials"),
            ("client_id", &self.client_id),
            ("scope", &self.scope),
        ];
        let form: Vec<String> = own
            .iter()
            .chain(proof)
            .map(|(name, value)| format!("{name}={}", encode(value)))
            .collect();
        let form = form.join("&");
        let client = http::client(&self.authority)?;
        let request = client
            .post(&url)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form);
        let secrets: Vec<&str> = proof.iter().map(|(_, value)| *value).collect();
        ask(who, &request, &secrets, hint).await
    }
}

/// An application with a client secret, for programs without a user. `Debug` hides the secret.
pub struct ClientSecret {
    application: Application,
    secret: String,
}

impl ClientSecret {
    /// The application of a tenant with its secret. `AZURE_AUTHORITY_HOST` sets another authority
    /// than that of the public cloud.
    pub fn new(
        tenant_id: impl Into<String>,
        client_id: impl Into<String>,
        secret: impl Into<String>,
    ) -> Result<Self> {
        let application = Application::new(&env::var, tenant_id.into(), client_id.into());
        Ok(Self {
            application: application.map_err(wrong_authority)?,
            secret: secret.into(),
        })
    }

    /// The credential in the environment variables, or the reason for its absence.
    pub(super) fn from_vars(vars: Vars) -> Result<Self, String> {
        let [tenant_id, client_id, secret] = all_of(
            vars,
            [
                env::AZURE_TENANT_ID,
                env::AZURE_CLIENT_ID,
                env::AZURE_CLIENT_SECRET,
            ],
        )?;
        Ok(Self {
            application: Application::new(vars, tenant_id, client_id)?,
            secret,
        })
    }
}

impl fmt::Debug for ClientSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientSecret")
            .field("application", &self.application)
            .finish_non_exhaustive()
    }
}

impl Credential for ClientSecret {
    fn token(&self) -> BoxFuture<'_, Result<AccessToken>> {
        Box::pin(async {
            let who = "signing in with a client secret";
            let proof = [("client_secret", self.secret.as_str())];
            self.application.token(who, &proof, SECRET_HINT).await
        })
    }
}

/// An application that is authenticated by a federated token of its platform (Kubernetes) in a
/// file.
#[derive(Debug)]
pub struct WorkloadIdentity {
    application: Application,
    /// The path of the file. Its content is a secret that the platform replaces regularly.
    token_file: PathBuf,
}

impl WorkloadIdentity {
    /// The application of a tenant, and the file with the platform's token. `AZURE_AUTHORITY_HOST`
    /// sets another authority than that of the public cloud.
    pub fn new(
        tenant_id: impl Into<String>,
        client_id: impl Into<String>,
        token_file: impl Into<PathBuf>,
    ) -> Result<Self> {
        let application = Application::new(&env::var, tenant_id.into(), client_id.into());
        Ok(Self {
            application: application.map_err(wrong_authority)?,
            token_file: token_file.into(),
        })
    }

    /// The credential in the environment variables, or the reason for its absence.
    pub(super) fn from_vars(vars: Vars) -> Result<Self, String> {
        let [tenant_id, client_id, token_file] = all_of(
            vars,
            [
                env::AZURE_TENANT_ID,
                env::AZURE_CLIENT_ID,
                env::AZURE_FEDERATED_TOKEN_FILE,
            ],
        )?;
        Ok(Self {
            application: Application::new(vars, tenant_id, client_id)?,
            token_file: token_file.into(),
        })
    }

    async fn get(&self) -> Result<AccessToken> {
        const HINT: &str =
            "check the service account of this pod and the federated credential of its application";
        let assertion = tokio::fs::read_to_string(&self.token_file)
            .await
            .map_err(|error| {
                failed(
                    format!("cannot read {}: {error}", self.token_file.display()),
                    HINT,
                )
            })?;
        let proof = [
            ("client_assertion_type", ASSERTION),
            ("client_assertion", assertion.trim()),
        ];
        let who = "signing in with the workload's identity";
        self.application.token(who, &proof, HINT).await
    }
}

impl Credential for WorkloadIdentity {
    fn token(&self) -> BoxFuture<'_, Result<AccessToken>> {
        Box::pin(self.get())
    }
}

fn wrong_authority(reason: String) -> Error {
    failed(
        reason,
        "set AZURE_AUTHORITY_HOST to the authority of your cloud, or unset it",
    )
}
