//! Environments.

use super::Workspace;
use crate::environment::Environment;
use crate::error::Result;
use crate::runtime::block_on;
use crate::show::List;

impl Environment {
    /// An environment: the newest version, or the version after a colon (`name:version`).
    ///
    /// Also accepts the names of curated environments (`AzureML-…`) and the URIs of registry
    /// environments (`azureml://registries/…`).
    pub fn get(workspace: &Workspace, name: &str) -> Result<Self> {
        block_on(workspace.asynchronous().environment(name))
    }

    /// A version of an environment.
    pub fn get_version(workspace: &Workspace, name: &str, version: &str) -> Result<Self> {
        block_on(workspace.asynchronous().environment_version(name, version))
    }

    /// Lists all environments, each with its newest version.
    pub fn list(workspace: &Workspace) -> Result<List<Self>> {
        block_on(workspace.asynchronous().environments())
    }

    /// Registers the environment under its next version; registering the same definition again
    /// returns the same version.
    pub fn register(&self, workspace: &Workspace) -> Result<Self> {
        block_on(workspace.asynchronous().register(self))
    }
}

notebook::evcxr_display!(Environment, List<Environment>);
