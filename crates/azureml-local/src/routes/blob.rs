//! The data plane of the blob store, limited to the operations of the official clients: block
//! blobs, properties, conditional headers, ranges, copies and listings.

mod condition;
mod copy;
mod integrity;
mod properties;
mod response;

use crate::blob::{self, Found, Opened};
use crate::blocks::Blocks;
use crate::dir::part;
use crate::error::{Error, Result};
use crate::home::Home;
use crate::name::{BlobName, ContainerName, Relative, RunName};
use crate::server::xml::escape;
use crate::store::blob::{self as info, Info, Of};
use crate::workspace::caller::Caller;
use crate::workspace::folder::Folder;
use crate::workspace::uri::ACCOUNT;
use crate::workspace::{Shared, blocking};
use axum::Router;
use axum::body::{Body, Bytes, HttpBody, to_bytes};
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use axum::routing::any;
use condition::{Conditions, Read};
use futures::{Stream, StreamExt};
use integrity::Digest;
use response::{answer, http_date, set};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::io::{self, SeekFrom};
use std::time::SystemTime;
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};

/// The maximum size of one blob or block.
const BLOB_LIMIT: u64 = 1 << 30;
/// Content up to this size is received in memory and written at once.
const SMALL: u64 = 256 << 10;
/// The maximum size of a block list.
const LIST_LIMIT: usize = 8 << 20;
/// The maximum number of attempts to open a blob that is overwritten repeatedly.
const OPENINGS: usize = 8;

/// The header with the URL of a copy's source.
const COPY_SOURCE: &str = "x-ms-copy-source";

/// The routes of the blob store.
pub fn router() -> Router<Shared> {
    Router::new()
        .route("/", any(on_account))
        .route("/{container}", any(on_container))
        .route("/{container}/{*blob}", any(on_blob))
}

/// The query parameters that select the operation.
#[derive(Debug, Default, Deserialize)]
struct Call {
    restype: Option<String>,
    comp: Option<String>,
    prefix: Option<String>,
    delimiter: Option<String>,
    marker: Option<String>,
    maxresults: Option<usize>,
    include: Option<String>,
    blockid: Option<String>,
}

/// Handles the listings of clients that use the account as the container, and the container as a
/// folder in it: see [`crate::routes::datastore::data_plane`].
async fn on_account(
    State(app): State<Shared>,
    Query(mut call): Query<Call>,
    method: Method,
) -> Result<Response> {
    let is_list =
        call.restype.as_deref() == Some("container") && call.comp.as_deref() == Some("list");
    if !is_list || method != Method::GET {
        return Err(not_supported());
    }
    let whole = call.prefix.take().unwrap_or_default();
    let (container, prefix) = whole.split_once('/').unwrap_or((&whole, ""));
    let container = ContainerName::parse(container).map_err(|error| reading(&method, error))?;
    call.prefix = Some(prefix.to_owned());
    let above = format!("{container}/");
    call.marker = call
        .marker
        .map(|marker| marker.strip_prefix(&above).unwrap_or(&marker).to_owned());
    list(&app, container, call, above).await
}

async fn on_container(
    State(app): State<Shared>,
    Path(container): Path<String>,
    Query(call): Query<Call>,
    method: Method,
) -> Result<Response> {
    if call.restype.as_deref() != Some("container") {
        return Err(not_supported());
    }
    let container = ContainerName::parse(&container).map_err(|error| reading(&method, error))?;
    match (&method, call.comp.as_deref()) {
        (&Method::GET, Some("list")) => list(&app, container, call, String::new()).await,
        (&Method::GET | &Method::HEAD, None | Some("metadata")) => {
            let home = app.home.clone();
            blocking(move || blob::container(&home, &container)).await?;
            Ok(answer(StatusCode::OK, None))
        }
        (&Method::PUT, None) => {
            let home = app.home.clone();
            let name = container.clone();
            if blocking(move || blob::create_container(&home, &name)).await? {
                Ok(answer(StatusCode::CREATED, None))
            } else {
                Err(Error::Conflict {
                    code: "ContainerAlreadyExists",
                    message: format!("there is a container \"{container}\" already"),
                })
            }
        }
        _ => Err(not_supported()),
    }
}

