//! Registered models.

use crate::asynchronous::Workspace;
use crate::show::{Card, Cell, Row};
use azureml_wire::Bag;
use azureml_wire::arm::Resource;
use azureml_wire::model::{ModelContainerProperties, ModelVersionProperties};

/// A registered model: files with a name and a version.
#[derive(Debug, Clone)]
pub struct Model {
    pub(crate) workspace: Workspace,
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) kind: Option<String>,
    pub(crate) uri: Option<String>,
    pub(crate) run_id: Option<String>,
    description: Option<String>,
    tags: Bag,
}

impl Model {
    pub(crate) fn from_version(
        workspace: &Workspace,
        name: &str,
        resource: Resource<ModelVersionProperties>,
    ) -> Self {
        let properties = resource.properties;
        Self {
            workspace: workspace.clone(),
            name: name.to_owned(),
            version: resource.name.unwrap_or_default(),
            kind: properties.model_type,
            uri: properties.model_uri,
            run_id: properties.job_name,
            description: properties.description,
            tags: properties.tags.unwrap_or_default(),
        }
    }

    pub(crate) fn from_container(
        workspace: &Workspace,
        resource: Resource<ModelContainerProperties>,
    ) -> Self {
        Self {
            workspace: workspace.clone(),
            name: resource.name.unwrap_or_default(),
            version: resource.properties.latest_version.unwrap_or_default(),
            kind: None,
            uri: None,
            run_id: None,
            description: resource.properties.description,
            tags: resource.properties.tags.unwrap_or_default(),
        }
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The version.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// `custom_model`, `mlflow_model` or `triton_model`.
    pub fn kind(&self) -> Option<&str> {
        self.kind.as_deref()
    }

    /// The URI of the files.
    pub fn uri(&self) -> Option<&str> {
        self.uri.as_deref()
    }

    /// The id of the run that created it.
    pub fn run_id(&self) -> Option<&str> {
        self.run_id.as_deref()
    }

    /// The description.
    pub fn description(&self) -> Option<&str> {
        self.description.as_deref()
    }

    /// The tags.
    pub fn tags(&self) -> &Bag {
        &self.tags
    }
}

impl notebook::Display for Model {
    fn mime_bundle(&self) -> notebook::MimeBundle {
        Card::new("Model", &self.name)
            .row("Version", Cell::text(&self.version))
            .optional("Kind", self.kind.as_deref())
            .optional("Run", self.run_id.as_deref())
            .optional("Files", self.uri.as_deref())
            .optional("Description", self.description.as_deref())
            .mime_bundle()
    }
}

impl Row for Model {
    const NOUN: &'static str = "models";
    const HEADERS: &'static [&'static str] = &["Name", "Version", "Kind", "Run", "Description"];

    fn cells(&self) -> Vec<Cell> {
        let or_empty = |text: Option<&str>| Cell::text(text.unwrap_or_default());
        vec![
            Cell::text(&self.name),
            Cell::text(&self.version),
            or_empty(self.kind.as_deref()),
            or_empty(self.run_id.as_deref()),
            or_empty(self.description.as_deref()),
        ]
    }
}
