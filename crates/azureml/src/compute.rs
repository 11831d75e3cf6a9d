//! Compute targets for jobs.

use crate::asynchronous::Workspace;
use crate::duration;
use crate::error::{Error, Result};
use crate::show::{Card, Cell, Row};
use azureml_wire::Bag;
use azureml_wire::arm::Resource;
use azureml_wire::compute::{AmlComputeProperties, Compute, ComputeBody, ScaleSettings};
use std::time::Duration;

/// A compute target for jobs: a cluster that scales its nodes, or a single machine.
#[derive(Debug, Clone)]
pub struct ComputeTarget {
    pub(crate) workspace: Workspace,
    pub(crate) name: String,
    kind: &'static str,
    size: Option<String>,
    state: Option<String>,
    /// The provisioning state: `Succeeded`, `Creating`, ….
    pub(crate) provisioning: Option<String>,
    low_priority: bool,
    nodes: Option<Nodes>,
    description: Option<String>,
}

/// The configuration of a cluster that scales its nodes with the jobs. The cluster is created by
/// [`ComputeTarget::create`].
///
/// ```
/// use azureml::AmlCompute;
///
/// let cluster = AmlCompute::new("cc-aml-cpu", "STANDARD_DS3_V2")
///     .max_nodes(4)
///     .low_priority();
/// ```
#[derive(Debug, Clone)]
#[must_use = "a configuration does nothing until it is created"]
pub struct AmlCompute {
    pub(crate) name: String,
    size: String,
    min: u32,
    max: u32,
    low_priority: bool,
    idle: Option<Duration>,
    description: Option<String>,
    tags: Bag,
}

impl AmlCompute {
    /// A cluster of machines of a size, e.g. `STANDARD_DS3_V2`: at most one node, and no node when
    /// idle.
    pub fn new(name: impl Into<String>, vm_size: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            size: vm_size.into(),
            min: 0,
            max: 1,
            low_priority: false,
            idle: None,
            description: None,
            tags: Bag::new(),
        }
    }

    /// Sets the number of nodes that are kept when idle. They cost as much as busy nodes.
    pub fn min_nodes(mut self, nodes: u32) -> Self {
        self.min = nodes;
        self
    }

    /// Sets the maximum number of nodes.
    pub fn max_nodes(mut self, nodes: u32) -> Self {
        self.max = nodes;
        self
    }

    /// Uses low-priority machines: cheaper, but Azure can preempt them at any time, and their jobs
    /// start again.
    pub fn low_priority(mut self) -> Self {
        self.low_priority = true;
        self
    }

    /// Sets how long a node stays idle before it is removed.
    pub fn idle_seconds_before_scaledown(mut self, seconds: u64) -> Self {
        self.idle = Some(Duration::from_secs(seconds));
        self
    }

    /// Sets the description.
    pub fn description(mut self, description: impl Into<String>) -> Self {
        self.description = Some(description.into());
        self
    }

    /// Adds a tag; can be called repeatedly.
    pub fn tag(mut self, name: impl Into<String>, value: impl std::fmt::Display) -> Self {
        self.tags.insert(name.into(), value.to_string());
        self
    }

    /// Validates everything that can be validated on this machine.
    pub(crate) fn check(&self) -> Result<()> {
        let name = &self.name;
        let is_name = (2..=32).contains(&name.len())
            && name.starts_with(|first: char| first.is_ascii_alphabetic())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
        if !is_name {
            return Err(Error::invalid(
                format!("`{name}` cannot be the name of a compute target"),
                "it has 2 to 32 letters, digits and `-`, a letter first",
            ));
        }
        if self.size.trim().is_empty() {
            return Err(Error::invalid(
                format!("the cluster `{name}` has machines of no size"),
                "name one, e.g. `STANDARD_DS3_V2`",
            ));
        }
        if self.max == 0 || self.min > self.max {
            return Err(Error::invalid(
                format!(
                    "the cluster `{name}` would have {} to {} nodes",
                    self.min, self.max
                ),
                "it has at least one node at most, and `.min_nodes(…)` is no more than `.max_nodes(…)`",
            ));
        }
        Ok(())
    }

    /// Converts to the REST model, for a region.
    pub(crate) fn to_wire(&self, location: Option<&str>) -> Resource<Compute> {
        let priority = if self.low_priority {
            "LowPriority"
        } else {
            "Dedicated"
        };
        let cluster = AmlComputeProperties {
            vm_size: Some(self.size.clone()),
            vm_priority: Some(priority.to_owned()),
            scale_settings: Some(ScaleSettings {
                max_node_count: self.max,
                min_node_count: Some(self.min),
                node_idle_time_before_scale_down: self.idle.map(duration::iso),
            }),
            ..AmlComputeProperties::default()
        };
        let body = ComputeBody {
            description: self.description.clone(),
            properties: cluster,
            ..ComputeBody::default()
        };
        Resource {
            location: location.map(str::to_owned),
            tags: (!self.tags.is_empty()).then(|| self.tags.clone()),
            ..Resource::request(Compute::AmlCompute(body))
        }
    }
}