async fn on_blob(
    State(app): State<Shared>,
    Path((container, name)): Path<(String, String)>,
    Query(call): Query<Call>,
    caller: Caller,
    request: Request,
) -> Result<Response> {
    let (parts, body) = request.into_parts();
    let refused = |error| reading(&parts.method, error);
    let target = Target {
        app,
        container: ContainerName::parse(&container).map_err(refused)?,
        name: BlobName::parse(&name).map_err(refused)?,
    };
    match (&parts.method, call.comp.as_deref()) {
        (&Method::GET, None) => target.get(&parts.headers).await,
        (&Method::HEAD, None) | (&Method::GET | &Method::HEAD, Some("metadata")) => {
            target.head(&parts.headers).await
        }
        (&Method::PUT, None) if parts.headers.contains_key(COPY_SOURCE) => {
            target.copy(&parts.headers, &caller).await
        }
        (&Method::PUT, None) => target.put(&parts.headers, body).await,
        (&Method::PUT, Some("block")) => target.put_block(call.blockid, &parts.headers, body).await,
        (&Method::PUT, Some("blocklist")) => target.put_block_list(&parts.headers, body).await,
        (&Method::PUT, Some("metadata")) => target.put_metadata(&parts.headers).await,
        (&Method::PUT, Some("properties")) => target.put_properties(&parts.headers).await,
        (&Method::DELETE, None) => target.delete(&parts.headers).await,
        _ => Err(not_supported()),
    }
}

/// The error for an invalid name. A read returns 404, because no blob can have such a name.
fn reading(method: &Method, error: Error) -> Error {
    if matches!(*method, Method::GET | Method::HEAD) {
        Error::NotFound {
            code: "BlobNotFound",
            message: error.to_string(),
        }
    } else {
        error
    }
}

/// Writes a blob of the default datastore for another service.
pub async fn store(app: &Shared, name: BlobName, body: Body) -> Result<()> {
    target(app, name)
        .put(&HeaderMap::new(), body)
        .await
        .map(|_| ())
}

/// Reads a blob of the default datastore for another service.
pub async fn load(app: &Shared, name: BlobName, headers: &HeaderMap) -> Result<Response> {
    target(app, name).get(headers).await
}

/// Deletes a blob of the default datastore, or all blobs in the folder of that name, for another
/// service.
pub async fn remove(app: &Shared, name: BlobName) -> Result<()> {
    let app = app.clone();
    blocking(move || {
        let _alone = app.alone_with_blobs();
        let container = ContainerName::default_datastore();
        let names = match blob::find(&app.home, &container, &name) {
            Ok(_) => vec![name],
            Err(missing) => {
                let below = blob::list(&app.home, &container, &format!("{name}/"))?;
                if below.is_empty() {
                    return Err(missing);
                }
                let names = below.iter().filter_map(|found| BlobName::of(&found.name));
                names.collect()
            }
        };
        for name in names {
            blob::delete(&app.home, &container, &name)?;
            let of = Of {
                container: container.as_str(),
                name: name.as_str(),
            };
            app.store.transaction(|store| info::delete(store, of))?;
        }
        Ok(())
    })
    .await
}

fn target(app: &Shared, name: BlobName) -> Target {
    Target {
        app: app.clone(),
        container: ContainerName::default_datastore(),
        name,
    }
}

fn not_supported() -> Error {
    Error::Invalid {
        code: "UnsupportedQueryParameter",
        message: "the local workspace's blob store does not know this call".to_owned(),
    }
}

/// The name of a blob, which need not exist.
#[derive(Clone)]
struct Target {
    app: Shared,
    container: ContainerName,
    name: BlobName,
}

impl Target {
    /// Opens the blob. The result describes the opened content, even if the blob is replaced
    /// meanwhile.
    async fn open(&self) -> Result<(Opened, Info)> {
        let this = self.clone();
        blocking(move || {
            let mut found = this.open_now()?;
            for _ in 0..OPENINGS {
                let Ok(current) = blob::find(&this.app.home, &this.container, &this.name) else {
                    break;
                };
                if found.1 != Info::default() || current.etag() == found.0.found.etag() {
                    break;
                }
                // The blob was replaced so often that the properties of the opened content may have
                // been pruned.
                found = this.open_now()?;
            }
            Ok(found)
        })
        .await
    }

    fn open_now(&self) -> Result<(Opened, Info)> {
        let (home, container, name) = (&self.app.home, &self.container, &self.name);
        let opened = blob::open(home, container, name)
            .or_else(|error| live(home, container, name).ok_or(error))?;
        let info = self.info(&opened.found)?;
        Ok((opened, info))
    }

    async fn find(&self) -> Result<(Found, Info)> {
        let (opened, info) = self.open().await?;
        Ok((opened.found, info))
    }

