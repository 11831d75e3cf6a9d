//! A workspace, and what is in it.

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

/// Versions that others may take one after the other before a registration is given up.
const RACES: u32 = 16;

/// A workspace; cheap to clone.
#[derive(Debug, Clone)]
pub struct Workspace {
    client: Arc<Client>,
    location: Option<String>,
}

impl Workspace {
    /// The workspace that the nearest `config.json` names, searched as SDK v1 does: `.azureml/`, `aml_config/` and the folder itself,
    /// from here up to the root. Without one it is the local workspace, unless `AZUREML_LOCAL=off`.
    pub async fn from_config() -> Result<Self> {
        let here = std::env::current_dir().map_err(Error::io("cannot read", "."))?;
        match config::find(&here) {
            Some(path) => Self::from_config_path(path).await,
            None if local::is_forbidden() => Err(Error::NoConfig { from: here }),
            None => Self::local().await,
        }
    }

    /// The workspace that the file at `path` names; of a folder, the nearest file from there up.
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

    /// A workspace by its names.
    pub async fn get(name: &str, subscription_id: &str, resource_group: &str) -> Result<Self> {
        Self::open(WorkspaceScope {
            subscription_id: subscription_id.to_owned(),
            resource_group: resource_group.to_owned(),
            workspace_name: name.to_owned(),
        })
        .await
    }

    /// As [`Workspace::get`], with a credential of one's own.
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

    /// The local workspace of this machine; it is started when it does not run.
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

    /// Its name.
    pub fn name(&self) -> &str {
        &self.client.scope().workspace_name
    }

    /// Its resource group.
    pub fn resource_group(&self) -> &str {
        &self.client.scope().resource_group
    }

    /// Its subscription.
    pub fn subscription_id(&self) -> &str {
        &self.client.scope().subscription_id
    }

    /// Its region.
    pub fn location(&self) -> Option<&str> {
        self.location.as_deref()
    }

    /// Its ARM id.
    pub fn id(&self) -> String {
        self.client.scope().to_string()
    }

    /// Whether it is the local workspace of this machine.
    pub fn is_local(&self) -> bool {
        self.client.is_local()
    }

    pub(crate) fn client(&self) -> &Arc<Client> {
        &self.client
    }

    /// The newest version of an environment, or the version that is named after a colon.
    ///
    /// Azure ML's own environments may be named (`AzureML-…`), and those of a registry by their address (`azureml://registries/…`).
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
            // Shared by all workspaces, and not always listed in each.
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

    /// The error of an environment that is not there.
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

    /// All environments, each with its newest version.
    pub async fn environments(&self) -> Result<List<Environment>> {
        let call = Call::management(
            "listing environments",
            Method::GET,
            self.client.scope().path(["environments"]),
        );
        let all: Vec<Resource<EnvironmentContainerProperties>> = self.client.list(call).await?;
        Ok(all.into_iter().map(Environment::from_container).collect())
    }

    /// Registers an environment under its next version; one that is registered already stays as it is.
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
        // The same definition again is the same version, as in SDK v1. A build context lies where its content says.
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

    /// Registers something under its next version. When somebody else takes that at the same moment, it is the one after.
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

    /// The version that a registration under `name` gets.
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

    /// What a job names its environment by; registers one that is not yet registered.
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

    /// All compute targets.
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

    /// Makes a cluster, or changes the one of that name, and waits until it can be used.
    pub async fn create_compute(&self, cluster: &AmlCompute) -> Result<ComputeTarget> {
        cluster.check()?;
        let name = &cluster.name;
        let what = format!("making compute target `{name}`");
        let path = self.client.scope().path(["computes", name]);
        let request = cluster.to_wire(self.location());
        let call = Call::management(&what, Method::PUT, path).json(&request);
        let answer = self.client.send(call).await?;
        self.client.finish(&what, answer).await?;
        // The operation may have ended before the whole service knows.
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

    /// Deletes a compute target, and waits until it is gone.
    pub async fn delete_compute(&self, name: &str) -> Result<()> {
        // One that is not there is told as such, with what there is.
        let name = self.compute(name).await?.name().to_owned();
        let what = format!("deleting compute target `{name}`");
        let path = self.client.scope().path(["computes", &name]);
        let call = Call::management(&what, Method::DELETE, path)
            .query("underlyingResourceAction", "Delete");
        match self.client.send(call).await {
            Ok(answer) => self.client.finish(&what, answer).await,
            // The first time was heard, and its answer lost.
            Err(error) if error.status() == Some(404) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Between two looks at something that takes its time.
    fn pause(&self) -> Duration {
        Duration::from_millis(if self.is_local() { 100 } else { 5000 })
    }

    /// Starts a compute instance, and waits until it runs.
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

    /// The call that lists jobs, the newest first.
    fn listing(&self, view: &'static str) -> Call<'static> {
        let path = self.client.scope().path(["jobs"]);
        Call::management("listing runs", Method::GET, path).query("listViewType", view)
    }

    /// The runs of an experiment, newest first.
    pub async fn runs(&self, experiment: &str) -> Result<Vec<Run>> {
        self.find_runs(&RunFilter::new().experiment(experiment))
            .await
    }

    /// The runs that are wanted, newest first. Children of runs are found by way of their parents.
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
