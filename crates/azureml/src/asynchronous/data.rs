//! Registers, finds and downloads data assets.

use super::Workspace;
use crate::client::Call;
use crate::data::{Data, Source};
use crate::error::{Error, Result};
use crate::near::{did_you_mean, near};
use crate::show::List;
use crate::upload;
use azureml_wire::arm::{Page, Resource};
use azureml_wire::data::{DataContainerProperties, DataVersionProperties};
use reqwest::Method;
use std::path::{Path, PathBuf};

impl Workspace {
    /// Registers data under its next version; local files are uploaded first. When the content
    /// equals that of the newest version, that version is returned.
    pub async fn register_data(&self, data: &Data) -> Result<Data> {
        data.check()?;
        let name = &data.name;
        let uri = match &data.source {
            Source::Uri(uri) => uri.clone(),
            Source::Unknown => return self.data(name).await,
            Source::Local(path) => {
                let (client, what) = (self.client(), format!("data {name}"));
                let uploaded = client
                    .surviving(async || upload::data(client, path, &what).await)
                    .await?;
                uploaded.datastore_uri
            }
        };
        let newest = self.newest_version(name).await?;
        if let Some(newest) = newest
            && newest.properties.data_type == data.kind
            && is_same_place(&newest.properties.data_uri, &uri)
        {
            return Ok(Data::from_version(self, name, newest));
        }
        let properties = DataVersionProperties {
            description: data.description.clone(),
            tags: (!data.tags.is_empty()).then(|| data.tags.clone()),
            data_type: data.kind.clone(),
            data_uri: uri,
            ..DataVersionProperties::default()
        };
        let what = format!("registering data `{name}`");
        let registered = self
            .put_next_version("data", name, &what, properties)
            .await?;
        Ok(Data::from_version(self, name, registered))
    }

    /// A registered data asset: the newest version, or the version after a colon (`name:version`).
    pub async fn data(&self, name: &str) -> Result<Data> {
        let name = name.strip_suffix("@latest").unwrap_or(name);
        let (name, version) = match name.rsplit_once(':') {
            Some((name, version)) => (name, Some(version)),
            None => (name, None),
        };
        let found = match version {
            Some(version) => {
                let what = format!("reading data `{name}:{version}`");
                let path = self
                    .client()
                    .scope()
                    .path(["data", name, "versions", version]);
                self.client()
                    .find(Call::management(&what, Method::GET, path))
                    .await?
            }
            None => self.newest_version(name).await?,
        };
        match found {
            Some(found) => Ok(Data::from_version(self, name, found)),
            None => Err(self.no_data(name, version).await?),
        }
    }

    async fn newest_version(&self, name: &str) -> Result<Option<Resource<DataVersionProperties>>> {
        let what = format!("reading data `{name}`");
        let path = self.client().scope().path(["data", name, "versions"]);
        let call = Call::management(&what, Method::GET, path)
            .query("$orderBy", "createdtime desc")
            .query("$top", "1");
        let page: Option<Page<Resource<DataVersionProperties>>> = self.client().find(call).await?;
        Ok(page.and_then(|page| page.value.into_iter().next()))
    }

    async fn no_data(&self, name: &str, version: Option<&str>) -> Result<Error> {
        let all = self.all_data().await?;
        let newest = all
            .iter()
            .find(|data| data.name() == name)
            .and_then(Data::version);
        let near = near(name, all.iter().map(Data::name));
        let hint = match (newest, near.as_slice()) {
            (Some(newest), _) => format!("the newest version of `{name}` is {newest}"),
            (None, []) => "`Data::list(&ws)` shows all; `Data::from_folder(name, path).register(&ws)` makes one, and so does a \
                           job, by `Output::folder().register_as(name)`"
                .to_owned(),
            (None, near) => did_you_mean(near),
        };
        Ok(Error::NotFound {
            kind: "data",
            name: version.map_or_else(|| name.to_owned(), |version| format!("{name}:{version}")),
            workspace: self.name().to_owned(),
            known: Vec::new(),
            hint,
        })
    }

    /// Lists all registered data, each with its newest version.
    pub async fn all_data(&self) -> Result<List<Data>> {
        let path = self.client().scope().path(["data"]);
        let call = Call::management("listing data", Method::GET, path);
        let all: Vec<Resource<DataContainerProperties>> = self.client().list(call).await?;
        Ok(all
            .into_iter()
            .map(|data| Data::from_container(self, data))
            .collect())
    }

    /// Lists all versions of registered data, the newest first.
    pub async fn data_versions(&self, name: &str) -> Result<List<Data>> {
        let what = format!("listing the versions of data `{name}`");
        let path = self.client().scope().path(["data", name, "versions"]);
        let call = Call::management(&what, Method::GET, path).query("$orderBy", "createdtime desc");
        let all: Result<Vec<Resource<DataVersionProperties>>> = self.client().list(call).await;
        match all {
            Ok(all) => Ok(all
                .into_iter()
                .map(|version| Data::from_version(self, name, version))
                .collect()),
            Err(error) if error.status() == Some(404) => Err(self.no_data(name, None).await?),
            Err(error) => Err(error),
        }
    }

    /// Downloads data into the folder `to` and returns the paths of the files.
    pub async fn download_data(&self, data: &Data, to: impl AsRef<Path>) -> Result<List<PathBuf>> {
        let (name, version) = (data.name(), data.version());
        let known = match data.uri() {
            Some(_) => None,
            // Data from a list, which does not contain the URI.
            None => Some(match version {
                Some(version) => self.data(&format!("{name}:{version}")).await?,
                None => self.data(name).await?,
            }),
        };
        let uri = known.as_ref().unwrap_or(data).uri().unwrap_or_default();
        self.download_from(&format!("data `{name}`"), uri, to.as_ref())
            .await
    }
}

/// Whether two URIs lead to the same files: the service may prepend the id of the workspace to the
/// datastore.
fn is_same_place(a: &str, b: &str) -> bool {
    let within = |uri: &str| {
        uri.split_once("datastores/")
            .map(|(_, place)| place.to_owned())
    };
    a == b || within(a).is_some_and(|place| within(b) == Some(place))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_the_same_with_and_without_the_workspaces_id() {
        let short = "azureml://datastores/d/paths/a/";
        let long = "azureml://subscriptions/s/resourcegroups/g/workspaces/w/datastores/d/paths/a/";
        assert!(is_same_place(short, long) && is_same_place(short, short));
        assert!(!is_same_place(short, "azureml://datastores/d/paths/b/"));
        assert!(!is_same_place("https://a/x", "https://b/x"));
    }
}