    fn of(&self) -> Of<'_> {
        Of {
            container: self.container.as_str(),
            name: self.name.as_str(),
        }
    }

    fn info(&self, found: &Found) -> Result<Info> {
        self.app
            .store
            .transaction(|store| info::get(store, self.of(), &found.etag()))
    }

    async fn head(&self, headers: &HeaderMap) -> Result<Response> {
        let (found, info) = self.find().await?;
        let mut response = match Conditions::of(headers)?.read_of(&found)? {
            Read::NotModified => return Ok(answer(StatusCode::NOT_MODIFIED, Some(&found))),
            Read::Content => answer(StatusCode::OK, Some(&found)),
        };
        properties::describe(response.headers_mut(), &info);
        set(
            response.headers_mut(),
            header::CONTENT_LENGTH,
            &found.length.to_string(),
        );
        Ok(response)
    }

    async fn get(&self, headers: &HeaderMap) -> Result<Response> {
        let (Opened { file, found }, info) = self.open().await?;
        if Conditions::of(headers)?.read_of(&found)? == Read::NotModified {
            return Ok(answer(StatusCode::NOT_MODIFIED, Some(&found)));
        }
        let range = headers
            .get("x-ms-range")
            .or_else(|| headers.get(header::RANGE))
            .and_then(|range| range.to_str().ok())
            .and_then(|range| read_range(range, found.length));
        let (status, start, length) = match range {
            None => (StatusCode::OK, 0, found.length),
            Some(Some((start, end))) => (StatusCode::PARTIAL_CONTENT, start, end - start + 1),
            Some(None) => {
                return Err(Error::Range {
                    length: found.length,
                });
            }
        };
        let mut file = File::from_std(file);
        file.seek(SeekFrom::Start(start)).await?;
        let mut response = answer(status, Some(&found));
        properties::describe(response.headers_mut(), &info);
        set(
            response.headers_mut(),
            header::CONTENT_LENGTH,
            &length.to_string(),
        );
        if status == StatusCode::PARTIAL_CONTENT {
            let range = format!("bytes {start}-{}/{}", start + length - 1, found.length);
            set(response.headers_mut(), header::CONTENT_RANGE, &range);
        }
        *response.body_mut() = Body::from_stream(chunks(file, length));
        Ok(response)
    }

    async fn put(&self, headers: &HeaderMap, body: Body) -> Result<Response> {
        let kind = headers.get("x-ms-blob-type").map(HeaderValue::as_bytes);
        if kind.is_some_and(|kind| !kind.eq_ignore_ascii_case(b"BlockBlob")) {
            return Err(Error::Invalid {
                code: "InvalidBlobType",
                message: "the local workspace's blob store has block blobs alone".to_owned(),
            });
        }
        let conditions = Conditions::of(headers)?;
        let digest = Digest::of_blob(headers)?;
        let info = properties::of_content(headers);
        let this = self.clone();
        let temporary = blob::temporary(&self.app.home);
        if body.size_hint().upper().is_some_and(|size| size <= SMALL) {
            // For small blobs, each switch to a blocking thread is a notable part of the cost.
            let content = to_bytes(body, SMALL as usize).await.map_err(ended_early)?;
            return blocking(move || {
                this.check_before_writing(&conditions)?;
                digest.check(&content[..])?;
                let written = fs::write(&temporary, content).map_err(Error::from);
                let found = this.publish(&conditions, &info, &temporary, written)?;
                Ok(answer(StatusCode::CREATED, Some(&found)))
            })
            .await;
        }
        let (this, conditions) = blocking(move || {
            this.check_before_writing(&conditions)?;
            Ok((this, conditions))
        })
        .await?;
        let received = receive(body, &temporary).await;
        blocking(move || {
            let received = received.and_then(|()| digest.check_file(&temporary));
            let found = this.publish(&conditions, &info, &temporary, received)?;
            Ok(answer(StatusCode::CREATED, Some(&found)))
        })
        .await
    }

    async fn put_block(
        &self,
        id: Option<String>,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<Response> {
        let id = id.ok_or_else(not_supported)?;
        let digest = Digest::of_request(headers)?;
        // Fails if the container does not exist.
        blob::container(&self.app.home, &self.container)?;
        let temporary = blob::temporary(&self.app.home);
        let received = receive(body, &temporary).await;
        let this = self.clone();
        blocking(move || {
            let placed = received.and_then(|()| {
                digest.check_file(&temporary)?;
                // A concurrent Put Block List may remove the folder.
                let _alone = this.app.alone_with_blobs();
                this.blocks()?.put(&id, &temporary)
            });
            if placed.is_err() {
                let _ = fs::remove_file(&temporary);
            }
            placed
        })
        .await?;
        Ok(answer(StatusCode::CREATED, None))
    }

    async fn put_block_list(&self, headers: &HeaderMap, body: Body) -> Result<Response> {
        let digest = Digest::of_request(headers)?;
        let list = to_bytes(body, LIST_LIMIT)
            .await
            .map_err(|_| Error::TooLarge("the block list is too large".to_owned()))?;
        digest.check(&list[..])?;
        let list = String::from_utf8_lossy(&list).into_owned();
        let conditions = Conditions::of(headers)?;
        // The content headers of this request describe the list; the headers of the blob have a
        // prefix.
        let info = properties::of_blob(headers);
        let this = self.clone();
        blocking(move || {
            this.check_before_writing(&conditions)?;
            let blocks = this.blocks()?;
            let temporary = blob::temporary(&this.app.home);
            let joined = blocks.join(&list, &temporary);
            if joined.is_err()
                && let Ok(found) = blob::find(&this.app.home, &this.container, &this.name)
                && blocks.has_become(&list, &found.etag())
            {
                // A repeated request: the response to the first one was lost.
                let _ = fs::remove_file(&temporary);
                return Ok(answer(StatusCode::CREATED, Some(&found)));
            }
            let found = this.publish(&conditions, &info, &temporary, joined)?;
            // The blob contains the blocks now. If that cannot be recorded, they stay until they
            // are pruned.
            let _alone = this.app.alone_with_blobs();
            let _ = blocks.remove(&list, &found.etag(), &temporary);
            Ok(answer(StatusCode::CREATED, Some(&found)))
        })
        .await
    }

    /// Publishes a received file as the blob, or removes the file if it is incomplete.
    fn publish(
        &self,
        conditions: &Conditions,
        info: &Info,
        temporary: &std::path::Path,
        received: Result<()>,
    ) -> Result<Found> {
        let published = received.and_then(|()| {
            let (home, store) = (&self.app.home, &self.app.store);
            let _alone = self.app.alone_with_blobs();
            // Another request may have published the blob since the first check.
            self.check_before_writing(conditions)?;
            let current = blob::find(home, &self.container, &self.name);
            let current = current.ok().map(|found| found.etag());
            let etag = blob::etag_of(temporary)?;
            store.transaction(|store| {
                info::put(store, self.of(), current.as_deref(), &etag, info)
            })?;
            blob::publish(home, temporary, &self.container, &self.name)
        });
        if published.is_err() {
            let _ = fs::remove_file(temporary);
        }
        published
    }

    async fn put_metadata(&self, headers: &HeaderMap) -> Result<Response> {
        let metadata = properties::of_blob(headers).metadata;
        // Clients mark an upload as complete in the metadata of one blob, so all of its blobs must
        // be durable before.
        let home = self.app.home.clone();
        blocking(move || Ok(home.settle()?)).await?;
        self.change(headers, |info| info.metadata = metadata).await
    }

    /// Replaces the properties; those that are not in the request are cleared.
    async fn put_properties(&self, headers: &HeaderMap) -> Result<Response> {
        let new = properties::of_blob(headers);
        self.change(headers, |info| {
            info.content_type = new.content_type;
            info.headers = new.headers;
        })
        .await
    }

    /// Changes properties or metadata of a blob, which changes its `ETag`.
    async fn change(
        &self,
        headers: &HeaderMap,
        change: impl FnOnce(&mut Info) + Send + 'static,
    ) -> Result<Response> {
        let conditions = Conditions::of(headers)?;
        let this = self.clone();
        blocking(move || {
            let _alone = this.app.alone_with_blobs();
            let found = blob::find(&this.app.home, &this.container, &this.name)?;
            conditions.check_write(Some(&found))?;
            let mut info = this.info(&found)?;
            change(&mut info);
            let put = |etag: &str| {
                let current = found.etag();
                let put = |store: &_| info::put(store, this.of(), Some(&current), etag, &info);
                this.app.store.transaction(put)
            };
            let now = SystemTime::now();
            let expected = found.touched(now).etag();
            put(&expected)?;
            let touched = found.touch(now)?;
            // Some file systems do not store nanoseconds.
            if touched.etag() != expected {
                put(&touched.etag())?;
            }
            Ok(answer(StatusCode::OK, Some(&touched)))
        })
        .await
    }

    async fn delete(&self, headers: &HeaderMap) -> Result<Response> {
        let conditions = Conditions::of(headers)?;
        let this = self.clone();
        blocking(move || {
            let _alone = this.app.alone_with_blobs();
            let found = blob::find(&this.app.home, &this.container, &this.name)?;
            conditions.check_write(Some(&found))?;
            blob::delete(&this.app.home, &this.container, &this.name)?;
            this.app
                .store
                .transaction(|store| info::delete(store, this.of()))
        })
        .await?;
        Ok(answer(StatusCode::ACCEPTED, None))
    }

    fn check_before_writing(&self, conditions: &Conditions) -> Result<()> {
        blob::container(&self.app.home, &self.container)?;
        let there = blob::find(&self.app.home, &self.container, &self.name).ok();
        conditions.check_write(there.as_ref())
    }

    fn blocks(&self) -> Result<Blocks<'_>> {
        Blocks::of(&self.app.home, &self.container, &self.name)
    }
}

