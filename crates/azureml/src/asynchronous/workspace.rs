//! A workspace and its resources.

use crate::client::{Call, Client};
use crate::credential::{self, Credential};
use crate::environment::{Environment, EnvironmentReference, Reference, is_curated};
use crate::error::{Error, Result};
use crate::near::{did_you_mean, near};
use crate::show::{Card, Cell, List};
use crate::{config, local, upload};
use azureml_wire::arm::{Page, Resource};
use azureml_wire::environment::{
    BuildContext, EnvironmentContainerProperties, EnvironmentVersionProperties,
};
use azureml_wire::routes::WorkspaceScope;
use azureml_wire::workspace::WorkspaceProperties;
use reqwest::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;

/// The most version conflicts with other clients before a registration fails.
const RACES: u32 = 16;

/// A workspace; cheap to clone.
#[derive(Debug, Clone)]
pub struct Workspace {
    client: Arc<Client>,
    location: Option<String>,
}

impl Workspace {
    /// Opens the workspace of the nearest `config.json`, searched as SDK v1 does: in `.azureml/`,
    /// `aml_config/` and the folder itself, from the current folder up to the root. Without a
    /// `config.json` it opens the local workspace, unless `AZUREML_LOCAL=off`.
    pub async fn from_config() -> Result<Self> {
        let here = std::env::current_dir().map_err(Error::io("cannot read", "."))?;
        match config::find(&here) {
            Some(path) => Self::from_config_path(path).await,
            None if local::is_forbidden() => Err(Error::NoConfig { from: here }),
            None => Self::local().await,
        }
    }

    /// Opens the workspace of the file at `path`. If `path` is a folder, searches from it up to the
    /// root.
    pub async fn from_config_path(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let found = if path.is_dir() {
            let folder = path
                .canonicalize()
                .map_err(Error::io("cannot read", path))?;
            config::find(&folder).ok_or_else(|| {
                Error::invalid(
                    format!(
                        "no config.json in {} or any folder above it",
                        path.display()
                    ),
                    "download it from the workspace's page in Azure's portal",
                )
            })?
        } else {
            path.to_owned()
        };
        Self::open(config::read(&found)?).await
    }

    /// Opens a workspace by name, subscription and resource group.
    pub async fn get(name: &str, subscription_id: &str, resource_group: &str) -> Result<Self> {
        Self::open(WorkspaceScope {
            subscription_id: subscription_id.to_owned(),
            resource_group: resource_group.to_owned(),
            workspace_name: name.to_owned(),
        })
        .await
    }

    /// Like [`Workspace::get`], with a given credential.
    pub async fn get_with(
        name: &str,
        subscription_id: &str,
        resource_group: &str,
        credential: Arc<dyn Credential>,
    ) -> Result<Self> {
        let scope = WorkspaceScope {
            subscription_id: subscription_id.to_owned(),
            resource_group: resource_group.to_owned(),
            workspace_name: name.to_owned(),
        };
        Self::with(Client::azure(scope, credential)?).await
    }

    /// Opens the local workspace of this machine and starts it if it is not running.
    pub async fn local() -> Result<Self> {
        Self::with(Client::local()?).await
    }

    async fn open(scope: WorkspaceScope) -> Result<Self> {
        if scope == azureml_wire::local::scope() {
            Self::local().await
        } else {
            Self::with(Client::azure(scope, credential::default())?).await
        }
    }

    async fn with(client: Client) -> Result<Self> {
        let what = format!("opening workspace `{}`", client.scope().workspace_name);
        let call = Call::management(&what, Method::GET, client.scope().to_string());
        let workspace: Resource<WorkspaceProperties> = client.read(call).await?;
        Ok(Self {
            client: Arc::new(client),
            location: workspace.location,
        })
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.client.scope().workspace_name
    }

    /// The resource group.
    pub fn resource_group(&self) -> &str {
        &self.client.scope().resource_group
    }

    /// The id of the subscription.
    pub fn subscription_id(&self) -> &str {
        &self.client.scope().subscription_id
    }

    /// The region.
    pub fn location(&self) -> Option<&str> {
        self.location.as_deref()
    }

    /// The ARM id.
    pub fn id(&self) -> String {
        self.client.scope().to_string()
    }

