//! Environments: the container images of jobs.

use crate::error::{Error, Result};
use crate::show::{Card, Cell, Row};
use azureml_wire::arm::Resource;
use azureml_wire::environment::{EnvironmentContainerProperties, EnvironmentVersionProperties};
use std::path::{Path, PathBuf};

/// An environment of jobs: a container image, or the Dockerfile to build one.
#[derive(Debug, Clone)]
pub struct Environment {
    pub(crate) name: String,
    pub(crate) version: Option<String>,
    /// The id by which a job refers to it; `None` until it is registered.
    pub(crate) id: Option<String>,
    pub(crate) image: Option<String>,
    pub(crate) dockerfile: Option<PathBuf>,
    /// The location of the Dockerfile's folder in the workspace.
    pub(crate) context: Option<String>,
    pub(crate) conda: Option<String>,
    pub(crate) description: Option<String>,
}

impl Environment {
    /// An environment with a container image, e.g.
    /// `mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu22.04`. It is registered at its first use, or
    /// by [`register`](Self::register).
    pub fn from_docker_image(name: impl Into<String>, image: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            version: None,
            id: None,
            image: Some(image.into()),
            dockerfile: None,
            context: None,
            conda: None,
            description: None,
        }
    }

    /// An environment that is built from a Dockerfile; its folder is the build context.
    pub fn from_dockerfile(name: impl Into<String>, path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        if !path.is_file() {
            return Err(Error::invalid(
                format!("{} is no Dockerfile", path.display()),
                "give the path of the file itself, e.g. `environment/Dockerfile`",
            ));
        }
        Ok(Self {
            name: name.into(),
            version: None,
            id: None,
            image: None,
            dockerfile: Some(path.to_owned()),
            context: None,
            conda: None,
            description: None,
        })
    }

    /// Sets the description.
    #[must_use]
    pub fn with_description(mut self, description: impl Into<String>) -> Self {
        self.description = Some(description.into());
        self
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The version; `None` until it is registered.
    pub fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }

    /// The id by which jobs refer to it; `None` until it is registered.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// The container image, unless it is built from a Dockerfile.
    pub fn image(&self) -> Option<&str> {
        self.image.as_deref()
    }

    /// The description.
    pub fn description(&self) -> Option<&str> {
        self.description.as_deref()
    }

    /// An environment of which only the id or URI is known.
    pub(crate) fn by_address(address: &str) -> Self {
        Self {
            name: address.to_owned(),
            version: None,
            id: Some(address.to_owned()),
            image: None,
            dockerfile: None,
            context: None,
            conda: None,
            description: None,
        }
    }

    pub(crate) fn from_version(
        name: &str,
        resource: Resource<EnvironmentVersionProperties>,
    ) -> Self {
        let version = resource.name;
        // Curated environments are shared by all workspaces, and their id does not contain a
        // workspace.
        let id = match &version {
            Some(version) if is_curated(name) => Some(format!("azureml:{name}:{version}")),
            _ => resource.id,
        };
        let properties = resource.properties;
        let (dockerfile, context) = properties
            .build
            .map(|build| {
                let dockerfile = build
                    .dockerfile_path
                    .unwrap_or_else(|| "Dockerfile".to_owned());
                (PathBuf::from(dockerfile), build.context_uri)
            })
            .unzip();
        Self {
            name: name.to_owned(),
            version,
            id,
            image: properties.image,
            dockerfile,
            context,
            conda: properties.conda_file,
            description: properties.description,
        }
    }

    pub(crate) fn from_container(resource: Resource<EnvironmentContainerProperties>) -> Self {
        let name = resource.name.unwrap_or_default();
        let version = resource.properties.latest_version;
        let id = match (&resource.id, &version) {
            (_, Some(version)) if is_curated(&name) => Some(format!("azureml:{name}:{version}")),
            (Some(id), Some(version)) => Some(format!("{id}/versions/{version}")),
            _ => None,
        };
        Self {
            name,
            version,
            id,
            image: None,
            dockerfile: None,
            context: None,
            conda: None,
            description: resource.properties.description,
        }
    }
}

/// Whether the name is that of a curated environment of Azure ML.
pub(crate) fn is_curated(name: &str) -> bool {
    name.get(..8)
        .is_some_and(|start| start.eq_ignore_ascii_case("AzureML-"))
}

/// The environment of a job: an [`Environment`], a name (`rust-tch-gpu`, `rust-tch-gpu:2`,
/// `AzureML-…:33`), or a URI (`azureml://registries/…`).
#[derive(Debug, Clone)]
pub struct EnvironmentReference(pub(crate) Reference);

#[derive(Debug, Clone)]
pub(crate) enum Reference {
    Name(String),
    Environment(Box<Environment>),
}

impl From<&Environment> for EnvironmentReference {
    fn from(environment: &Environment) -> Self {
        environment.clone().into()
    }
}

impl From<Environment> for EnvironmentReference {
    fn from(environment: Environment) -> Self {
        Self(Reference::Environment(Box::new(environment)))
    }
}

impl From<&str> for EnvironmentReference {
    fn from(name: &str) -> Self {
        Self(Reference::Name(name.to_owned()))
    }
}

impl From<String> for EnvironmentReference {
    fn from(name: String) -> Self {
        Self(Reference::Name(name))
    }
}

impl notebook::Display for Environment {
    fn mime_bundle(&self) -> notebook::MimeBundle {
        let version = self.version.as_deref().unwrap_or("not registered");
        Card::new("Environment", &self.name)
            .row("Version", Cell::text(version))
            .optional("Image", self.image.as_deref())
            .optional(
                "Dockerfile",
                self.dockerfile
                    .as_ref()
                    .map(|path| path.display().to_string()),
            )
            .optional("Description", self.description.as_deref())
            .mime_bundle()
    }
}

impl Row for Environment {
    const NOUN: &'static str = "environments";
    const HEADERS: &'static [&'static str] = &["Name", "Version", "Description"];

    fn cells(&self) -> Vec<Cell> {
        vec![
            Cell::text(&self.name),
            Cell::text(self.version.as_deref().unwrap_or_default()),
            Cell::text(self.description.as_deref().unwrap_or_default()),
        ]
    }
}
