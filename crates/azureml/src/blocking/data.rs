//! Data.

use super::Workspace;
use crate::data::Data;
use crate::error::{Error, Result};
use crate::runtime::block_on;
use crate::show::List;
use std::path::{Path, PathBuf};

impl Data {
    /// A registered data asset: the newest version, or the version after a colon (`name:version`).
    pub fn get(workspace: &Workspace, name: &str) -> Result<Self> {
        block_on(workspace.asynchronous().data(name))
    }

    /// Lists all registered data, each with its newest version.
    pub fn list(workspace: &Workspace) -> Result<List<Self>> {
        block_on(workspace.asynchronous().all_data())
    }

    /// Lists all versions of registered data, the newest first.
    pub fn versions(workspace: &Workspace, name: &str) -> Result<List<Self>> {
        block_on(workspace.asynchronous().data_versions(name))
    }

    /// Registers the data under its next version; local files are uploaded first. When the content
    /// equals that of the newest version, that version is returned.
    pub fn register(&self, workspace: &Workspace) -> Result<Self> {
        block_on(workspace.asynchronous().register_data(self))
    }

    /// Downloads the files into the folder `to` and returns their paths.
    pub fn download(&self, to: impl AsRef<Path>) -> Result<List<PathBuf>> {
        let Some(workspace) = &self.workspace else {
            return Err(Error::invalid(
                format!(
                    "data `{}` is not registered, so there is nothing to download",
                    self.name
                ),
                "`Data::get(&ws, name)` gives what is; `.register(&ws)` registers this",
            ));
        };
        block_on(workspace.download_data(self, to))
    }
}

notebook::evcxr_display!(Data, List<Data>);