/// A file that a running job has written to `outputs/` or `logs/` and that is not collected yet.
fn live(home: &Home, container: &ContainerName, name: &BlobName) -> Option<Opened> {
    if *container != ContainerName::default_datastore() {
        return None;
    }
    let rest = name.as_str().strip_prefix("ExperimentRun/dcid.")?;
    let (run, rest) = rest.split_once('/')?;
    let (folder, path) = rest.split_once('/')?;
    let folder = [part::OUTPUTS, part::LOGS]
        .into_iter()
        .find(|name| name.as_str() == folder)?;
    let work = Folder::open_work(home, &RunName::parse(run).ok()?).ok()?;
    let folder = work.dir(&folder).ok()?;
    Opened::at(&folder, BlobName::of(path)?, name.to_string()).ok()
}

fn ended_early<E>(_: E) -> Error {
    Error::invalid("the body ended early")
}

/// Streams a body to a file.
async fn receive(body: Body, path: &std::path::Path) -> Result<()> {
    let mut stream = body.into_data_stream();
    let written = write(&mut stream, path).await;
    if let Err(Error::DiskFull(_)) = written {
        // Reads the rest, because few clients read a response before they have sent the whole body.
        while let Some(Ok(_)) = stream.next().await {}
    }
    written
}

async fn write(
    stream: &mut (impl Stream<Item = Result<Bytes, axum::Error>> + Unpin),
    path: &std::path::Path,
) -> Result<()> {
    let mut file = File::create_new(path).await?;
    let mut length = 0;
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(ended_early)?;
        length += chunk.len() as u64;
        if length > BLOB_LIMIT {
            return Err(Error::TooLarge(format!(
                "a blob may hold {} MiB in one request\nhint: upload it in blocks",
                BLOB_LIMIT >> 20
            )));
        }
        file.write_all(&chunk).await?;
    }
    file.flush().await?;
    Ok(())
}

