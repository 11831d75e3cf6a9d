//! Registers, finds and downloads models, and downloads files from any `azureml://` URI.

use super::run::{inside, is_below};
use super::{Run, Workspace};
use crate::client::Call;
use crate::client::blob::{self, Container};
use crate::error::{Error, Result};
use crate::model::Model;
use crate::near::{did_you_mean, near};
use crate::run::RunFile;
use crate::show::List;
use azureml_wire::arm::{Page, Resource};
use azureml_wire::model::{ModelContainerProperties, ModelVersionProperties};
use reqwest::Method;
use std::path::{Path, PathBuf};

impl Workspace {
    /// A registered model: the newest version, or the version after a colon (`name:version`).
    pub async fn model(&self, name: &str) -> Result<Model> {
        let (name, version) = match name.rsplit_once(':') {
            Some((name, version)) => (name, Some(version)),
            None => (name, None),
        };
        let what = format!("reading model `{name}`");
        let found = if let Some(version) = version {
            let path = self
                .client()
                .scope()
                .path(["models", name, "versions", version]);
            self.client()
                .find(Call::management(&what, Method::GET, path))
                .await?
        } else {
            let path = self.client().scope().path(["models", name, "versions"]);
            let call = Call::management(&what, Method::GET, path)
                .query("$orderBy", "createdtime desc")
                .query("$top", "1");
            let page: Option<Page<Resource<ModelVersionProperties>>> =
                self.client().find(call).await?;
            page.and_then(|page| page.value.into_iter().next())
        };
        match found {
            Some(found) => Ok(Model::from_version(self, name, found)),
            None => Err(self.no_model(name, version).await?),
        }
    }

    async fn no_model(&self, name: &str, version: Option<&str>) -> Result<Error> {
        let all = self.models().await?;
        let newest = all
            .iter()
            .find(|model| model.name() == name)
            .map(Model::version);
        let near = near(name, all.iter().map(Model::name));
        let hint = match (newest, near.as_slice()) {
            (Some(newest), _) => format!("the newest version of `{name}` is {newest}"),
            (None, []) => {
                "`Model::list(&ws)` shows all; `run.register_model(name, path)` makes one"
                    .to_owned()
            }
            (None, near) => did_you_mean(near),
        };
        Ok(Error::NotFound {
            kind: "model",
            name: version.map_or_else(|| name.to_owned(), |version| format!("{name}:{version}")),
            workspace: self.name().to_owned(),
            known: Vec::new(),
            hint,
        })
    }

    /// Lists all models, each with its newest version.
    pub async fn models(&self) -> Result<List<Model>> {
        let call = Call::management(
            "listing models",
            Method::GET,
            self.client().scope().path(["models"]),
        );
        let all: Vec<Resource<ModelContainerProperties>> = self.client().list(call).await?;
        Ok(all
            .into_iter()
            .map(|model| Model::from_container(self, model))
            .collect())
    }

    /// Downloads the files of a model into the folder `to` and returns their paths.
    pub async fn download_model(
        &self,
        model: &Model,
        to: impl AsRef<Path>,
    ) -> Result<List<PathBuf>> {
        let to = to.as_ref();
        let known = match model.uri() {
            Some(_) => None,
            // A model from a list, which does not contain the URI.
            None => Some(
                self.model(&format!("{}:{}", model.name(), model.version()))
                    .await?,
            ),
        };
        let uri = known.as_ref().unwrap_or(model).uri().unwrap_or_default();
        self.download_from(&format!("model `{}`", model.name()), uri, to)
            .await
    }

    /// Downloads the files at a URI into the folder `to`; `of` names them in errors.
    pub(super) async fn download_from(
        &self,
        of: &str,
        uri: &str,
        to: &Path,
    ) -> Result<List<PathBuf>> {
        match place(uri) {
            Some(Place::Run { id, path }) => self.run(id).await?.download_below(path, to).await,
            Some(Place::Datastore { name, path }) => self.download_blobs(name, path, to).await,
            None => Err(Error::invalid(
                format!(
                    "the files of {of} are at {}, which cannot be read from here",
                    uri.split('?').next().unwrap_or(uri)
                ),
                "they lie outside of the workspace's datastores: download them from there",
            )),
        }
    }

    async fn download_blobs(
        &self,
        datastore: &str,
        path: &str,
        to: &Path,
    ) -> Result<List<PathBuf>> {
        let container = Container::datastore(self.client(), datastore).await?;
        let mut paths = Vec::new();
        for blob in container.list(path).await? {
            let Some(name) = below(&blob, path) else {
                continue;
            };
            let to = inside(to, name)?;
            let what = format!("downloading {blob}");
            blob::download(self.client(), &what, &container.signed_url(&blob), &to).await?;
            paths.push(to);
        }
        Ok(paths.into())
    }
}

