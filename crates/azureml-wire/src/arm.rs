//! What every resource of Azure Resource Manager has in common.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// A resource: identity around the properties `P` of its kind.
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
    /// The region; workspaces and computes have one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub location: Option<String>,
    /// Tags of the resource itself; workspaces and computes have them here, assets in their properties.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub tags: Option<crate::Bag>,
    /// Who made it, and when.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub system_data: Option<SystemData>,
    /// What is particular to the kind of resource.
    pub properties: P,
}

impl<P> Resource<P> {
    /// A request body that carries `properties` alone.
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

/// Who made and changed a resource, and when.
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

/// The last part of an ARM id, or of `azureml:name`: a name.
pub fn last_part(id: &str) -> &str {
    id.rsplit(['/', ':']).next().unwrap_or(id)
}

/// One page of a list.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Page<T> {
    /// The resources of this page.
    pub value: Vec<T>,
    /// Where the next page is; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub next_link: Option<String>,
}
