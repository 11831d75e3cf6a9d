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
    /// The workspace that the nearest `config.json` names, searched as SDK v1 does: `.azureml/`, `aml_config/` and the folder itself,
    /// from here up to the root. Without one it is the local workspace, unless `AZUREML_LOCAL=off`.
    pub fn from_config() -> Result<Self> {
        block_on(asynchronous::Workspace::from_config()).map(Self)
    }

    /// The workspace that the file at `path` names; of a folder, the nearest file from there up.
    pub fn from_config_path(path: impl AsRef<Path>) -> Result<Self> {
        block_on(asynchronous::Workspace::from_config_path(path)).map(Self)
    }

    /// A workspace by its names.
    pub fn get(name: &str, subscription_id: &str, resource_group: &str) -> Result<Self> {
        block_on(asynchronous::Workspace::get(
            name,
            subscription_id,
            resource_group,
        ))
        .map(Self)
    }

    /// As [`Workspace::get`], with a credential of one's own.
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

    /// The local workspace of this machine; it is started when it does not run.
    pub fn local() -> Result<Self> {
        block_on(asynchronous::Workspace::local()).map(Self)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.0.name()
    }

    /// Its resource group.
    pub fn resource_group(&self) -> &str {
        self.0.resource_group()
    }

    /// Its subscription.
    pub fn subscription_id(&self) -> &str {
        self.0.subscription_id()
    }

    /// Its region.
    pub fn location(&self) -> Option<&str> {
        self.0.location()
    }

    /// Its ARM id.
    pub fn id(&self) -> String {
        self.0.id()
    }

    /// Whether it is the local workspace of this machine.
    pub fn is_local(&self) -> bool {
        self.0.is_local()
    }

    /// The same for async code.
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
