//! Uploads code and data to the workspace, each content once.

use crate::client::blob::Container;
use crate::client::{Call, Client};
use crate::error::{Error, Result};
use crate::input::{Input, Source};
use crate::progress::Progress;
use crate::show;
use crate::snapshot::{self, Entry};
use crate::walk::not_a_file;
use azureml_wire::arm::{Page, Resource};
use azureml_wire::code::{
    CodeVersionProperties, HASH_VERSION, PendingUploadRequest, PendingUploadResponse,
};
use azureml_wire::job::JobInput;
use futures::TryStreamExt;
use reqwest::Method;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Concurrent uploads.
const PARALLEL: usize = 8;
/// The version of a code asset; the name depends on the content, so no other version exists.
const VERSION: &str = "1";
/// The mark of a finished upload, as the official client sets it.
const MARK: (&str, &str) = ("upload_status", "completed");

/// A folder of code in its current state.
pub struct Code {
    files: Vec<Entry>,
    hash: String,
    /// The name of the asset for this content.
    asset: String,
    /// The id of the asset, if the workspace already has it.
    id: Option<String>,
}

impl Code {
    /// Hashes a folder and searches the workspace for its content.
    pub async fn look_up(client: &Client, folder: &Path) -> Result<Self> {
        let (files, hash) = hashed(folder.to_owned(), true).await?;
        if files.is_empty() {
            return Err(Error::invalid(
                format!("{} holds no files", folder.display()),
                "the source directory holds the job's program; look at .amlignore, too",
            ));
        }
        let asset = snapshot::asset_name(&hash);
        let id = find_code(client, &asset, &hash).await?;
        Ok(Self {
            files,
            hash,
            asset,
            id,
        })
    }
}

/// Uploads code unless the workspace has it, and returns its id. `name` is the name of the folder
/// in the upload.
pub async fn code(client: &Client, code: &Code, name: &str) -> Result<String> {
    let Code {
        files,
        hash,
        asset,
        id,
    } = code;
    if let Some(id) = id {
        return Ok(id.clone());
    }
    let what = "asking for a place for the code";
    let path = client
        .scope()
        .path(["codes", asset, "versions", VERSION, "startPendingUpload"]);
    let request = PendingUploadRequest {
        pending_upload_id: None,
        pending_upload_type: Some("TemporaryBlobReference".to_owned()),
    };
    let place: PendingUploadResponse = client
        .read(Call::management(what, Method::POST, path).json(&request))
        .await?;
    let place = place.blob_reference_for_consumption;
    let container = Container::from_signed_url(client, &place.credential.sas_uri).await?;
    put_all(
        &container,
        name,
        files,
        "code",
        &[("name", asset), ("version", VERSION)],
    )
    .await?;
    let properties = CodeVersionProperties {
        properties: Some(
            [
                ("hash_sha256".to_owned(), json!(hash)),
                ("hash_version".to_owned(), json!(HASH_VERSION)),
            ]
            .into(),
        ),
        is_anonymous: Some(true),
        code_uri: Some(format!(
            "{}/{}",
            place.blob_uri.trim_end_matches('/'),
            azureml_wire::routes::encode(name)
        )),
        ..CodeVersionProperties::default()
    };
    let path = client.scope().path(["codes", asset, "versions", VERSION]);
    let call = Call::management("registering the code", Method::PUT, path)
        .json(&Resource::request(properties));
    match client.read::<Resource<Value>>(call).await {
        Ok(code) => id_of(code.id, "registering the code"),
        // Another client has registered the same code at the same time.
        Err(error) if matches!(error.status(), Some(400 | 409)) => {
            find_code(client, asset, hash).await?.ok_or(error)
        }
        Err(error) => Err(error),
    }
}

async fn find_code(client: &Client, asset: &str, hash: &str) -> Result<Option<String>> {
    let path = client.scope().path(["codes", asset, "versions"]);
    let call = Call::management("looking for the code", Method::GET, path)
        .query("hash", hash)
        .query("hashVersion", HASH_VERSION);
    let page: Option<Page<Resource<Value>>> = client.find(call).await?;
    Ok(page.and_then(|page| page.value.into_iter().find_map(|code| code.id)))
}

fn id_of(id: Option<String>, call: &str) -> Result<String> {
    id.ok_or_else(|| Error::Answer {
        call: call.to_owned(),
        reason: "it names no id".to_owned(),
    })
}

/// Converts a job's input to the REST model; a local file or folder is uploaded first.
pub async fn input(client: &Client, name: &str, input: &Input) -> Result<JobInput> {
    match &input.source {
        Source::Literal(_) => Ok(input.to_wire("")),
        Source::Address(address) => Ok(input.to_wire(address)),
        Source::Local(path) => {
            check_input(name, input, path)?;
            let uploaded = data(client, path, name).await?;
            Ok(input.to_wire(&uploaded.datastore_uri))
        }
    }
}

