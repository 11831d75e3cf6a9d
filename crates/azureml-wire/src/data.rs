//! Registered data assets.

use crate::Bag;
use serde::{Deserialize, Serialize};

/// A version of a data asset.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DataVersionProperties {
    /// The description.
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
    /// Location of the files: a datastore path or a URL.
    pub data_uri: String,
    /// URIs that an `mltable` refers to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub referenced_uris: Option<Vec<String>>,
    /// Whether the asset is archived (hidden from lists).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_archived: Option<bool>,
    /// Whether the asset is anonymous (has a generated name).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_anonymous: Option<bool>,
    /// The service's automatic deletion rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auto_delete_setting: Option<serde_json::Value>,
    /// `Succeeded`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provisioning_state: Option<String>,
    /// `Production`, ….
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stage: Option<String>,
}

/// A data asset without its versions, as returned by the list of data assets.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DataContainerProperties {
    /// The description.
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