impl Run {
    /// Registers a file or folder of this run as a model, under its next version.
    ///
    /// A folder with a file `MLmodel` is registered as a model in MLflow format.
    pub async fn register_model(&self, name: &str, path: &str) -> Result<Model> {
        let workspace = self.workspace();
        let files = self.file_names().await?;
        let path = path.trim_matches('/');
        let below: Vec<&RunFile> = files
            .iter()
            .filter(|file| below(&file.path, path).is_some())
            .collect();
        if below.is_empty() {
            return Err(self.no_file(path, &files));
        }
        let is_mlflow = below
            .iter()
            .any(|file| file.path == format!("{path}/MLmodel"));
        let kind = if is_mlflow {
            "mlflow_model"
        } else {
            "custom_model"
        };
        let properties = ModelVersionProperties {
            job_name: Some(self.id().to_owned()),
            model_type: Some(kind.to_owned()),
            model_uri: Some(format!(
                "azureml://jobs/{}/outputs/artifacts/paths/{path}",
                self.id()
            )),
            ..ModelVersionProperties::default()
        };
        let what = format!("registering model `{name}`");
        let registered = workspace
            .put_next_version("models", name, &what, properties)
            .await?;
        Ok(Model::from_version(workspace, name, registered))
    }

    /// Downloads a file, or the content of a folder, of this run.
    async fn download_below(&self, path: &str, to: &Path) -> Result<List<PathBuf>> {
        let files = self.file_names().await?;
        let mut paths = Vec::new();
        for file in &files {
            let Some(name) = below(&file.path, path) else {
                continue;
            };
            let to = inside(to, name)?;
            self.fetch(&file.path, &to).await?;
            paths.push(to);
        }
        if paths.is_empty() {
            return Err(self.no_file(path, &files));
        }
        Ok(paths.into())
    }
}

/// The location of a model's files.
#[derive(Debug, PartialEq, Eq)]
enum Place<'a> {
    Run { id: &'a str, path: &'a str },
    Datastore { name: &'a str, path: &'a str },
}

fn place(uri: &str) -> Option<Place<'_>> {
    let rest = uri.strip_prefix("azureml://")?;
    if let Some(rest) = rest.strip_prefix("jobs/") {
        let (id, rest) = rest.split_once('/')?;
        let path = rest.strip_prefix("outputs/artifacts/")?;
        let path = path.strip_prefix("paths/").unwrap_or(path);
        return Some(Place::Run { id, path });
    }
    // `datastores/…`, or the same below the id of the workspace.
    let (_, rest) = rest.split_once("datastores/")?;
    let (name, rest) = rest.split_once('/')?;
    let path = rest.strip_prefix("paths/")?;
    // The artifacts of a run, as the official client addresses them.
    match path
        .strip_prefix("ExperimentRun/dcid.")
        .and_then(|rest| rest.split_once('/'))
    {
        Some((id, path)) => Some(Place::Run { id, path }),
        None => Some(Place::Datastore { name, path }),
    }
}

/// A path relative to the folder `top`: the name of the file itself, or the path below the folder.
/// `None` when the path is neither.
fn below<'a>(path: &'a str, top: &str) -> Option<&'a str> {
    let top = top.trim_matches('/');
    if !is_below(path, top) {
        return None;
    }
    if path == top {
        return Some(path.rsplit('/').next().unwrap_or(path));
    }
    path.get(top.len()..)?.strip_prefix('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_from_uris() {
        let run = |id, path| Some(Place::Run { id, path });
        for (uri, expected) in [
            (
                "azureml://jobs/j/outputs/artifacts/paths/outputs/model/",
                run("j", "outputs/model/"),
            ),
            (
                "azureml://jobs/j/outputs/artifacts/outputs/model",
                run("j", "outputs/model"),
            ),
            (
                "azureml://datastores/d/paths/a/b",
                Some(Place::Datastore {
                    name: "d",
                    path: "a/b",
                }),
            ),
            (
                "azureml://subscriptions/s/resourcegroups/g/workspaces/w/datastores/d/paths/a",
                Some(Place::Datastore {
                    name: "d",
                    path: "a",
                }),
            ),
            (
                "azureml://datastores/workspaceartifactstore/paths/ExperimentRun/dcid.j/outputs/m",
                run("j", "outputs/m"),
            ),
            ("https://example.com/x", None),
        ] {
            assert_eq!(place(uri), expected, "{uri}");
        }
    }

    #[test]
    fn what_is_below_a_folder() {
        for (path, top, expected) in [
            ("outputs/model/a/b.pt", "outputs/model", Some("a/b.pt")),
            ("outputs/model.pt", "outputs/model.pt", Some("model.pt")),
            ("outputs/model2/a", "outputs/model", None),
            ("other", "outputs", None),
        ] {
            assert_eq!(below(path, top), expected, "{path} {top}");
        }
    }
}
