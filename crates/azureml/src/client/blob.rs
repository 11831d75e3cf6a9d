//! Blobs in a container with a shared access signature (SAS).

use super::Client;
use super::pages::Pages;
use super::retry::{Retry, Verdict};
use super::sas::{self, VERSION};
use super::xml::{elements, text};
use crate::error::{Error, Result};
use crate::http::{Pace, Unread};
use crate::show;
use azureml_wire::arm::{Page, Resource};
use azureml_wire::datastore::{AzureBlobDatastore, Datastore, DatastoreSecrets};
use azureml_wire::routes::{encode, encode_path};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use chrono::{TimeDelta, Utc};
use futures::{Stream, StreamExt, TryStreamExt};
use reqwest::header::{CONTENT_LENGTH, HeaderMap};
use reqwest::{Body, Method, RequestBuilder};
use std::io::{self, SeekFrom, Write};
use std::path::{Path, PathBuf};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};

/// Files larger than this are uploaded in blocks, so that a retry sends one block again and not the
/// whole file.
const BLOCK: u64 = 16 << 20;
/// The most blocks of a blob; a very large file has larger blocks.
const BLOCKS: u64 = 50_000;
/// Concurrent block uploads of one file.
const BLOCKS_AT_ONCE: usize = 4;
/// The download limit for a file whose size the store does not declare.
const UNDECLARED: u64 = 16 << 30;
/// The read buffer for large files; smaller files are read at once.
const PIECE: u64 = 256 << 10;

/// A container and its signature. It has no `Debug`, because the signature is a secret.
pub struct Container {
    http: reqwest::Client,
    /// Without the signature.
    url: String,
    signature: String,
}

impl Container {
    /// The container of a signed URL.
    pub async fn from_signed_url(client: &Client, signed: &str) -> Result<Self> {
        let (url, signature) = signed.split_once('?').unwrap_or((signed, ""));
        Ok(Self {
            http: client.http_for(url).await?,
            url: url.trim_end_matches('/').to_owned(),
            signature: signature.to_owned(),
        })
    }

    /// The workspace's default datastore: its name and its container.
    pub async fn default_datastore(client: &Client) -> Result<(String, Self)> {
        let what = "finding the default datastore";
        let call = super::Call::management(what, Method::GET, client.scope().path(["datastores"]))
            .query("isDefault", "true");
        let page: Page<Resource<Datastore>> = client.read(call).await?;
        let found = page
            .value
            .into_iter()
            .find_map(|store| match store.properties {
                Datastore::AzureBlob(blob) => Some((store.name?, blob)),
                Datastore::Other => None,
            });
        let Some((name, store)) = found else {
            return Err(Error::invalid(
                "the workspace has no blob container as its default datastore",
                "make one the default in Studio, under Data, Datastores",
            ));
        };
        let container = Self::open(client, &name, &store).await?;
        Ok((name, container))
    }

    /// A datastore by its name.
    pub async fn datastore(client: &Client, name: &str) -> Result<Self> {
        let what = format!("finding datastore `{name}`");
        let call = super::Call::management(
            &what,
            Method::GET,
            client.scope().path(["datastores", name]),
        );
        let store: Resource<Datastore> = client.read(call).await?;
        match store.properties {
            Datastore::AzureBlob(store) => Self::open(client, name, &store).await,
            Datastore::Other => Err(Error::invalid(
                format!("datastore `{name}` is no blob container"),
                "only blob containers can be read and written from here",
            )),
        }
    }

