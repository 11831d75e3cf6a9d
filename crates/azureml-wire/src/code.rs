//! Code snapshots, and the pending uploads through which clients upload their files.

use crate::Bag;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// A version of a code asset.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CodeVersionProperties {
    /// The description.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Tags.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<Bag>,
    /// `hash_sha256` and `hash_version`, which identify an unchanged folder.
    ///
    /// The service's models declare strings, but the official client sends `hash_version` as an
    /// integer, so any JSON value is accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub properties: Option<BTreeMap<String, Value>>,
    /// Whether the asset is anonymous; code snapshots of jobs are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_anonymous: Option<bool>,
    /// Whether the asset is archived (hidden from lists).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_archived: Option<bool>,
    /// Blob URL of the uploaded folder: `{container}/{folder}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code_uri: Option<String>,
    /// `Succeeded`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provisioning_state: Option<String>,
}

/// Version of the hash algorithm that the official client uses.
pub const HASH_VERSION: &str = "202208";

/// A request for an upload location.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PendingUploadRequest {
    /// An id for the upload; the service chooses one when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pending_upload_id: Option<String>,
    /// `TemporaryBlobReference`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pending_upload_type: Option<String>,
}

/// An upload location, always a new container.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PendingUploadResponse {
    /// The id of the upload.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub pending_upload_id: Option<String>,
    /// `TemporaryBlobReference`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub pending_upload_type: Option<String>,
    /// The container and its signature.
    pub blob_reference_for_consumption: BlobReference,
}

/// A container and the signature that grants access to it. Has no `Debug`: the signature is a
/// secret.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BlobReference {
    /// URL of the container, without a signature.
    pub blob_uri: String,
    /// ARM id of the storage account.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub storage_account_arm_id: Option<String>,
    /// The signature.
    pub credential: SasCredential,
}

/// A shared access signature. Has no `Debug`: it is a secret.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SasCredential {
    /// `SAS`.
    pub credential_type: String,
    /// URL of the container with the signature as its query.
    pub sas_uri: String,
}
