//! Inputs: finds the files of a job's inputs in the local workspace.

use super::failure::Failure;
use super::output;
use crate::app::App;
use crate::blob::{self, Found};
use crate::error::Error;
use crate::name::{BlobName, ContainerName, DEFAULT_CONTAINER, RunName};
use crate::routes::{datastore, own_url};
use crate::server::address::ACCOUNT;
use crate::store::asset::{self, Kind};
use crate::store::mlflow;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

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
    fn parse(container: &str, path: &str) -> Result<Self, Error> {
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
    pub fn blob(&self, app: &App) -> Result<Found, Error> {
        match &self.path {
            Some(path) => blob::find(&app.home, &self.container, path),
            None => Err(blob::missing("")),
        }
    }
}

/// The maximum number of URIs on the way to the files; a model leads to another URI.
const MOST_STEPS: usize = 4;

/// The location of a URI's files.
pub fn source(app: &App, uri: &str) -> Result<Source, Failure> {
    let mut uri = uri.to_owned();
    for _ in 0..MOST_STEPS {
        match step(app, &uri)? {
            Step::Files(source) => return Ok(source),
            Step::Uri(next) => uri = next,
        }
    }
    Err(Failure::user(format!(
        "{uri:?} leads from one asset to the next without an end"
    )))
}

enum Step {
    Files(Source),
    Uri(String),
}

fn step(app: &App, uri: &str) -> Result<Step, Failure> {
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
        if !datastore::exists(name) {
            return Err(Failure::user(format!(
                "the input {uri:?} is in datastore {name:?}, which this workspace does not have\n\
                 hint: its datastore is {:?}",
                datastore::NAME
            )));
        }
        return files(DEFAULT_CONTAINER, path);
    }
    if let Some(rest) = short.strip_prefix("azureml://jobs/")
        && let Some(place) = output::find(app, uri, rest)?
    {
        return match place {
            output::Place::Uri(uri) => Ok(Step::Uri(uri)),
            output::Place::Artifacts(path) => files(DEFAULT_CONTAINER, &path),
        };
    }
    // MLflow's URI of a run's artifact.
    if let Some(rest) = uri.strip_prefix("runs:/") {
        let (run, path) = rest.split_once('/').unwrap_or((rest, ""));
        let exists = app
            .store
            .transaction(|store| Ok(mlflow::get_run(store, run)?.is_some()))?;
        if !exists {
            return Err(Failure::user(format!(
                "the input {uri:?} comes from run {run:?}, which this workspace does not have"
            )));
        }
        let artifacts = RunName::parse(run)?.artifacts();
        return files(DEFAULT_CONTAINER, &format!("{artifacts}/{path}"));
    }
    if let Some((kinds, name, version)) = registered(uri) {
        return registered_uri(app, uri, kinds, &name, version.as_deref()).map(Step::Uri);
    }
    Err(Failure::user(format!(
        "the local workspace cannot read the input {uri:?}\n\
         hint: upload it to the datastore {:?}, or name a model, data or another job's output",
        datastore::NAME
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
    app: &App,
    uri: &str,
    kinds: &[Kind],
    name: &str,
    version: Option<&str>,
) -> Result<String, Failure> {
    for kind in kinds {
        let found = app.store.transaction(|store| match version {
            Some(version) => asset::get(store, *kind, name, version),
            None => Ok(asset::versions(store, *kind, name)?.into_iter().next()),
        })?;
        let uri = found.as_ref().and_then(|asset| {
            ["modelUri", "dataUri"]
                .iter()
                .find_map(|member| asset.properties.get(*member)?.as_str())
        });
        if let Some(uri) = uri {
            return Ok(uri.to_owned());
        }
    }
    let nouns: Vec<&str> = kinds.iter().map(|kind| kind.noun()).collect();
    let nouns = nouns.join(" or ");
    Err(Failure::user(format!(
        "the input {uri:?} is no {nouns} of this workspace\n\
         hint: see the list of them for names and versions"
    )))
}

/// The purpose of copied files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bring {
    /// Read only.
    ReadOnly,
    /// Code: programs become executable.
    Code,
}

/// Copies the files of a source into the new folder `target`; returns their number.
///
/// The copies share their blocks (reflink) if the file system can do that. They are separate files:
/// no action of a job changes the store.
pub fn bring_folder(
    app: &App,
    source: &Source,
    target: &Path,
    how: Bring,
) -> Result<usize, Failure> {
    fs::create_dir_all(target).map_err(Error::from)?;
    let prefix = source.prefix();
    let blobs = blob::list(&app.home, &source.container, &prefix)?;
    for blob in &blobs {
        // Blob names are relative paths without `..`.
        let path = target.join(&blob.name[prefix.len()..]);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(Error::from)?;
        }
        bring(blob, &path, how)?;
    }
    Ok(blobs.len())
}

/// Copies the single file of a source to `target`.
pub fn bring_file(app: &App, source: &Source, target: &Path) -> Result<(), Failure> {
    let found = source.blob(app)?;
    if let Some(folder) = target.parent() {
        fs::create_dir_all(folder).map_err(Error::from)?;
    }
    bring(&found, target, Bring::ReadOnly)
}

fn bring(from: &Found, to: &Path, how: Bring) -> Result<(), Failure> {
    let mut content = from.open()?.file;
    let mut file = fs::File::create_new(to).map_err(Error::from)?;
    io::copy(&mut content, &mut file).map_err(Error::from)?;
    let mode = match how {
        Bring::ReadOnly => 0o444,
        // Blobs have no file mode.
        Bring::Code if is_program(to) => 0o755,
        Bring::Code => 0o644,
    };
    fs::set_permissions(to, fs::Permissions::from_mode(mode)).map_err(Error::from)?;
    Ok(())
}

/// Whether a file begins like a program.
fn is_program(path: &Path) -> bool {
    use std::io::Read;
    let mut magic = [0; 4];
    fs::File::open(path)
        .and_then(|mut file| file.read(&mut magic))
        .is_ok_and(|length| {
            magic[..length].starts_with(b"\x7fELF") || magic[..length].starts_with(b"#!")
        })
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
