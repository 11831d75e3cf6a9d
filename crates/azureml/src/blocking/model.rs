//! Models.

use super::Workspace;
use crate::error::Result;
use crate::model::Model;
use crate::runtime::block_on;
use crate::show::List;
use std::path::{Path, PathBuf};

impl Model {
    /// The newest version of a model, or the version that is named after a colon.
    pub fn get(workspace: &Workspace, name: &str) -> Result<Self> {
        block_on(workspace.asynchronous().model(name))
    }

    /// All models, each with its newest version.
    pub fn list(workspace: &Workspace) -> Result<List<Self>> {
        block_on(workspace.asynchronous().models())
    }

    /// Downloads its files into the folder `to`; gives where they are.
    pub fn download(&self, to: impl AsRef<Path>) -> Result<List<PathBuf>> {
        block_on(self.workspace.download_model(self, to))
    }
}

notebook::evcxr_display!(Model, List<Model>);