    /// Whether this is the local workspace of this machine.
    pub fn is_local(&self) -> bool {
        self.client.is_local()
    }

    pub(crate) fn client(&self) -> &Arc<Client> {
        &self.client
    }

    /// An environment: the newest version, or the version after a colon (`name:version`).
    ///
    /// Also accepts the names of curated environments (`AzureML-…`) and the URIs of registry
    /// environments (`azureml://registries/…`).
    pub async fn environment(&self, name: &str) -> Result<Environment> {
        if name.starts_with("azureml:") || name.starts_with("/subscriptions/") {
            return Ok(Environment::by_address(name));
        }
        if let Some(name) = name.strip_suffix("@latest") {
            return self.latest_environment(name).await;
        }
        match name.rsplit_once(':') {
            Some((name, version)) => self.environment_version(name, version).await,
            None => self.latest_environment(name).await,
        }
    }

    async fn latest_environment(&self, name: &str) -> Result<Environment> {
        let what = format!("reading environment `{name}`");
        let path = self.client.scope().path(["environments", name, "versions"]);
        let call = Call::management(&what, Method::GET, path)
            .query("$orderBy", "createdtime desc")
            .query("$top", "1");
        let page: Option<Page<Resource<EnvironmentVersionProperties>>> =
            self.client.find(call).await?;
        match page.and_then(|page| page.value.into_iter().next()) {
            Some(version) => Ok(Environment::from_version(name, version)),
            None => Err(self.no_environment(name, None).await?),
        }
    }

    /// A version of an environment.
    pub async fn environment_version(&self, name: &str, version: &str) -> Result<Environment> {
        if is_curated(name) {
            // Curated environments are shared by all workspaces, and a workspace does not always
            // list them.
            return Ok(Environment {
                version: Some(version.to_owned()),
                name: name.to_owned(),
                ..Environment::by_address(&format!("azureml:{name}:{version}"))
            });
        }
        let what = format!("reading environment `{name}:{version}`");
        let path = self
            .client
            .scope()
            .path(["environments", name, "versions", version]);
        match self
            .client
            .find(Call::management(&what, Method::GET, path))
            .await?
        {
            Some(found) => Ok(Environment::from_version(name, found)),
            None => Err(self.no_environment(name, Some(version)).await?),
        }
    }

    /// The error for an environment that does not exist.
    async fn no_environment(&self, name: &str, version: Option<&str>) -> Result<Error> {
        let all = self.environments().await?;
        let names = || all.iter().map(Environment::name);
        if let (Some(version), Some(known)) =
            (version, all.iter().find(|known| known.name() == name))
        {
            let newest = known.version().unwrap_or("none");
            return Ok(Error::NotFound {
                kind: "environment",
                name: format!("{name}:{version}"),
                workspace: self.name().to_owned(),
                known: Vec::new(),
                hint: format!("the newest version of `{name}` is {newest}"),
            });
        }
        let near = near(name, names());
        let hint = match near.as_slice() {
            [] => "`Environment::list(&ws)` shows all; `Environment::from_docker_image(name, image)` makes one".to_owned(),
            near => did_you_mean(near),
        };
        Ok(Error::NotFound {
            kind: "environment",
            name: name.to_owned(),
            workspace: self.name().to_owned(),
            known: if near.is_empty() {
                names().take(10).map(str::to_owned).collect()
            } else {
                Vec::new()
            },
            hint,
        })
    }

    /// Lists all environments, each with its newest version.
    pub async fn environments(&self) -> Result<List<Environment>> {
        let call = Call::management(
            "listing environments",
            Method::GET,
            self.client.scope().path(["environments"]),
        );
        let all: Vec<Resource<EnvironmentContainerProperties>> = self.client.list(call).await?;
        Ok(all.into_iter().map(Environment::from_container).collect())
    }

