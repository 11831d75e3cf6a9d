//! Compute clusters and compute instances.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// A compute target. Kinds that the client does not know are read as [`Compute::Other`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "computeType")]
#[allow(
    clippy::large_enum_variant,
    reason = "held one at a time, between reading and use"
)]
pub enum Compute {
    /// A cluster whose nodes come and go.
    AmlCompute(ComputeBody<AmlComputeProperties>),
    /// A single machine of one person.
    ComputeInstance(ComputeBody<ComputeInstanceProperties>),
    /// Any other kind; only its name is known.
    #[serde(other)]
    Other,
}

/// What all kinds of compute have around their own properties `P`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ComputeBody<P> {
    /// What it is, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The region.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compute_location: Option<String>,
    /// `Succeeded` when it can be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provisioning_state: Option<String>,
    /// Time of creation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_on: Option<DateTime<Utc>>,
    /// Time of the last change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub modified_on: Option<serde_json::Value>,
    /// ARM id of the machine behind an attached compute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource_id: Option<serde_json::Value>,
    /// What went wrong while it was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provisioning_errors: Option<serde_json::Value>,
    /// Whether it was made elsewhere and attached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_attached_compute: Option<serde_json::Value>,
    /// Whether keys are refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disable_local_auth: Option<serde_json::Value>,
    /// What is particular to the kind.
    pub properties: P,
}

/// A cluster.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AmlComputeProperties {
    /// `Linux`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub os_type: Option<String>,
    /// The machine size, e.g. `Standard_NC24ads_A100_v4`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vm_size: Option<String>,
    /// `Dedicated` or `LowPriority`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vm_priority: Option<String>,
    /// How far it scales.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale_settings: Option<ScaleSettings>,
    /// `Steady` or `Resizing`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allocation_state: Option<String>,
    /// Nodes there now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current_node_count: Option<u32>,
    /// Nodes that it is scaling to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_node_count: Option<u32>,
    /// What the nodes are doing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_state_counts: Option<NodeStateCounts>,
    /// The image of the nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub virtual_machine_image: Option<serde_json::Value>,
    /// Whether the nodes are in a network of their own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub isolated_network: Option<serde_json::Value>,
    /// The account on the nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_account_credentials: Option<serde_json::Value>,
    /// The subnet of the nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subnet: Option<serde_json::Value>,
    /// Whether one may log in from outside: `Enabled`, `Disabled` or `NotSpecified`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote_login_port_public_access: Option<serde_json::Value>,
    /// Whether the nodes have public addresses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enable_node_public_ip: Option<serde_json::Value>,
    /// Anything else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub property_bag: Option<serde_json::Value>,
    /// What went wrong with the nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errors: Option<serde_json::Value>,
    /// When it began to scale.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allocation_state_transition_time: Option<serde_json::Value>,
}

/// How far a cluster scales.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ScaleSettings {
    /// Most nodes.
    pub max_node_count: u32,
    /// Nodes kept when idle.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_node_count: Option<u32>,
    /// ISO 8601 duration, e.g. `PT120S`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_idle_time_before_scale_down: Option<String>,
}

/// What the nodes of a cluster are doing.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs, reason = "each count is named by its state")]
pub struct NodeStateCounts {
    pub idle_node_count: u32,
    pub running_node_count: u32,
    pub preparing_node_count: u32,
    pub unusable_node_count: u32,
    pub leaving_node_count: u32,
    pub preempted_node_count: u32,
}

/// A compute instance.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ComputeInstanceProperties {
    /// The machine size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vm_size: Option<String>,
    /// `Running`, `Stopped`, `Starting`, `Stopping`, ….
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
}
