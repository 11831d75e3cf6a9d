//! Files of a run: a part of a text, or the whole to save. None is ever shown as a page of its own.

use super::language::Language;
use super::{page, text};
use crate::app::{Shared, blocking};
use crate::error::{Error, Result};
use crate::routes::artifact::Artifacts;
use crate::runner::folder::Folder;
use askama::Template;
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use azureml_wire::routes::{encode, encode_path};
use futures::stream;
use rustix::fs::OFlags;
use serde::Deserialize;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path as FilePath, PathBuf};
use tokio::io::AsyncReadExt;

/// How much of a file is shown at once, in bytes.
const SHOWN: u64 = 128 << 10;

pub fn router() -> Router<Shared> {
    Router::new().route("/jobs/{name}/files/{*path}", get(show))
}

/// The address of a file's page.
pub fn address(run: &str, path: &str) -> String {
    format!("/studio/jobs/{}/files/{}", encode(run), encode_path(path))
}

/// Where a log of a run lies.
pub fn of_log(app: &Shared, run: &str, log: &str) -> PathBuf {
    Folder::artifacts(&app.home, run).join(log)
}

/// A part of a file.
#[derive(Debug, Default)]
pub struct Tail {
    /// Where it begins.
    pub start: u64,
    /// Where it ends.
    pub end: u64,
    /// What stands there.
    pub bytes: Vec<u8>,
}

impl Tail {
    /// What follows `from`, at most [`SHOWN`] bytes; without it, the last part. Of a file that is not there, nothing.
    pub fn read(path: &FilePath, from: Option<u64>) -> Result<Self> {
        let mut file = match open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(error.into()),
        };
        let length = file.metadata()?.len();
        let start = from.unwrap_or(length.saturating_sub(SHOWN)).min(length);
        file.seek(SeekFrom::Start(start))?;
        let mut bytes = Vec::new();
        file.take(SHOWN).read_to_end(&mut bytes)?;
        Ok(Self {
            start,
            end: start + bytes.len() as u64,
            bytes,
        })
    }
}

/// Opens a file; a link, which a job may have put there to lead elsewhere, is none.
fn open(path: &FilePath) -> io::Result<File> {
    let file = File::options()
        .read(true)
        .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed())
        .open(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::ErrorKind::NotFound.into())
    }
}

#[derive(Debug, Deserialize)]
struct Asked {
    download: Option<String>,
    /// Where the part that is shown ends.
    to: Option<u64>,
}

#[derive(Template)]
#[template(path = "file.html")]
struct Page {
    l: Language,
    here: &'static str,
    name: String,
    path: String,
    href: String,
    size: String,
    earlier: Option<String>,
    text: Option<String>,
}

async fn show(
    State(app): State<Shared>,
    l: Language,
    Path((name, path)): Path<(String, String)>,
    Query(asked): Query<Asked>,
) -> Result<Response> {
    let all = Artifacts::of(&app, &name).all().await?;
    let found = all
        .get(&path)
        .cloned()
        .ok_or_else(|| Error::not_found(format!("run {name:?} has no file {path:?}")))?;
    if asked.download.is_some() {
        let file = found.path.clone();
        let file = blocking(move || Ok(open(&file)?)).await?;
        return Ok(download(&path, file));
    }
    let end = asked.to.unwrap_or(found.length).min(found.length);
    let from = end.saturating_sub(SHOWN);
    let file = found.path.clone();
    let mut tail = blocking(move || Tail::read(&file, Some(from))).await?;
    tail.bytes
        .truncate(usize::try_from(end - tail.start.min(end)).unwrap_or(usize::MAX));
    let href = address(&name, &path);
    page(&Page {
        l,
        here: "jobs",
        size: text::size(found.length),
        earlier: (from > 0).then(|| format!("{href}?to={from}")),
        // A file with a NUL is none of text.
        text: (!tail.bytes.contains(&0)).then(|| text::plain(&tail.bytes)),
        name,
        path,
        href,
    })
}

/// A file to save. Whatever it holds, no browser takes it for a page of this origin.
fn download(path: &str, file: File) -> Response {
    let name = path.rsplit('/').next().unwrap_or(path);
    let file = tokio::fs::File::from_std(file);
    let parts = stream::try_unfold(file, |mut file| async move {
        let mut part = vec![0; 64 << 10];
        let read = file.read(&mut part).await?;
        part.truncate(read);
        Ok::<_, io::Error>((read > 0).then_some((part, file)))
    });
    let mut response = Body::from_stream(parts).into_response();
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/octet-stream"),
    );
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("sandbox; default-src 'none'"),
    );
    // Percent-encoding leaves nothing that a header could not hold.
    if let Ok(value) =
        HeaderValue::from_str(&format!("attachment; filename*=UTF-8''{}", encode(name)))
    {
        headers.insert(header::CONTENT_DISPOSITION, value);
    }
    response
}
