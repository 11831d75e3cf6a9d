//! Models.

use super::Workspace;
use crate::error::Result;
use crate::model::Model;
use crate::runtime::block_on;
use crate::show::List;
use std::path::{Path, PathBuf};

impl Model {
    /// A registered model: the newest version, or the version after a colon (`name:version`).
    pub fn get(workspace: &Workspace, name: &str) -> Result<Self> {
        block_on(workspace.asynchronous().model(name))
    }

    /// Lists all models, each with its newest version.
    pub fn list(workspace: &Workspace) -> Result<List<Self>> {
        block_on(workspace.asynchronous().models())
    }

    /// Downloads the files into the folder `to` and returns their paths.
    pub fn download(&self, to: impl AsRef<Path>) -> Result<List<PathBuf>> {
        block_on(self.workspace.download_model(self, to))
    }
}

notebook::evcxr_display!(Model, List<Model>);
