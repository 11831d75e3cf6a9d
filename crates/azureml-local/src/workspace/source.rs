//! The files behind a URI: of the blob store, of an asset, of a job's output or of a run's artifact.

use super::Workspace;
use super::output::{self, Place};
use super::uri::{ACCOUNT, ARTIFACT_STORE, DATASTORE, is_datastore, own_url};
use crate::blob::{self, Found};
use crate::error::{Error, Result};
use crate::name::{BlobName, ContainerName, DEFAULT_CONTAINER, RunName};
use crate::store::asset::{self, Asset, Kind};
use crate::store::mlflow;
use azureml_wire::local::{RESOURCE_GROUP, SUBSCRIPTION_ID, WORKSPACE_NAME};
use serde_json::{Value, json};

/// A location in the blob store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The container.
    pub container: ContainerName,
    /// The blob, or the folder of blobs; `None` for the whole container.
    pub path: Option<BlobName>,
}

impl Source {
    /// A location in a container; slashes around the path are ignored, and the path may be empty.
    fn parse(container: &str, path: &str) -> Result<Self> {
        let path = path.trim_matches('/');
        Ok(Self {
            container: ContainerName::parse(container)?,
            path: if path.is_empty() {
                None
            } else {
                Some(BlobName::parse(path)?)
            },
        })
    }

    /// The common prefix of all blobs in the folder.
    pub fn prefix(&self) -> String {
        self.path
            .as_ref()
            .map_or_else(String::new, |path| format!("{path}/"))
    }

    /// Finds the single blob of this location.
    pub fn blob(&self, app: &Workspace) -> Result<Found> {
        match &self.path {
            Some(path) => blob::find(&app.home, &self.container, path),
            None => Err(blob::missing("")),
        }
    }
}

/// The maximum number of URIs on the way to the files; a model leads to another URI.
const MOST_STEPS: usize = 4;

/// The location of a URI's files.
pub fn source(app: &Workspace, uri: &str) -> Result<Source> {
    let mut uri = uri.to_owned();
    for _ in 0..MOST_STEPS {
        match step(app, &uri)? {
            Step::Files(source) => return Ok(source),
            Step::Uri(next) => uri = next,
        }
    }
    Err(Error::invalid(format!(
        "{uri:?} leads from one asset to the next without an end"
    )))
}

enum Step {
    Files(Source),
    Uri(String),
}

fn step(app: &Workspace, uri: &str) -> Result<Step> {
    let files = |container: &str, path: &str| Ok(Step::Files(Source::parse(container, path)?));
    if let Some((_, path)) = own_url(uri) {
        let path = path.split('?').next().unwrap_or(path);
        let path = blob::decode(path).unwrap_or_else(|| path.to_owned());
        let path = path.trim_start_matches('/');
        let path = path.strip_prefix(ACCOUNT).unwrap_or(path);
        let path = path.trim_start_matches('/');
        let (container, path) = path.split_once('/').unwrap_or((path, ""));
        return files(container, path);
    }
    // The long forms begin with the workspace.
    let long = uri.starts_with("azureml://subscriptions/") || uri.starts_with("/subscriptions/");
    let short = ["/datastores/", "/jobs/"]
        .iter()
        .filter_map(|kind| uri.find(kind))
        .min()
        .filter(|_| long)
        .map_or(uri.to_owned(), |at| format!("azureml:/{}", &uri[at..]));
    if let Some(rest) = short.strip_prefix("azureml://datastores/") {
        let (name, path) = rest.split_once("/paths/").unwrap_or((rest, ""));
        if !is_datastore(name) {
            return Err(Error::invalid(format!(
                "the input {uri:?} is in datastore {name:?}, which this workspace does not have\n\
                 hint: its datastore is {DATASTORE:?}"
            )));
        }
        return files(DEFAULT_CONTAINER, path);
    }
    if let Some(rest) = short.strip_prefix("azureml://jobs/")
        && let Some(place) = output::find(app, uri, rest)?
    {
        return match place {
            Place::Uri(uri) => Ok(Step::Uri(uri)),
            Place::Artifacts(path) => files(DEFAULT_CONTAINER, &path),
        };
    }
    // MLflow's URI of a run's artifact.
    if let Some(rest) = uri.strip_prefix("runs:/") {
        let (run, path) = rest.split_once('/').unwrap_or((rest, ""));
        let exists = app
            .store
            .transaction(|store| Ok(mlflow::get_run(store, run)?.is_some()))?;
        if !exists {
            return Err(Error::invalid(format!(
                "the input {uri:?} comes from run {run:?}, which this workspace does not have"
            )));
        }
        let artifacts = RunName::parse(run)?.artifacts();
        return files(DEFAULT_CONTAINER, &format!("{artifacts}/{path}"));
    }
    if let Some((kinds, name, version)) = registered(uri) {
        return registered_uri(app, uri, kinds, &name, version.as_deref()).map(Step::Uri);
    }
    Err(Error::invalid(format!(
        "the local workspace cannot read the input {uri:?}\n\
         hint: upload it to the datastore {DATASTORE:?}, or name a model, data or another job's output"
    )))
}

