//! A workspace and its resources.

use super::Run;
use crate::client::operation::Patience;
use crate::client::{Call, Client};
use crate::compute::{AmlCompute, ComputeTarget};
use crate::credential::{self, Credential};
use crate::environment::{Environment, EnvironmentReference, Reference, is_curated};
use crate::error::{Error, Result};
use crate::near::{did_you_mean, near};
use crate::run::RunFilter;
use crate::show::{Card, Cell, List};
use crate::{config, local, upload};
use azureml_wire::Bag;
use azureml_wire::arm::{Page, Resource};
use azureml_wire::compute::Compute;
use azureml_wire::environment::{
    BuildContext, EnvironmentContainerProperties, EnvironmentVersionProperties,
};
use azureml_wire::job::{Job, JobStatus};
use azureml_wire::routes::WorkspaceScope;
use azureml_wire::workspace::WorkspaceProperties;
use reqwest::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

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

    /// A compute target.
    pub async fn compute(&self, name: &str) -> Result<ComputeTarget> {
        let what = format!("reading compute target `{name}`");
        let path = self.client.scope().path(["computes", name]);
        let found: Option<Resource<Compute>> = self
            .client
            .find(Call::management(&what, Method::GET, path))
            .await?;
        if let Some(found) = found {
            return Ok(ComputeTarget::from_resource(self, found));
        }
        let all = self.computes().await?;
        let names: Vec<String> = all
            .iter()
            .map(|compute| compute.name().to_owned())
            .collect();
        let hint = match near(name, names.iter().map(String::as_str)).as_slice() {
            [] if names.is_empty() => "make one in Studio, under Compute".to_owned(),
            [] => "choose one of them; `ComputeTarget::list(&ws)` shows what they are".to_owned(),
            near => did_you_mean(near),
        };
        Err(Error::NotFound {
            kind: "compute target",
            name: name.to_owned(),
            workspace: self.name().to_owned(),
            known: names,
            hint,
        })
    }

    /// Lists all compute targets.
    pub async fn computes(&self) -> Result<List<ComputeTarget>> {
        let call = Call::management(
            "listing compute targets",
            Method::GET,
            self.client.scope().path(["computes"]),
        );
        let all: Vec<Resource<Compute>> = self.client.list(call).await?;
        Ok(all
            .into_iter()
            .map(|compute| ComputeTarget::from_resource(self, compute))
            .collect())
    }

    /// Creates a cluster, or updates the cluster of that name, and waits until it is provisioned.
    pub async fn create_compute(&self, cluster: &AmlCompute) -> Result<ComputeTarget> {
        cluster.check()?;
        let name = &cluster.name;
        let what = format!("making compute target `{name}`");
        let path = self.client.scope().path(["computes", name]);
        let request = cluster.to_wire(self.location());
        let call = Call::management(&what, Method::PUT, path).json(&request);
        let answer = self.client.send(call).await?;
        self.client.finish(&what, answer).await?;
        // Eventual consistency: the operation may have ended before all of the service shows the
        // result.
        let patience = Patience::new(&what);
        loop {
            let made = self.compute(name).await?;
            match made.provisioning.as_deref() {
                Some(state @ ("Failed" | "Canceled")) => {
                    return Err(Error::invalid(
                        format!("compute target `{name}` was not made: it is {state}"),
                        "Studio shows the reason, under Compute; a quota that is used up is the most frequent one",
                    ));
                }
                Some("Succeeded") | None => return Ok(made),
                Some(_) => patience.pause(self.pause()).await?,
            }
        }
    }

    /// Deletes a compute target and waits until it is deleted.
    pub async fn delete_compute(&self, name: &str) -> Result<()> {
        // An unknown name is an error that lists the existing compute targets.
        let name = self.compute(name).await?.name().to_owned();
        let what = format!("deleting compute target `{name}`");
        let path = self.client.scope().path(["computes", &name]);
        let call = Call::management(&what, Method::DELETE, path)
            .query("underlyingResourceAction", "Delete");
        match self.client.send(call).await {
            Ok(answer) => self.client.finish(&what, answer).await,
            // The first request succeeded, and its response was lost.
            Err(error) if error.status() == Some(404) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The interval between two polls of a long-running operation.
    fn pause(&self) -> Duration {
        Duration::from_millis(if self.is_local() { 100 } else { 5000 })
    }

    /// Starts a compute instance and waits until it is running.
    pub async fn start_compute(&self, name: &str) -> Result<ComputeTarget> {
        self.turn_compute(name, "start", "Running").await
    }

    /// Stops a compute instance, which then costs nothing, and waits until it has stopped.
    pub async fn stop_compute(&self, name: &str) -> Result<ComputeTarget> {
        self.turn_compute(name, "stop", "Stopped").await
    }

    async fn turn_compute(&self, name: &str, verb: &str, wanted: &str) -> Result<ComputeTarget> {
        let compute = self.compute(name).await?;
        if compute.kind() != "instance" {
            return Err(Error::invalid(
                format!("`{name}` is no compute instance"),
                "a cluster starts and stops its nodes by itself, and with none it costs nothing",
            ));
        }
        if compute.state() == Some(wanted) {
            return Ok(compute);
        }
        let what = format!("asking `{name}` to {verb}");
        let path = self.client.scope().path(["computes", name, verb]);
        self.client
            .send(Call::management(&what, Method::POST, path))
            .await?;
        let patience = Patience::new(&what);
        loop {
            let compute = self.compute(name).await?;
            match compute.state() {
                Some(state) if state == wanted => return Ok(compute),
                Some(state) if state.ends_with("Failed") || state == "Unusable" => {
                    return Err(Error::invalid(
                        format!("`{name}` did not {verb}: it is {state}"),
                        "Studio shows the reason, under Compute",
                    ));
                }
                _ => patience.pause(self.pause()).await?,
            }
        }
    }

    /// A run by its id.
    pub async fn run(&self, id: &str) -> Result<Run> {
        let what = format!("reading run `{id}`");
        let path = self.client.scope().path(["jobs", id]);
        let found: Option<Resource<Job>> = self
            .client
            .find(Call::management(&what, Method::GET, path))
            .await?;
        match found {
            Some(job) => Ok(Run::from_resource(self, id, job)),
            None => Err(self.no_run(id).await?),
        }
    }

    async fn no_run(&self, id: &str) -> Result<Error> {
        let jobs = self.jobs().await?;
        let near = near(id, jobs.iter().filter_map(|job| job.name.as_deref()));
        let hint = match near.as_slice() {
            [] => "`Run::list(&ws, \"train-model\")` shows the runs of an experiment".to_owned(),
            near => did_you_mean(near),
        };
        Ok(Error::NotFound {
            kind: "run",
            name: id.to_owned(),
            workspace: self.name().to_owned(),
            known: Vec::new(),
            hint,
        })
    }

    async fn jobs(&self) -> Result<Vec<Resource<Job>>> {
        self.client.list(self.listing("ActiveOnly")).await
    }

    /// The request that lists jobs, the newest first.
    fn listing(&self, view: &'static str) -> Call<'static> {
        let path = self.client.scope().path(["jobs"]);
        Call::management("listing runs", Method::GET, path).query("listViewType", view)
    }

    /// Lists the runs of an experiment, the newest first.
    pub async fn runs(&self, experiment: &str) -> Result<Vec<Run>> {
        self.find_runs(&RunFilter::new().experiment(experiment))
            .await
    }

    /// Lists the runs that match a filter, the newest first. Child runs are not included: list them
    /// through their parent.
    pub async fn find_runs(&self, filter: &RunFilter) -> Result<Vec<Run>> {
        let most = filter.most();
        let mut found = Vec::new();
        let call = self.listing(filter.view());
        self.client
            .pages(call, |page: Vec<Resource<Job>>| {
                for job in page {
                    let (experiment, status, tags) = match &job.properties {
                        Job::Command(job) => (&job.experiment_name, job.status, &job.tags),
                        Job::Sweep(job) => (&job.experiment_name, job.status, &job.tags),
                        Job::Other => continue,
                    };
                    let experiment = experiment.as_deref().unwrap_or("Default");
                    let status = status.unwrap_or(JobStatus::Unknown);
                    let empty = Bag::new();
                    if found.len() < most
                        && filter.wants(experiment, status, tags.as_ref().unwrap_or(&empty))
                        && let Some(id) = job.name.clone()
                    {
                        found.push(Run::from_resource(self, &id, job));
                    }
                }
                found.len() < most
            })
            .await?;
        Ok(found)
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
