//! Data assets: versioned files.

use crate::asynchronous::Workspace;
use crate::error::{Error, Result};
use crate::input::Input;
use crate::show::{Card, Cell, Row};
use crate::walk::not_a_file;
use azureml_wire::Bag;
use azureml_wire::arm::Resource;
use azureml_wire::data::{DataContainerProperties, DataVersionProperties};
use std::path::{Path, PathBuf};

/// A data asset: a file or a folder with a name and a version, which jobs on any compute take as
/// input.
///
/// ```no_run
/// use azureml::prelude::*;
///
/// # fn main() -> azureml::Result<()> {
/// # let ws = Workspace::local()?;
/// let mnist = Data::from_folder("mnist", "data").register(&ws)?; // same content, same version
/// let src = ScriptRunConfig::new("script")
///     .script("train.rs")
///     .arguments(["--data", "${{inputs.mnist}}"])
///     .input("mnist", mnist.as_input());
/// Data::get(&ws, "mnist:1")?.download("copy")?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Data {
    pub(crate) workspace: Option<Workspace>,
    pub(crate) name: String,
    pub(crate) version: Option<String>,
    pub(crate) kind: String,
    pub(crate) source: Source,
    pub(crate) description: Option<String>,
    pub(crate) tags: Bag,
}

#[derive(Debug, Clone)]
pub(crate) enum Source {
    /// A path on this machine.
    Local(PathBuf),
    /// A URI.
    Uri(String),
    /// Not known, for data from a list.
    Unknown,
}

pub(crate) const FILE: &str = "uri_file";
pub(crate) const FOLDER: &str = "uri_folder";

impl Data {
    /// A file to register, on this machine or at a URI (`azureml://…`, `https://…`).
    pub fn from_file(name: impl Into<String>, path_or_address: impl AsRef<str>) -> Self {
        Self::new(name.into(), path_or_address.as_ref(), FILE)
    }

    /// A folder to register, on this machine or at a URI (`azureml://…`).
    pub fn from_folder(name: impl Into<String>, path_or_address: impl AsRef<str>) -> Self {
        Self::new(name.into(), path_or_address.as_ref(), FOLDER)
    }

    fn new(name: String, text: &str, kind: &str) -> Self {
        let source = if text.contains("://") {
            Source::Uri(text.to_owned())
        } else {
            Source::Local(text.into())
        };
        Self {
            workspace: None,
            name,
            version: None,
            kind: kind.to_owned(),
            source,
            description: None,
            tags: Bag::new(),
        }
    }

    /// Sets the description.
    #[must_use]
    pub fn with_description(mut self, description: impl Into<String>) -> Self {
        self.description = Some(description.into());
        self
    }

    /// Adds a tag; can be called repeatedly.
    #[must_use]
    pub fn with_tag(mut self, name: impl Into<String>, value: impl std::fmt::Display) -> Self {
        self.tags.insert(name.into(), value.to_string());
        self
    }

    pub(crate) fn from_version(
        workspace: &Workspace,
        name: &str,
        resource: Resource<DataVersionProperties>,
    ) -> Self {
        let properties = resource.properties;
        Self {
            workspace: Some(workspace.clone()),
            name: name.to_owned(),
            version: resource.name,
            kind: properties.data_type,
            source: Source::Uri(properties.data_uri),
            description: properties.description,
            tags: properties.tags.unwrap_or_default(),
        }
    }

    pub(crate) fn from_container(
        workspace: &Workspace,
        resource: Resource<DataContainerProperties>,
    ) -> Self {
        let properties = resource.properties;
        Self {
            workspace: Some(workspace.clone()),
            name: resource.name.unwrap_or_default(),
            version: properties.latest_version,
            kind: properties.data_type,
            source: Source::Unknown,
            description: properties.description,
            tags: properties.tags.unwrap_or_default(),
        }
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The version; `None` until it is registered.
    pub fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }

    /// `uri_file`, `uri_folder` or `mltable`.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The URI of the files; `None` before registration, and for data from a list.
    pub fn uri(&self) -> Option<&str> {
        match &self.source {
            Source::Uri(uri) => Some(uri),
            Source::Local(_) | Source::Unknown => None,
        }
    }

