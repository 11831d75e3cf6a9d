//! Compute targets.

use super::Workspace;
use crate::compute::{AmlCompute, ComputeTarget};
use crate::error::Result;
use crate::runtime::block_on;
use crate::show::List;

impl ComputeTarget {
    /// A compute target by its name.
    pub fn get(workspace: &Workspace, name: &str) -> Result<Self> {
        block_on(workspace.asynchronous().compute(name))
    }

    /// Lists all compute targets.
    pub fn list(workspace: &Workspace) -> Result<List<Self>> {
        block_on(workspace.asynchronous().computes())
    }

    /// Creates a cluster, or updates the cluster of that name, and waits until it is provisioned.
    pub fn create(workspace: &Workspace, cluster: &AmlCompute) -> Result<Self> {
        block_on(workspace.asynchronous().create_compute(cluster))
    }

    /// Deletes the compute target and waits until it is deleted.
    pub fn delete(self) -> Result<()> {
        block_on(self.workspace.delete_compute(&self.name))
    }

    /// Starts a compute instance, waits until it is running, and returns its new state.
    pub fn start(&self) -> Result<Self> {
        block_on(self.workspace.start_compute(&self.name))
    }

    /// Stops a compute instance, which then costs nothing, waits until it has stopped, and returns
    /// its new state.
    pub fn stop(&self) -> Result<Self> {
        block_on(self.workspace.stop_compute(&self.name))
    }
}

notebook::evcxr_display!(ComputeTarget, List<ComputeTarget>);
