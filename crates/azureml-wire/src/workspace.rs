//! Workspaces and the addresses of their data plane.

use serde::{Deserialize, Serialize};

/// The properties of a workspace that the client uses.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkspaceProperties {
    /// The workspace's id (a UUID), used in links to Studio.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workspace_id: Option<String>,
    /// The display name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub friendly_name: Option<String>,
    /// The description.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// A URL that returns [`Discovery`] without authentication.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub discovery_url: Option<String>,
    /// The tracking URI for MLflow clients.
    #[serde(rename = "mlFlowTrackingUri", skip_serializing_if = "Option::is_none")]
    pub ml_flow_tracking_uri: Option<String>,
    /// ARM id of the storage account behind the default datastore.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage_account: Option<String>,
    /// `Succeeded` when the workspace is ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provisioning_state: Option<String>,
}

/// The response of the discovery URL: base URLs of the data-plane services.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Discovery {
    /// The base URL of `history/v1.0…`.
    pub api: String,
    /// The base URL of Studio; absent in some clouds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub studio: Option<String>,
}