    async fn open(client: &Client, name: &str, store: &AzureBlobDatastore) -> Result<Self> {
        let what = format!("opening datastore `{name}`");
        let path = client.scope().path(["datastores", name, "listSecrets"]);
        let secrets: DatastoreSecrets = client
            .read(super::Call::management(&what, Method::POST, path))
            .await?;
        let account = store.account_name.as_deref().unwrap_or_default();
        let container = store.container_name.as_deref().unwrap_or_default();
        let endpoint = store.endpoint.as_deref().unwrap_or("core.windows.net");
        let protocol = store.protocol.as_deref().unwrap_or("https");
        let signature = match secrets {
            DatastoreSecrets::Sas { sas_token } => sas_token.trim_start_matches('?').to_owned(),
            DatastoreSecrets::AccountKey { key } => {
                let expiry = Utc::now() + TimeDelta::hours(6);
                sas::container(account, &key, container, protocol, expiry)?
            }
            DatastoreSecrets::Other => {
                return Err(Error::invalid(
                    format!("datastore `{name}` is opened neither by a key nor by a signature"),
                    "give the datastore an account key or a SAS token in Studio",
                ));
            }
        };
        let url = if crate::http::is_loopback(&format!("http://{endpoint}")) {
            // A store on loopback has the account in its path.
            format!("{protocol}://{endpoint}/{account}/{container}")
        } else {
            format!("{protocol}://{account}.blob.{endpoint}/{container}")
        };
        Ok(Self {
            http: client.http_for(&url).await?,
            url,
            signature,
        })
    }

    /// The container's URL, without the signature.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Uploads a file as one block blob.
    pub async fn put_file(&self, name: &str, path: &Path, sent: impl Fn(u64) + Sync) -> Result<()> {
        let what = format!("uploading {name}");
        put_file(&self.http, &what, &self.signed_url(name), path, sent).await
    }

    /// Sets the metadata of a blob.
    pub async fn set_metadata(&self, name: &str, metadata: &[(&str, &str)]) -> Result<()> {
        Retry::new(&format!("marking {name} as uploaded"))
            .send(async || {
                let request = self
                    .request(Method::PUT, name, "comp=metadata")
                    .header(CONTENT_LENGTH, 0);
                Ok(metadata.iter().fold(request, |request, (key, value)| {
                    request.header(format!("x-ms-meta-{key}"), *value)
                }))
            })
            .await
            .map(drop)
    }

