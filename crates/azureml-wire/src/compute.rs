//! Compute clusters and compute instances.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// A compute target. Types that the client does not support deserialize as [`Compute::Other`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "computeType")]
#[allow(
    clippy::large_enum_variant,
    reason = "held one at a time, between reading and use"
)]
pub enum Compute {
    /// A cluster with autoscaled nodes.
    AmlCompute(ComputeBody<AmlComputeProperties>),
    /// A single machine assigned to one user.
    ComputeInstance(ComputeBody<ComputeInstanceProperties>),
    /// Any other type; its properties are ignored.
    #[serde(other)]
    Other,
}

/// The fields that all compute types share, around the type's own properties `P`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ComputeBody<P> {
    /// The description.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The region.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compute_location: Option<String>,
    /// `Succeeded` when the compute target is ready.
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
    /// Errors during provisioning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provisioning_errors: Option<serde_json::Value>,
    /// Whether the compute target was created elsewhere and attached to the workspace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_attached_compute: Option<serde_json::Value>,
    /// Whether key-based (local) authentication is disabled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disable_local_auth: Option<serde_json::Value>,
    /// The properties that depend on the compute type.
    pub properties: P,
}

/// Properties of a compute cluster.
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
    /// Autoscale limits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale_settings: Option<ScaleSettings>,
    /// `Steady` or `Resizing`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allocation_state: Option<String>,
    /// Current number of nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current_node_count: Option<u32>,
    /// Number of nodes that the cluster is scaling to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_node_count: Option<u32>,
    /// Number of nodes by state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_state_counts: Option<NodeStateCounts>,
    /// The virtual machine image of the nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub virtual_machine_image: Option<serde_json::Value>,
    /// Whether the nodes are in an isolated network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub isolated_network: Option<serde_json::Value>,
    /// Credentials of the administrator account on the nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_account_credentials: Option<serde_json::Value>,
    /// The subnet of the nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subnet: Option<serde_json::Value>,
    /// Whether SSH access from public networks is allowed: `Enabled`, `Disabled` or `NotSpecified`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote_login_port_public_access: Option<serde_json::Value>,
    /// Whether the nodes have public IP addresses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enable_node_public_ip: Option<serde_json::Value>,
    /// Additional properties.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub property_bag: Option<serde_json::Value>,
    /// Errors of the nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errors: Option<serde_json::Value>,
    /// Time of the last change of `allocation_state`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allocation_state_transition_time: Option<serde_json::Value>,
}

/// Autoscale limits of a cluster.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ScaleSettings {
    /// Maximum number of nodes.
    pub max_node_count: u32,
    /// Minimum number of nodes, kept when the cluster is idle.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_node_count: Option<u32>,
    /// Idle time before a node is released, an ISO 8601 duration, e.g. `PT120S`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_idle_time_before_scale_down: Option<String>,
}

/// Number of cluster nodes by state.
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

/// Properties of a compute instance.
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