/// Checks that a local input exists and is of the right type.
pub fn check_input(name: &str, input: &Input, path: &Path) -> Result<()> {
    let found = path.metadata().map_err(|error| {
        let folder = std::env::current_dir().unwrap_or_default();
        Error::invalid(
            format!("input `{name}`: {} cannot be read: {error}", path.display()),
            format!(
                "the path is relative to {}; an address begins with azureml:// or https://",
                folder.display()
            ),
        )
    })?;
    if !found.is_file() && !found.is_dir() {
        return Err(not_a_file(path, found.file_type()));
    }
    match input.wants_file() {
        Some(true) if found.is_dir() => Err(Error::invalid(
            format!("input `{name}`: {} is a folder", path.display()),
            "use `Input::folder`",
        )),
        Some(false) if found.is_file() => Err(Error::invalid(
            format!("input `{name}`: {} is a file", path.display()),
            "use `Input::file`",
        )),
        _ => Ok(()),
    }
}

/// The location of uploaded data.
pub struct Uploaded {
    /// `azureml://datastores/…/paths/…`; ends with `/` for a folder.
    pub datastore_uri: String,
    /// The blob's URL, without the signature.
    pub blob_url: String,
}

/// Uploads a file or folder to the default datastore, under a path that contains the hash of its
/// content.
pub async fn data(client: &Client, path: &Path, what: &str) -> Result<Uploaded> {
    let absolute = path
        .canonicalize()
        .map_err(Error::io("cannot read", path))?;
    // The name of a link itself, not of its target: a program may depend on the extension.
    let name = path
        .file_name()
        .or_else(|| absolute.file_name())
        .and_then(|name| name.to_str())
        .unwrap_or("data")
        .to_owned();
    let found = absolute
        .metadata()
        .map_err(Error::io("cannot read", path))?;
    let is_file = found.is_file();
    if !is_file && !found.is_dir() {
        return Err(not_a_file(path, found.file_type()));
    }
    let (files, hash) = if is_file {
        let files = vec![Entry {
            name: name.clone(),
            path: absolute,
            size: found.len(),
        }];
        let hash = hash_of(files.clone()).await?;
        (files, hash)
    } else {
        hashed(absolute, false).await?
    };
    let Some(first) = files.first() else {
        return Err(Error::invalid(
            format!("{} holds no files", path.display()),
            "an input has at least one file; look at .amlignore, too",
        ));
    };
    let (datastore, container) = Container::default_datastore(client).await?;
    let base = format!("LocalUpload/{hash}");
    let folder = if is_file {
        base.clone()
    } else {
        format!("{base}/{name}")
    };
    let marked = container.head(&format!("{folder}/{}", first.name)).await?;
    let is_complete = marked.is_some_and(|headers| {
        headers
            .get("x-ms-meta-upload_status")
            .is_some_and(|value| value == MARK.1)
    });
    if !is_complete {
        put_all(&container, &folder, &files, what, &[]).await?;
    }
    let end = if is_file {
        format!("{base}/{name}")
    } else {
        format!("{folder}/")
    };
    Ok(Uploaded {
        datastore_uri: format!("azureml://datastores/{datastore}/paths/{end}"),
        blob_url: format!("{}/{end}", container.url()),
    })
}

/// Uploads files below `folder`. The mark on the first file is set last, so that an interrupted
/// upload is never considered complete.
async fn put_all(
    container: &Container,
    folder: &str,
    files: &[Entry],
    what: &str,
    metadata: &[(&str, &str)],
) -> Result<()> {
    let total: u64 = files.iter().map(|file| file.size).sum();
    let all = format!(
        "{}, {}",
        show::count(files.len(), "file"),
        show::bytes(total)
    );
    let progress = Progress::start(&format!("Uploading {what} ({all})"));
    let (done, sent) = (AtomicUsize::new(0), AtomicU64::new(0));
    let tell = |more: u64| {
        // A retry after a lost response is counted twice, so the sum is limited to the total.
        let sent = (sent.fetch_add(more, Ordering::Relaxed) + more).min(total);
        progress.update(&format!(
            "Uploading {what}: {} of {}, {} of {}",
            done.load(Ordering::Relaxed),
            show::count(files.len(), "file"),
            show::bytes(sent),
            show::bytes(total)
        ));
    };
    futures::stream::iter(files.iter().map(Ok::<_, Error>))
        .try_for_each_concurrent(PARALLEL, |file| {
            let (done, tell) = (&done, &tell);
            async move {
                container
                    .put_file(&format!("{folder}/{}", file.name), &file.path, tell)
                    .await?;
                done.fetch_add(1, Ordering::Relaxed);
                tell(0);
                Ok(())
            }
        })
        .await?;
    if let Some(first) = files.first() {
        let metadata: Vec<_> = [MARK].into_iter().chain(metadata.iter().copied()).collect();
        container
            .set_metadata(&format!("{folder}/{}", first.name), &metadata)
            .await?;
    }
    progress.finish(&format!("Uploaded {what} ({all})"));
    Ok(())
}

/// Reading many files blocks, so it runs on a separate thread.
async fn hashed(folder: std::path::PathBuf, is_code: bool) -> Result<(Vec<Entry>, String)> {
    blocking(move || {
        let files = snapshot::files(&folder)?;
        if is_code {
            snapshot::check_size(&folder, &files)?;
        }
        let hash = snapshot::hash(&files)?;
        Ok((files, hash))
    })
    .await
}

async fn hash_of(files: Vec<Entry>) -> Result<String> {
    blocking(move || snapshot::hash(&files)).await
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(Error::Runtime(error.to_string())))
}
