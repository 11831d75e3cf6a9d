//! Workspaces, and where their data plane is.

use serde::{Deserialize, Serialize};

/// The properties of a workspace that the client uses.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkspaceProperties {
    /// The workspace's own id (a UUID), which links to Studio carry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workspace_id: Option<String>,
    /// The name that people see.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub friendly_name: Option<String>,
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// A URL, open to all, that answers with [`Discovery`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub discovery_url: Option<String>,
    /// The tracking URI that MLflow clients take.
    #[serde(rename = "mlFlowTrackingUri", skip_serializing_if = "Option::is_none")]
    pub ml_flow_tracking_uri: Option<String>,
    /// ARM id of the storage account behind the default datastore.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage_account: Option<String>,
    /// `Succeeded` in a workspace that can be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provisioning_state: Option<String>,
}

/// What the discovery URL answers: the roots of the data plane's services.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Discovery {
    /// The root under which `history/v1.0…` lies.
    pub api: String,
    /// The root of Studio's pages; absent on some clouds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub studio: Option<String>,
}
