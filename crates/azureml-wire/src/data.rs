//! Registered data.

use crate::Bag;
use serde::{Deserialize, Serialize};

/// A version of a data asset.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DataVersionProperties {
    /// What it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Tags.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<Bag>,
    /// Properties.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub properties: Option<Bag>,
    /// `uri_file`, `uri_folder` or `mltable`.
    pub data_type: String,
    /// Where its files are: a datastore path or a URL.
    pub data_uri: String,
    /// Data that a table refers to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub referenced_uris: Option<Vec<String>>,
    /// Whether it is hidden.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_archived: Option<bool>,
    /// Whether it has no name of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_anonymous: Option<bool>,
    /// When the service removes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auto_delete_setting: Option<serde_json::Value>,
    /// `Succeeded`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provisioning_state: Option<String>,
    /// `Production`, ….
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stage: Option<String>,
}

/// Data without its versions, as a list of all data gives it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DataContainerProperties {
    /// What it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Tags.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<Bag>,
    /// Properties.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub properties: Option<Bag>,
    /// `uri_file`, `uri_folder` or `mltable`.
    pub data_type: String,
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