/// A stream of `length` bytes of a file.
fn chunks(file: File, length: u64) -> impl Stream<Item = io::Result<Bytes>> {
    futures::stream::try_unfold((file, length), |(mut file, left)| async move {
        if left == 0 {
            return Ok(None);
        }
        let mut buffer = vec![0; left.min(256 << 10) as usize];
        let read = file.read(&mut buffer).await?;
        if read == 0 {
            // The file has been truncated; the connection ends before the announced length.
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        buffer.truncate(read);
        Ok(Some((Bytes::from(buffer), (file, left - read as u64))))
    })
}

/// Parses a range header: `None` if it is malformed, `Some(None)` if it is outside the content,
/// otherwise the first and the last byte.
#[allow(
    clippy::option_option,
    reason = "three answers, each named at the call"
)]
fn read_range(header: &str, length: u64) -> Option<Option<(u64, u64)>> {
    let (first, last) = header.strip_prefix("bytes=")?.split_once('-')?;
    if first.is_empty() {
        let suffix: u64 = last.parse().ok()?;
        if suffix == 0 || length == 0 {
            return Some(None);
        }
        return Some(Some((length.saturating_sub(suffix), length - 1)));
    }
    let first: u64 = first.parse().ok()?;
    let last: u64 = if last.is_empty() {
        u64::MAX
    } else {
        last.parse().ok()?
    };
    if last < first {
        return None;
    }
    Some((first < length).then(|| (first, last.min(length - 1))))
}