    /// Registers an environment under its next version; an environment that is already registered
    /// is returned unchanged.
    pub async fn register(&self, environment: &Environment) -> Result<Environment> {
        if environment.id.is_some() {
            return Ok(environment.clone());
        }
        let name = &environment.name;
        let mut properties = EnvironmentVersionProperties {
            description: environment.description.clone(),
            image: environment.image.clone(),
            conda_file: environment.conda.clone(),
            ..EnvironmentVersionProperties::default()
        };
        if let Some(dockerfile) = &environment.dockerfile {
            let folder = dockerfile
                .parent()
                .filter(|folder| !folder.as_os_str().is_empty());
            let uploaded = upload::data(
                &self.client,
                folder.unwrap_or(Path::new(".")),
                &format!("environment {name}"),
            )
            .await?;
            properties.build = Some(BuildContext {
                context_uri: uploaded.blob_url,
                dockerfile_path: dockerfile
                    .file_name()
                    .map(|name| name.to_string_lossy().into_owned()),
            });
        }
        let newest = match self.latest_environment(name).await {
            Ok(newest) => Some(newest),
            Err(Error::NotFound { .. }) => None,
            Err(error) => return Err(error),
        };
        // Registering the same definition again returns the same version, as in SDK v1. The
        // location of a build context depends only on its content.
        if let Some(newest) = newest
            && newest.image == environment.image
            && newest.conda == environment.conda
            && newest.context.as_deref()
                == properties
                    .build
                    .as_ref()
                    .map(|build| build.context_uri.as_str())
            && newest.dockerfile
                == properties
                    .build
                    .as_ref()
                    .and_then(|build| build.dockerfile_path.clone())
                    .map(Into::into)
        {
            return Ok(newest);
        }
        let what = format!("registering environment `{name}`");
        let registered = self
            .put_next_version("environments", name, &what, properties)
            .await?;
        Ok(Environment::from_version(name, registered))
    }

    /// Registers a resource under its next version. When another client takes that version at the
    /// same time, the one after it is used.
    pub(crate) async fn put_next_version<T: Serialize + DeserializeOwned>(
        &self,
        collection: &str,
        name: &str,
        what: &str,
        properties: T,
    ) -> Result<Resource<T>> {
        let request = Resource::request(properties);
        let mut tries = 0;
        loop {
            let version = self.next_version(collection, name).await?;
            let path = self
                .client
                .scope()
                .path([collection, name, "versions", &version]);
            let call = Call::management(what, Method::PUT, path).json(&request);
            let put: Result<Resource<T>> = self.client.read(call).await;
            match put {
                Ok(mut registered) => {
                    registered.name.get_or_insert(version);
                    return Ok(registered);
                }
                Err(error) if error.status() == Some(409) && tries < RACES => tries += 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// The next version of `name`.
    pub(crate) async fn next_version(&self, collection: &str, name: &str) -> Result<String> {
        let what = format!("reading the versions of `{name}`");
        let path = self.client.scope().path([collection, name]);
        let found: Option<Resource<Value>> = self
            .client
            .find(Call::management(&what, Method::GET, path))
            .await?;
        let next =
            found.and_then(|found| found.properties["nextVersion"].as_str().map(str::to_owned));
        Ok(next.unwrap_or_else(|| "1".to_owned()))
    }

    /// The id of a job's environment; registers the environment if necessary.
    pub(crate) async fn environment_id(&self, reference: &EnvironmentReference) -> Result<String> {
        let environment = match &reference.0 {
            Reference::Name(name) => self.environment(name).await?,
            Reference::Environment(environment) => self.register(environment).await?,
        };
        environment.id.ok_or_else(|| Error::Answer {
            call: format!("reading environment `{}`", environment.name),
            reason: "it names no id".to_owned(),
        })
    }
}

impl notebook::Display for Workspace {
    fn mime_bundle(&self) -> notebook::MimeBundle {
        let place = if self.is_local() {
            "this machine (local workspace)"
        } else {
            "Azure"
        };
        let mut card = Card::new("Workspace", self.name())
            .row("Resource group", Cell::text(self.resource_group()))
            .row(
                "Subscription",
                Cell::Code(self.subscription_id().to_owned()),
            )
            .optional("Region", self.location())
            .row("Runs on", Cell::text(place));
        if !self.is_local() {
            let id = self.id();
            card = card.row(
                "Studio",
                Cell::Link(format!("https://ml.azure.com/?wsid={id}")),
            );
        }
        card.mime_bundle()
    }
}