/// A registered asset: the possible kinds, the name, and the version (`None` for the newest).
type Registered = (&'static [Kind], String, Option<String>);

/// Parses `azureml:name:version`, `azureml:name@latest`, `azureml:name` or the ARM id of a model or
/// of data.
fn registered(uri: &str) -> Option<Registered> {
    let by_id = [
        ("/models/", &[Kind::Model] as &[Kind]),
        ("/data/", &[Kind::Data]),
    ];
    for (collection, kinds) in by_id {
        if !uri.contains("://")
            && let Some((_, rest)) = uri.split_once(collection)
        {
            let (name, version) = rest.split_once("/versions/").unwrap_or((rest, ""));
            let version = Some(version.to_owned()).filter(|version| !version.is_empty());
            return Some((kinds, name.to_owned(), version));
        }
    }
    let rest = uri.strip_prefix("azureml:")?;
    if rest.contains('/') {
        return None;
    }
    let (name, version) = match (rest.split_once('@'), rest.split_once(':')) {
        (Some((name, _label)), _) => (name, None),
        (None, Some((name, version))) => (name, Some(version.to_owned())),
        (None, None) => (rest, None),
    };
    Some((&[Kind::Model, Kind::Data], name.to_owned(), version))
}

fn registered_uri(
    app: &Workspace,
    uri: &str,
    kinds: &[Kind],
    name: &str,
    version: Option<&str>,
) -> Result<String> {
    for kind in kinds {
        let found = app.store.transaction(|store| match version {
            Some(version) => asset::get(store, *kind, name, version),
            None => Ok(asset::versions(store, *kind, name)?.into_iter().next()),
        })?;
        if let Some(uri) = found.as_ref().and_then(Asset::uri) {
            return Ok(uri.to_owned());
        }
    }
    let nouns: Vec<&str> = kinds.iter().map(|kind| kind.noun()).collect();
    let nouns = nouns.join(" or ");
    Err(Error::invalid(format!(
        "the input {uri:?} is no {nouns} of this workspace\n\
         hint: see the list of them for names and versions"
    )))
}

/// The URI of a location in the blob store, in the form of the service, and whether it is a single
/// file. The URI of a folder ends with a slash, so that it is not a prefix of another folder's URI.
pub fn address(app: &Workspace, source: &Source) -> (String, bool) {
    let is_file = source.blob(app).is_ok();
    let path = match &source.path {
        Some(path) if is_file => path.to_string(),
        _ => source.prefix(),
    };
    let root = if source.container == ContainerName::default_datastore() {
        let name = if path.starts_with("ExperimentRun/") {
            ARTIFACT_STORE
        } else {
            DATASTORE
        };
        format!(
            "azureml://subscriptions/{SUBSCRIPTION_ID}/resourcegroups/{RESOURCE_GROUP}\
             /workspaces/{WORKSPACE_NAME}/datastores/{name}/paths"
        )
    } else {
        format!("{}/{ACCOUNT}/{}", app.url(), source.container)
    };
    (format!("{root}/{path}"), is_file)
}

/// Replaces the URI of a job output or a run artifact with the location of its files, as the
/// service does when a model is registered. Clients download from that location.
pub fn settle(app: &Workspace, properties: &mut Value, member: &str) -> Result<()> {
    let Some(uri) = properties.get(member).and_then(Value::as_str) else {
        return Ok(());
    };
    let Some(rest) = ["azureml://jobs/", "runs:/"]
        .iter()
        .find_map(|scheme| uri.strip_prefix(scheme))
    else {
        return Ok(());
    };
    let job = rest.split('/').next().unwrap_or_default().to_owned();
    let source = source(app, uri).map_err(|error| Error::invalid(format!("{member}: {error}")))?;
    properties[member] = json!(address(app, &source).0);
    if properties.get("jobName").is_none_or(Value::is_null) {
        properties["jobName"] = json!(job);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assets_are_named_in_many_ways() {
        for (uri, kinds, name, version) in [
            ("azureml:mnist:3", 2, "mnist", Some("3")),
            ("azureml:mnist@latest", 2, "mnist", None),
            ("azureml:mnist", 2, "mnist", None),
            (
                "/subscriptions/s/x/models/mnist/versions/3",
                1,
                "mnist",
                Some("3"),
            ),
            (
                "/subscriptions/s/x/data/digits/versions/1",
                1,
                "digits",
                Some("1"),
            ),
        ] {
            let found = registered(uri).expect(uri);
            let expected = (name.to_owned(), version.map(str::to_owned));
            assert_eq!(
                (found.0.len(), (found.1, found.2)),
                (kinds, expected),
                "{uri}"
            );
        }
        for uri in [
            "azureml://datastores/x/paths/data/y",
            "https://example.com/data/x",
        ] {
            assert!(registered(uri).is_none(), "{uri}");
        }
    }
}