/// Lists the blobs of a container; `above` is prepended to each name.
async fn list(
    app: &Shared,
    container: ContainerName,
    call: Call,
    above: String,
) -> Result<Response> {
    let shared = app.clone();
    let text = blocking(move || {
        let prefix = call.prefix.as_deref().unwrap_or_default();
        let found = blob::list(&shared.home, &container, prefix)?;
        let metadata = call
            .include
            .as_deref()
            .is_some_and(|include| include.split(',').any(|part| part == "metadata"));
        let most = call.maxresults.unwrap_or(5000).clamp(1, 5000);
        let after = call.marker.as_deref().unwrap_or_default();
        let mut blobs = String::new();
        let mut folders = BTreeSet::new();
        let (mut shown, mut last, mut next) = (0, String::new(), String::new());
        for found in found {
            let folder = call.delimiter.as_deref().and_then(|delimiter| {
                let at = found.name[prefix.len()..].find(delimiter)?;
                Some(found.name[..prefix.len() + at + delimiter.len()].to_owned())
            });
            let key = folder.clone().unwrap_or_else(|| found.name.clone());
            if key.as_str() <= after && !after.is_empty() || folders.contains(&key) {
                continue;
            }
            if shown == most {
                next = last;
                break;
            }
            shown += 1;
            last.clone_from(&key);
            if let Some(folder) = folder {
                folders.insert(folder);
                continue;
            }
            let info = shared
                .store
                .transaction(|store| {
                    let of = Of {
                        container: container.as_str(),
                        name: &found.name,
                    };
                    info::get(store, of, &found.etag())
                })?;
            write_blob(&mut blobs, &above, &found, &info, metadata);
        }
        for folder in folders {
            // Writing to a String cannot fail.
            let _ = write!(
                blobs,
                "<BlobPrefix><Name>{above}{}</Name></BlobPrefix>",
                escape(&folder)
            );
        }
        Ok(format!(
            "<?xml version=\"1.0\" encoding=\"utf-8\"?><EnumerationResults ServiceEndpoint=\"{}/{ACCOUNT}/\" ContainerName=\"{}\"><Prefix>{above}{}</Prefix><MaxResults>{most}</MaxResults><Blobs>{blobs}</Blobs><NextMarker>{}</NextMarker></EnumerationResults>",
            shared.url(),
            escape(container.as_str()),
            escape(prefix),
            escape(&if next.is_empty() { next } else { format!("{above}{next}") }),
        ))
    })
    .await?;
    let mut response = answer(StatusCode::OK, None);
    set(
        response.headers_mut(),
        header::CONTENT_TYPE,
        "application/xml",
    );
    *response.body_mut() = Body::from(text);
    Ok(response)
}

fn write_blob(xml: &mut String, above: &str, found: &Found, info: &Info, metadata: bool) {
    let date = http_date(found.modified);
    // Writing to a String cannot fail.
    let _ = write!(
        xml,
        "<Blob><Name>{above}{}</Name><Properties><Creation-Time>{date}</Creation-Time><Last-Modified>{date}</Last-Modified><Etag>{}</Etag><Content-Length>{}</Content-Length>",
        escape(&found.name),
        escape(found.etag().trim_matches('"')),
        found.length,
    );
    properties::list(xml, info);
    xml.push_str(
        "<BlobType>BlockBlob</BlobType><AccessTier>Hot</AccessTier><LeaseStatus>unlocked</LeaseStatus><LeaseState>available</LeaseState><ServerEncrypted>false</ServerEncrypted></Properties>",
    );
    if metadata {
        xml.push_str("<Metadata>");
        for (name, value) in &info.metadata {
            // A header name is a valid element name, too.
            let _ = write!(xml, "<{name}>{}</{name}>", escape(value));
        }
        xml.push_str("</Metadata>");
    }
    xml.push_str("</Blob>");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read() {
        assert_eq!(read_range("bytes=0-9", 100), Some(Some((0, 9))));
        assert_eq!(read_range("bytes=90-", 100), Some(Some((90, 99))));
        assert_eq!(read_range("bytes=90-200", 100), Some(Some((90, 99))));
        assert_eq!(read_range("bytes=-5", 100), Some(Some((95, 99))));
        assert_eq!(read_range("bytes=100-", 100), Some(None));
        assert_eq!(read_range("bytes=0-", 0), Some(None));
        assert_eq!(read_range("bytes=9-0", 100), None);
        assert_eq!(read_range("lines=1-2", 100), None);
    }
}