    /// The headers of a blob; `None` when the blob does not exist.
    pub async fn head(&self, name: &str) -> Result<Option<HeaderMap>> {
        let answer = Retry::new(&format!("looking for {name}"))
            .send(async || Ok(self.request(Method::HEAD, name, "")))
            .await;
        match answer {
            Ok(answer) => Ok(Some(answer.headers)),
            Err(error) if error.status() == Some(404) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Lists the names of the blobs that begin with `prefix`.
    pub async fn list(&self, prefix: &str) -> Result<Vec<String>> {
        let mut all = Vec::new();
        let mut pages = Pages::new("listing files");
        let mut marker = String::new();
        loop {
            let query = format!(
                "restype=container&comp=list&prefix={}&marker={}",
                encode(prefix),
                encode(&marker)
            );
            let answer = Retry::new("listing files")
                .send(async || {
                    let url = format!("{}?{query}&{}", self.url, self.signature);
                    Ok(self.http.get(url).header("x-ms-version", VERSION))
                })
                .await?;
            let xml = String::from_utf8_lossy(&answer.body);
            all.extend(elements(&xml, "Blob").filter_map(|blob| text(blob, "Name")));
            match pages.next(answer.body.len(), text(&xml, "NextMarker"))? {
                Some(next) => marker = next,
                None => return Ok(all),
            }
        }
    }

    /// The signed URL of a blob; a secret.
    pub fn signed_url(&self, name: &str) -> String {
        self.with_query(name, "")
    }

    fn with_query(&self, name: &str, query: &str) -> String {
        let joint = if query.is_empty() || self.signature.is_empty() {
            ""
        } else {
            "&"
        };
        format!(
            "{}/{}?{query}{joint}{}",
            self.url,
            encode_path(name),
            self.signature
        )
    }

    fn request(&self, method: Method, name: &str, query: &str) -> RequestBuilder {
        self.http
            .request(method, self.with_query(name, query))
            .header("x-ms-version", VERSION)
    }
}

/// Uploads a file as a block blob to a signed URL; a large file is streamed. `sent` receives the
/// number of bytes of each finished request.
pub async fn put_file(
    http: &reqwest::Client,
    what: &str,
    url: &str,
    path: &Path,
    sent: impl Fn(u64) + Sync,
) -> Result<()> {
    let cannot_read = || Error::io("cannot read", path);
    // The file is opened again for each try, because a stream can be sent only once.
    let part = async |start: u64, length: u64| {
        let mut file = File::open(path).await.map_err(cannot_read())?;
        file.seek(SeekFrom::Start(start))
            .await
            .map_err(cannot_read())?;
        Ok(Body::wrap_stream(pieces(file, length)))
    };
    let request = |query: &str, length: u64| {
        http.put(format!("{url}{query}"))
            .header("x-ms-version", VERSION)
            .header(CONTENT_LENGTH, length)
    };
    let content = content(path.to_owned()).await.map_err(cannot_read())?;
    let size = content.size();
    if size <= BLOCK {
        let whole = async || {
            let body = match &content {
                Content::Small(bytes) => Body::from(bytes.clone()),
                Content::Large(_) => part(0, size).await?,
            };
            Ok(request("", size)
                .header("x-ms-blob-type", "BlockBlob")
                .body(body))
        };
        Retry::new(what).send(whole).await?;
        sent(size);
        return Ok(());
    }
    let block = BLOCK.max(size.div_ceil(BLOCKS));
    let id = |start: u64| STANDARD.encode(format!("{:08}", start / block));
    let in_blocks = async || {
        let starts = (0..size).step_by(block as usize);
        futures::stream::iter(starts.clone().map(Ok::<u64, Error>))
            .try_for_each_concurrent(BLOCKS_AT_ONCE, |start| {
                let (id, part, request, sent) = (&id, &part, &request, &sent);
                async move {
                    let length = block.min(size - start);
                    let query = format!("&comp=block&blockid={}", encode(&id(start)));
                    Retry::new(what)
                        .send(async || Ok(request(&query, length).body(part(start, length).await?)))
                        .await?;
                    sent(length);
                    Ok(())
                }
            })
            .await?;
        let list: String = starts
            .map(|start| ["<Latest>", &id(start), "</Latest>"].concat())
            .collect();
        let list =
            format!("<?xml version=\"1.0\" encoding=\"utf-8\"?><BlockList>{list}</BlockList>");
        Retry::new(what)
            .send(async || Ok(request("&comp=blocklist", list.len() as u64).body(list.clone())))
            .await
            .map(drop)
    };
    match in_blocks().await {
        // Another client has committed the same blob in the meantime, which discards the
        // uncommitted blocks of this one.
        Err(Error::Service(error)) if error.code == "InvalidBlockList" => in_blocks().await,
        result => result,
    }
}

/// The content of a file to upload.
enum Content {
    /// The whole content.
    Small(Bytes),
    /// The size of a file that is streamed.
    Large(u64),
}

impl Content {
    fn size(&self) -> u64 {
        match self {
            Self::Small(bytes) => bytes.len() as u64,
            Self::Large(size) => *size,
        }
    }
}

/// Reads a small file in one blocking task: with thousands of files each change of threads is
/// noticeable.
async fn content(path: PathBuf) -> io::Result<Content> {
    let read = move || {
        let size = std::fs::metadata(&path)?.len();
        if size > PIECE {
            return Ok(Content::Large(size));
        }
        Ok(Content::Small(std::fs::read(&path)?.into()))
    };
    tokio::task::spawn_blocking(read).await?
}

/// Streams `length` bytes of a file from its current position.
fn pieces(file: File, length: u64) -> impl Stream<Item = io::Result<Bytes>> {
    futures::stream::try_unfold((file, length), |(mut file, left)| async move {
        if left == 0 {
            return Ok(None);
        }
        let mut piece = vec![0; left.min(PIECE) as usize];
        let read = file.read(&mut piece).await?;
        if read == 0 {
            // The file was truncated during the upload.
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        piece.truncate(read);
        Ok(Some((Bytes::from(piece), (file, left - read as u64))))
    })
}

/// Downloads a signed URL to `to` atomically and returns the size: the file appears complete or not
/// at all.
pub async fn download(client: &Client, what: &str, url: &str, to: &Path) -> Result<u64> {
    let folder = to
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(Error::io("cannot make", folder))?;
    let mut retry = Retry::new(what);
    loop {
        let response = match client
            .http_for(url)
            .await?
            .get(url)
            .header("x-ms-version", VERSION)
            .send()
            .await
        {
            Ok(response) => response,
            Err(error) => {
                retry.wait_or_fail(&error.into()).await?;
                continue;
            }
        };
        if !response.status().is_success() {
            match retry.judge(response).await {
                Verdict::Done(answer) => answer?,
                Verdict::Again => continue,
            };
        } else if let Some(size) = save(response, folder, to, &mut retry).await? {
            return Ok(size);
        }
    }
}

/// Writes the body of a response to a temporary file beside `to` and renames it. `None` when the
/// response was interrupted and can be retried.
async fn save(
    response: reqwest::Response,
    folder: &Path,
    to: &Path,
    retry: &mut Retry,
) -> Result<Option<u64>> {
    let cannot = || Error::io("cannot write", to);
    let declared = response.content_length();
    if let (Some(size), Some(free)) = (declared, free(folder))
        && size > free
    {
        return Err(Error::invalid(
            format!(
                "{} has {}, and {} are free in {}",
                to.display(),
                show::bytes(size),
                show::bytes(free),
                folder.display()
            ),
            "free some space on that disk, or choose a folder on another one",
        ));
    }
    let most = declared.unwrap_or(UNDECLARED);
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(cannot())?;
    let mut size = 0;
    let pace = Pace::start();
    let mut chunks = response.bytes_stream();
    while let Some(chunk) = chunks.next().await {
        let lost = match chunk {
            Ok(chunk) => {
                size += chunk.len() as u64;
                if size > most {
                    Some(Unread::TooLarge(most as usize))
                } else {
                    file.write_all(&chunk).map_err(cannot())?;
                    let slow = pace.is_too_slow(size);
                    slow.then(|| Unread::TooSlow(pace.elapsed()))
                }
            }
            Err(error) => Some(error.into()),
        };
        if let Some(lost) = lost {
            retry.wait_or_fail(&lost).await?;
            return Ok(None);
        }
    }
    // A temporary file is private; a downloaded file has the default permissions.
    make_ordinary(file.as_file()).map_err(cannot())?;
    file.persist(to).map_err(|error| cannot()(error.error))?;
    Ok(Some(size))
}

/// The free disk space for this user in a folder, if the system reports it.
fn free(folder: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(folder).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}

#[cfg(unix)]
fn make_ordinary(file: &std::fs::File) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(std::fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
fn make_ordinary(_: &std::fs::File) -> std::io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listings_are_read() {
        let xml = "<R><Blobs><Blob><Name>a/b &amp; c.txt</Name><Properties><Content-Length>3</Content-Length></Properties></Blob>\
                   <Blob><Name>d</Name></Blob></Blobs><NextMarker>m</NextMarker></R>";
        let blobs: Vec<_> = elements(xml, "Blob")
            .map(|blob| (text(blob, "Name"), elements(blob, "Content-Length").next()))
            .collect();
        assert_eq!(
            blobs,
            [
                (Some("a/b & c.txt".to_owned()), Some("3")),
                (Some("d".to_owned()), None)
            ]
        );
        assert_eq!(elements(xml, "NextMarker").next(), Some("m"));
        assert_eq!(elements("<NextMarker />", "NextMarker").next(), None);
    }
}
