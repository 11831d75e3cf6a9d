//! A workspace.

use crate::asynchronous;
use crate::credential::Credential;
use crate::error::Result;
use crate::runtime::block_on;
use std::path::Path;
use std::sync::Arc;

/// A workspace on Azure, or the local workspace of this machine; cheap to clone.
///
/// ```no_run
/// use azureml::prelude::*;
///
/// # fn main() -> azureml::Result<()> {
/// let ws = Workspace::from_config()?;
/// println!("{} in {}", ws.name(), ws.resource_group());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Workspace(asynchronous::Workspace);

impl Workspace {
    /// Opens the workspace of the nearest `config.json`, searched as SDK v1 does: in `.azureml/`,
    /// `aml_config/` and the folder itself, from the current folder up to the root. Without a
    /// `config.json` it opens the local workspace, unless `AZUREML_LOCAL=off`.
    pub fn from_config() -> Result<Self> {
        block_on(asynchronous::Workspace::from_config()).map(Self)
    }

    /// Opens the workspace of the file at `path`. If `path` is a folder, searches from it up to the
    /// root.
    pub fn from_config_path(path: impl AsRef<Path>) -> Result<Self> {
        block_on(asynchronous::Workspace::from_config_path(path)).map(Self)
    }

    /// Opens a workspace by name, subscription and resource group.
    pub fn get(name: &str, subscription_id: &str, resource_group: &str) -> Result<Self> {
        block_on(asynchronous::Workspace::get(
            name,
            subscription_id,
            resource_group,
        ))
        .map(Self)
    }

    /// Like [`Workspace::get`], with a given credential.
    pub fn get_with(
        name: &str,
        subscription_id: &str,
        resource_group: &str,
        credential: Arc<dyn Credential>,
    ) -> Result<Self> {
        block_on(asynchronous::Workspace::get_with(
            name,
            subscription_id,
            resource_group,
            credential,
        ))
        .map(Self)
    }

    /// Opens the local workspace of this machine and starts it if it is not running.
    pub fn local() -> Result<Self> {
        block_on(asynchronous::Workspace::local()).map(Self)
    }

    /// The name.
    pub fn name(&self) -> &str {
        self.0.name()
    }

    /// The resource group.
    pub fn resource_group(&self) -> &str {
        self.0.resource_group()
    }

    /// The id of the subscription.
    pub fn subscription_id(&self) -> &str {
        self.0.subscription_id()
    }

    /// The region.
    pub fn location(&self) -> Option<&str> {
        self.0.location()
    }

    /// The ARM id.
    pub fn id(&self) -> String {
        self.0.id()
    }

    /// Whether this is the local workspace of this machine.
    pub fn is_local(&self) -> bool {
        self.0.is_local()
    }

    /// The same workspace for async code.
    pub fn asynchronous(&self) -> &asynchronous::Workspace {
        &self.0
    }
}

impl From<asynchronous::Workspace> for Workspace {
    fn from(workspace: asynchronous::Workspace) -> Self {
        Self(workspace)
    }
}

impl notebook::Display for Workspace {
    fn mime_bundle(&self) -> notebook::MimeBundle {
        self.0.mime_bundle()
    }
}

notebook::evcxr_display!(Workspace);
