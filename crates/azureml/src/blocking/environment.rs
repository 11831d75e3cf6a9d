//! Environments.

use super::Workspace;
use crate::environment::Environment;
use crate::error::Result;
use crate::runtime::block_on;
use crate::show::List;

impl Environment {
    /// The newest version of an environment, or the version that is named after a colon.
    ///
    /// Azure ML's own environments may be named (`AzureML-…`), and those of a registry by their address (`azureml://registries/…`).
    pub fn get(workspace: &Workspace, name: &str) -> Result<Self> {
        block_on(workspace.asynchronous().environment(name))
    }

    /// A version of an environment.
    pub fn get_version(workspace: &Workspace, name: &str, version: &str) -> Result<Self> {
        block_on(workspace.asynchronous().environment_version(name, version))
    }

    /// All environments, each with its newest version.
    pub fn list(workspace: &Workspace) -> Result<List<Self>> {
        block_on(workspace.asynchronous().environments())
    }

    /// Registers it under its next version; the same definition again is the same version.
    pub fn register(&self, workspace: &Workspace) -> Result<Self> {
        block_on(workspace.asynchronous().register(self))
    }
}

notebook::evcxr_display!(Environment, List<Environment>);