    /// The description.
    pub fn description(&self) -> Option<&str> {
        self.description.as_deref()
    }

    /// The tags.
    pub fn tags(&self) -> &Bag {
        &self.tags
    }

    /// The data as an input of a job: this version, or the local files if it is not registered.
    pub fn as_input(&self) -> Input {
        let address = match (&self.version, &self.source) {
            (Some(version), _) => format!("azureml:{}:{version}", self.name),
            (None, Source::Local(path)) => path.to_string_lossy().into_owned(),
            (None, Source::Uri(uri)) => uri.clone(),
            (None, Source::Unknown) => format!("azureml:{}@latest", self.name),
        };
        match self.kind.as_str() {
            FILE => Input::file(address),
            FOLDER => Input::folder(address),
            _ => Input::table(address),
        }
    }

    /// Validates everything that can be validated on this machine.
    pub(crate) fn check(&self) -> Result<()> {
        let name = &self.name;
        let is_name = name.len() <= 255
            && name.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '_')
            && name
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
        if !is_name {
            return Err(Error::invalid(
                format!("`{name}` cannot be the name of data"),
                "it begins with a letter or digit and holds letters, digits, `-`, `_` and `.`, at most 255; versions are \
                 given by the workspace",
            ));
        }
        match &self.source {
            Source::Local(path) => self.check_local(path),
            Source::Uri(_) | Source::Unknown => Ok(()),
        }
    }

    fn check_local(&self, path: &Path) -> Result<()> {
        let found = path.metadata().map_err(|error| {
            let folder = std::env::current_dir().unwrap_or_default();
            Error::invalid(
                format!(
                    "data `{}`: {} cannot be read: {error}",
                    self.name,
                    path.display()
                ),
                format!(
                    "the path is relative to {}; an address begins with azureml:// or https://",
                    folder.display()
                ),
            )
        })?;
        if !found.is_file() && !found.is_dir() {
            return Err(not_a_file(path, found.file_type()));
        }
        match (self.kind.as_str(), found.is_dir()) {
            (FILE, true) => Err(Error::invalid(
                format!("data `{}`: {} is a folder", self.name, path.display()),
                "use `Data::from_folder`",
            )),
            (FOLDER, false) => Err(Error::invalid(
                format!("data `{}`: {} is a file", self.name, path.display()),
                "use `Data::from_file`",
            )),
            _ => Ok(()),
        }
    }
}

impl notebook::Display for Data {
    fn mime_bundle(&self) -> notebook::MimeBundle {
        let path = match &self.source {
            Source::Local(path) => Some(path.display().to_string()),
            Source::Uri(uri) => Some(uri.clone()),
            Source::Unknown => None,
        };
        Card::new("Data", &self.name)
            .optional("Version", self.version.as_deref())
            .row("Kind", Cell::text(&self.kind))
            .optional("Files", path)
            .optional("Description", self.description.as_deref())
            .mime_bundle()
    }
}

impl Row for Data {
    const NOUN: &'static str = "data";
    const HEADERS: &'static [&'static str] = &["Name", "Version", "Kind", "Files", "Description"];

    fn cells(&self) -> Vec<Cell> {
        let or_empty = |text: Option<&str>| Cell::text(text.unwrap_or_default());
        vec![
            Cell::text(&self.name),
            or_empty(self.version.as_deref()),
            Cell::text(&self.kind),
            or_empty(self.uri()),
            or_empty(self.description.as_deref()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_that_cannot_be_registered_is_refused_here() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.txt");
        std::fs::write(&file, "a").unwrap();
        let (folder, file) = (folder.path().to_str().unwrap(), file.to_str().unwrap());
        Data::from_file("a", file).check().unwrap();
        Data::from_folder("a", folder).check().unwrap();
        Data::from_file("a", "https://example.com/a.txt")
            .check()
            .unwrap();
        for data in [
            Data::from_file("a", folder),
            Data::from_folder("a", file),
            Data::from_file("a", "no/such/file"),
            Data::from_file("a:1", file),
            Data::from_file("", file),
        ] {
            let error = data.check().unwrap_err().to_string();
            assert_eq!(error.matches("\nhint: ").count(), 1, "{error}");
        }
    }
}