/// The nodes of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Nodes {
    /// The current number.
    pub current: u32,
    /// The minimum, kept when idle.
    pub min: u32,
    /// The maximum.
    pub max: u32,
}

impl ComputeTarget {
    pub(crate) fn from_resource(workspace: &Workspace, resource: Resource<Compute>) -> Self {
        let base = Self {
            workspace: workspace.clone(),
            name: resource.name.unwrap_or_default(),
            kind: "other",
            size: None,
            state: None,
            provisioning: None,
            low_priority: false,
            nodes: None,
            description: None,
        };
        match resource.properties {
            Compute::AmlCompute(cluster) => {
                let scale = cluster.properties.scale_settings.unwrap_or_default();
                Self {
                    kind: "cluster",
                    size: cluster.properties.vm_size,
                    low_priority: cluster.properties.vm_priority.as_deref() == Some("LowPriority"),
                    provisioning: cluster.provisioning_state.clone(),
                    state: cluster
                        .properties
                        .allocation_state
                        .or(cluster.provisioning_state),
                    nodes: Some(Nodes {
                        current: cluster.properties.current_node_count.unwrap_or_default(),
                        min: scale.min_node_count.unwrap_or_default(),
                        max: scale.max_node_count,
                    }),
                    description: cluster.description,
                    ..base
                }
            }
            Compute::ComputeInstance(instance) => Self {
                kind: "instance",
                size: instance.properties.vm_size,
                state: instance.properties.state,
                provisioning: instance.provisioning_state,
                description: instance.description,
                ..base
            },
            Compute::Other => base,
        }
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `cluster`, `instance` or `other`.
    pub fn kind(&self) -> &str {
        self.kind
    }

    /// The size of the machines, e.g. `Standard_NC24ads_A100_v4`.
    pub fn size(&self) -> Option<&str> {
        self.size.as_deref()
    }

    /// The state: `Steady` or `Resizing` of a cluster, `Running`, `Stopped`, … of an instance.
    pub fn state(&self) -> Option<&str> {
        self.state.as_deref()
    }

    /// Whether it is a cluster of low-priority machines, which can be preempted at any time.
    pub fn is_low_priority(&self) -> bool {
        self.low_priority
    }

    /// The nodes of a cluster.
    pub fn nodes(&self) -> Option<Nodes> {
        self.nodes
    }

    /// The description.
    pub fn description(&self) -> Option<&str> {
        self.description.as_deref()
    }

    fn nodes_text(&self) -> Option<String> {
        let Nodes { current, min, max } = self.nodes?;
        Some(format!("{current} ({min} to {max})"))
    }
}

impl notebook::Display for ComputeTarget {
    fn mime_bundle(&self) -> notebook::MimeBundle {
        Card::new("Compute", &self.name)
            .row("Kind", Cell::text(self.kind))
            .optional("Size", self.size.as_deref())
            .optional("State", self.state.as_deref())
            .optional("Nodes", self.nodes_text())
            .optional("Priority", self.low_priority.then_some("low"))
            .optional("Description", self.description.as_deref())
            .mime_bundle()
    }
}

impl Row for ComputeTarget {
    const NOUN: &'static str = "compute targets";
    const HEADERS: &'static [&'static str] =
        &["Name", "Kind", "Size", "State", "Nodes", "Description"];

    fn cells(&self) -> Vec<Cell> {
        let or_empty = |text: Option<&str>| Cell::text(text.unwrap_or_default());
        vec![
            Cell::text(&self.name),
            Cell::text(self.kind),
            or_empty(self.size.as_deref()),
            or_empty(self.state.as_deref()),
            or_empty(self.nodes_text().as_deref()),
            or_empty(self.description.as_deref()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_travels_as_the_service_has_it() {
        let cluster = AmlCompute::new("cc-aml-cpu", "STANDARD_DS3_V2")
            .max_nodes(4)
            .low_priority()
            .idle_seconds_before_scaledown(90)
            .tag("lab", 2);
        cluster.check().unwrap();
        insta::assert_snapshot!(serde_json::to_string(&cluster.to_wire(Some("local"))).unwrap(), @r#"{"location":"local","tags":{"lab":"2"},"properties":{"computeType":"AmlCompute","properties":{"vmSize":"STANDARD_DS3_V2","vmPriority":"LowPriority","scaleSettings":{"maxNodeCount":4,"minNodeCount":0,"nodeIdleTimeBeforeScaleDown":"PT1M30S"}}}}"#);
    }

    #[test]
    fn a_cluster_that_cannot_be_is_refused_here() {
        let good = || AmlCompute::new("cluster", "STANDARD_DS3_V2");
        for cluster in [
            AmlCompute::new("1", "STANDARD_DS3_V2"),
            AmlCompute::new("a_b", "STANDARD_DS3_V2"),
            AmlCompute::new("cluster", ""),
            good().max_nodes(0),
            good().min_nodes(3).max_nodes(2),
        ] {
            let error = cluster.check().unwrap_err().to_string();
            assert_eq!(error.matches("\nhint: ").count(), 1, "{error}");
        }
    }
}
