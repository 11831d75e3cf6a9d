//! Registered models.

use crate::Bag;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A version of a model.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ModelVersionProperties {
    /// The description.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Tags; always present in responses, because the official client requires them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<Bag>,
    /// Properties; always present in responses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub properties: Option<Bag>,
    /// MLflow flavors; always present in responses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flavors: Option<BTreeMap<String, serde_json::Value>>,
    /// The job that created the model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job_name: Option<String>,
    /// `custom_model`, `mlflow_model` or `triton_model`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_type: Option<String>,
    /// Location of the files: `azureml://jobs/{job}/outputs/artifacts/paths/…`, a datastore path or
    /// a blob URL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_uri: Option<String>,
    /// Whether the asset is archived (hidden from lists).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_archived: Option<bool>,
    /// Whether the asset is anonymous (has a generated name).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_anonymous: Option<bool>,
    /// `Succeeded`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provisioning_state: Option<String>,
    /// `Production`, ….
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stage: Option<String>,
    /// The data sets that the model was trained on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub datasets: Option<serde_json::Value>,
}

/// A model without its versions, as returned by the list of models.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ModelContainerProperties {
    /// The description.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Tags.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<Bag>,
    /// Properties.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub properties: Option<Bag>,
    /// Whether the asset is archived (hidden from lists).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_archived: Option<bool>,
    /// The latest version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latest_version: Option<String>,
    /// The version assigned to the next registration that does not specify one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_version: Option<String>,
}
