//! Compute targets: where jobs run.

use crate::asynchronous::Workspace;
use crate::show::{Card, Cell, Row};
use azureml_wire::arm::Resource;
use azureml_wire::compute::Compute;

/// Where jobs run: a cluster whose nodes come and go, or a single machine.
#[derive(Debug, Clone)]
pub struct ComputeTarget {
    pub(crate) workspace: Workspace,
    pub(crate) name: String,
    kind: &'static str,
    size: Option<String>,
    state: Option<String>,
    nodes: Option<Nodes>,
    description: Option<String>,
}

/// The nodes of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Nodes {
    /// There now.
    pub current: u32,
    /// Kept when idle.
    pub min: u32,
    /// At most.
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
            nodes: None,
            description: None,
        };
        match resource.properties {
            Compute::AmlCompute(cluster) => {
                let scale = cluster.properties.scale_settings.unwrap_or_default();
                Self {
                    kind: "cluster",
                    size: cluster.properties.vm_size,
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
                description: instance.description,
                ..base
            },
            Compute::Other => base,
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `cluster`, `instance` or `other`.
    pub fn kind(&self) -> &str {
        self.kind
    }

    /// The size of its machines, e.g. `Standard_NC24ads_A100_v4`.
    pub fn size(&self) -> Option<&str> {
        self.size.as_deref()
    }

    /// A cluster's `Steady` or `Resizing`, an instance's `Running`, `Stopped`, ….
    pub fn state(&self) -> Option<&str> {
        self.state.as_deref()
    }

    /// The nodes of a cluster.
    pub fn nodes(&self) -> Option<Nodes> {
        self.nodes
    }

    /// What it is, in words.
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
