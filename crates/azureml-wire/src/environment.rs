//! Environments: the images and packages that jobs run in.

use crate::Bag;
use serde::{Deserialize, Serialize};

/// A version of an environment.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EnvironmentVersionProperties {
    /// The description.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Tags.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<Bag>,
    /// Properties.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub properties: Option<Bag>,
    /// Whether the environment is anonymous (created for one job, with a generated name).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_anonymous: Option<bool>,
    /// Whether the asset is archived (hidden from lists).
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
    /// `Succeeded` when the environment is ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provisioning_state: Option<String>,
    /// The service's rule for rebuilding the image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auto_rebuild: Option<serde_json::Value>,
    /// Configuration for inference: routes and ports.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inference_config: Option<serde_json::Value>,
    /// `Production`, ….
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stage: Option<serde_json::Value>,
}

/// A Dockerfile and its build context.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BuildContext {
    /// Blob URL of the uploaded folder.
    pub context_uri: String,
    /// The Dockerfile, relative to the folder; `Dockerfile` when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dockerfile_path: Option<String>,
}

/// An environment without its versions, as returned by the list of environments.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EnvironmentContainerProperties {
    /// The description.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Tags.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<Bag>,
    /// Whether the asset is archived (hidden from lists).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_archived: Option<bool>,
    /// The latest version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latest_version: Option<String>,
    /// The version assigned to the next registration that does not specify one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_version: Option<String>,
    /// `Succeeded`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provisioning_state: Option<String>,
}
