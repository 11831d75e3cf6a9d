//! Registered models.

use crate::Bag;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A version of a model.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ModelVersionProperties {
    /// What it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Tags; answers always carry them (the official client relies on it).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<Bag>,
    /// Properties; answers always carry them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub properties: Option<Bag>,
    /// Flavours; answers always carry them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flavors: Option<BTreeMap<String, serde_json::Value>>,
    /// The job that made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job_name: Option<String>,
    /// `custom_model`, `mlflow_model` or `triton_model`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_type: Option<String>,
    /// Where its files are: `azureml://jobs/{job}/outputs/artifacts/paths/…`, a datastore path or a blob URL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_uri: Option<String>,
    /// Whether it is hidden.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_archived: Option<bool>,
    /// Whether it has no name of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_anonymous: Option<bool>,
    /// `Succeeded`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provisioning_state: Option<String>,
    /// `Production`, ….
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stage: Option<String>,
    /// The data that it was trained with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub datasets: Option<serde_json::Value>,
}

/// A model without its versions.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ModelContainerProperties {
    /// What it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Tags.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<Bag>,
    /// Properties.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub properties: Option<Bag>,
    /// Whether it is hidden.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_archived: Option<bool>,
    /// The newest version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latest_version: Option<String>,
    /// The version that a registration without one would get.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_version: Option<String>,
}
