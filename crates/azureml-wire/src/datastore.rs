//! Datastores: blob containers that belong to the workspace.

use crate::Bag;
use serde::{Deserialize, Serialize};

/// A datastore. Types other than blob containers deserialize as [`Datastore::Other`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "datastoreType")]
#[allow(
    clippy::large_enum_variant,
    reason = "held one at a time, between reading and use"
)]
pub enum Datastore {
    /// A blob container.
    AzureBlob(AzureBlobDatastore),
    /// Any other type.
    #[serde(other)]
    Other,
}

/// A blob container and its location.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AzureBlobDatastore {
    /// The description.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Tags.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<Bag>,
    /// Properties.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub properties: Option<Bag>,
    /// The credential type only; `listSecrets` returns the secret.
    pub credentials: DatastoreCredentials,
    /// Whether this is the default datastore of the workspace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_default: Option<bool>,
    /// The storage account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account_name: Option<String>,
    /// The container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_name: Option<String>,
    /// `core.windows.net`, or `127.0.0.1:port` for a store on loopback.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// `https`, or `http` on loopback.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
}

/// The credential type, without the secret.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DatastoreCredentials {
    /// `AccountKey`, `Sas`, `None`, ….
    pub credentials_type: String,
    /// The type of secret that `listSecrets` returns; never the secret itself.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub secrets: Option<SecretsKind>,
}

impl Default for DatastoreCredentials {
    fn default() -> Self {
        Self {
            credentials_type: "None".to_owned(),
            secrets: None,
        }
    }
}

/// The type of a secret.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretsKind {
    /// `AccountKey`, `Sas`, ….
    pub secrets_type: String,
}

/// The response of `listSecrets`. Has no `Debug`: it contains secrets.
#[derive(Clone, Serialize, Deserialize)]
#[serde(tag = "secretsType")]
pub enum DatastoreSecrets {
    /// The key of the storage account, in base64.
    AccountKey {
        /// The key.
        key: String,
    },
    /// A shared access signature for the container.
    Sas {
        /// The query string, without `?`.
        #[serde(rename = "sasToken")]
        sas_token: String,
    },
    /// Any other type.
    #[serde(other)]
    Other,
}
