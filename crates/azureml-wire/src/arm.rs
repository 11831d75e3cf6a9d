//! The envelope that all Azure Resource Manager (ARM) resources share.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// An ARM resource: identity fields around the properties `P` of its type.
///
/// In a request only `properties` is set.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Resource<P> {
    /// The full ARM id (`/subscriptions/…`).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub id: Option<String>,
    /// The last part of the id.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub name: Option<String>,
    /// The ARM type (`Microsoft.MachineLearningServices/workspaces/jobs`).
    #[serde(rename = "type", skip_serializing_if = "Option::is_none", default)]
    pub resource_type: Option<String>,
    /// The Azure region; only workspaces and compute targets have one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub location: Option<String>,
    /// Tags of the resource itself. Workspaces and compute targets have tags here, assets in their
    /// properties.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub tags: Option<crate::Bag>,
    /// Creation and modification metadata.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub system_data: Option<SystemData>,
    /// The properties that depend on the resource type.
    pub properties: P,
}

impl<P> Resource<P> {
    /// Creates a request body that contains only `properties`.
    pub fn request(properties: P) -> Self {
        Self {
            id: None,
            name: None,
            resource_type: None,
            location: None,
            tags: None,
            system_data: None,
            properties,
        }
    }
}

/// Creation and modification metadata of a resource.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SystemData {
    /// The creator.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub created_by: Option<String>,
    /// `User`, `Application`, `ManagedIdentity` or `Key`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub created_by_type: Option<String>,
    /// Time of creation.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub created_at: Option<DateTime<Utc>>,
    /// Time of the last change.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub last_modified_at: Option<DateTime<Utc>>,
}

/// Returns the last part of an ARM id or of `azureml:name`, which is the name.
pub fn last_part(id: &str) -> &str {
    id.rsplit(['/', ':']).next().unwrap_or(id)
}

/// One page of a list.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Page<T> {
    /// The resources of this page.
    pub value: Vec<T>,
    /// URL of the next page; absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub next_link: Option<String>,
}
