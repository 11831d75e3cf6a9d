//! Environments: what a job's process finds around it.

use crate::Bag;
use serde::{Deserialize, Serialize};

/// A version of an environment.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EnvironmentVersionProperties {
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Tags.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<Bag>,
    /// Properties.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub properties: Option<Bag>,
    /// Whether it was made for one job and has no name of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_anonymous: Option<bool>,
    /// Whether it is hidden.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_archived: Option<bool>,
    /// A container image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// A Dockerfile and its folder, instead of an image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub build: Option<BuildContext>,
    /// A conda specification (YAML) on top of the image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conda_file: Option<String>,
    /// `Linux`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub os_type: Option<String>,
    /// `Curated` or `UserCreated`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment_type: Option<String>,
    /// `Succeeded` once it can be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provisioning_state: Option<String>,
    /// When the service builds it again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auto_rebuild: Option<serde_json::Value>,
    /// How it serves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inference_config: Option<serde_json::Value>,
    /// `Production`, ….
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stage: Option<serde_json::Value>,
}

/// A Dockerfile and the folder that it is built in.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BuildContext {
    /// Blob URL of the uploaded folder.
    pub context_uri: String,
    /// The Dockerfile, relative to the folder; `Dockerfile` when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dockerfile_path: Option<String>,
}

/// An environment without its versions, as a list of all environments gives it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EnvironmentContainerProperties {
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Tags.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<Bag>,
    /// Whether it is hidden.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_archived: Option<bool>,
    /// The newest version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latest_version: Option<String>,
    /// The version that a registration without one would get.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_version: Option<String>,
    /// `Succeeded`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provisioning_state: Option<String>,
}
