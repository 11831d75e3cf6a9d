//! Files of runs and of assets: a page shows a part of a text, and a download is the whole file. A
//! file is never served as a page.

use super::language::Language;
use super::page::page;
use super::text;
use crate::blob::{Found, Opened};
use crate::dir::is_absent;
use crate::error::{Error, Result};
use crate::name::{BlobName, RunName};
use crate::workspace::artifact::Artifacts;
use crate::workspace::folder::Folder;
use crate::workspace::job::find_run;
use crate::workspace::{Shared, Workspace, blocking};
use askama::Template;
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use azureml_wire::routes::{encode, encode_path};
use futures::stream;
use serde::Deserialize;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use tokio::io::AsyncReadExt;

/// The size of the part that a page shows, in bytes.
const SHOWN: u64 = 128 << 10;

/// The maximum number of search results.
const MOST_FOUND: usize = 100;

/// The part of a line before and after a search result, in bytes.
const AROUND: u64 = 160;

pub fn router() -> Router<Shared> {
    Router::new().route("/jobs/{name}/files/{*path}", get(show))
}

/// The address of a file's page.
pub fn address(run: &str, path: &str) -> String {
    format!("/studio/jobs/{}/files/{}", encode(run), encode_path(path))
}

/// Opens a log of a run; `None` if it does not exist yet.
pub fn open_log(app: &Workspace, run: &str, log: &str) -> Result<Option<File>> {
    let artifacts = Folder::open_artifacts(&app.home, &RunName::parse(run)?);
    match artifacts.and_then(|folder| folder.file(&BlobName::parse(log).map_err(io::Error::other)?))
    {
        Ok(file) => Ok(Some(file)),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// A part of a file.
#[derive(Debug, Default)]
pub struct Tail {
    /// The offset of its start.
    pub start: u64,
    /// The offset of its end.
    pub end: u64,
    /// Its content.
    pub bytes: Vec<u8>,
}

impl Tail {
    /// Reads at most [`SHOWN`] bytes from `from`; without `from`, the end of the file.
    pub fn read(mut file: &File, from: Option<u64>) -> Result<Self> {
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

/// A search result.
#[derive(Debug, PartialEq)]
struct Hit {
    /// The offset of the match.
    at: u64,
    /// The line of the match, or the part around it.
    line: String,
}

/// The first lines that contain `wanted`, at most [`MOST_FOUND`]; ASCII case is ignored. The memory
/// is limited to one block, however long lines are.
fn search(file: &File, wanted: &str) -> io::Result<Vec<Hit>> {
    let wanted = wanted.to_ascii_lowercase().into_bytes();
    let mut hits = Vec::new();
    if wanted.is_empty() {
        return Ok(hits);
    }
    let mut block = vec![0; (64 << 10) + wanted.len()];
    // A block begins with the end of the previous one, because a match may span both.
    let (mut start, mut kept) = (0, 0);
    let mut from = 0;
    // After a match, the rest of its line is skipped, but at most [`SHOWN`] bytes.
    let mut passing: Option<u64> = None;
    loop {
        let read = file.read_at(&mut block[kept..], start + kept as u64)?;
        if read == 0 {
            return Ok(hits);
        }
        let filled = kept + read;
        block[kept..filled].make_ascii_lowercase();
        let within = |place: u64| {
            usize::try_from(place.saturating_sub(start)).map_or(filled, |at| at.min(filled))
        };
        let mut at = within(from);
        while at < filled {
            if let Some(limit) = passing {
                let end = block[at..filled].iter().position(|byte| *byte == b'\n');
                let end = end.map_or(filled, |end| at + end + 1).min(within(limit));
                let is_over = end < filled || block[filled - 1] == b'\n';
                at = end.max(at);
                if !is_over {
                    break;
                }
                passing = None;
                continue;
            }
            let rest = &block[at..filled];
            let Some(found) = rest
                .windows(wanted.len())
                .position(|window| window == wanted)
            else {
                break;
            };
            let hit = start + (at + found) as u64;
            hits.push(Hit {
                at: hit,
                line: line_around(file, hit, wanted.len() as u64)?,
            });
            if hits.len() == MOST_FOUND {
                return Ok(hits);
            }
            at += found + wanted.len();
            passing = Some(hit + SHOWN);
        }
        from = start + at as u64;
        let next = filled.saturating_sub(wanted.len() - 1);
        block.copy_within(next..filled, 0);
        kept = filled - next;
        start += next as u64;
    }
}

/// The line of a match, cut to [`AROUND`] bytes on both sides.
fn line_around(file: &File, hit: u64, length: u64) -> io::Result<String> {
    let start = hit.saturating_sub(AROUND);
    let mut part = vec![0; usize::try_from(hit - start + length + AROUND).unwrap_or_default()];
    let mut filled = 0;
    while filled < part.len() {
        match file.read_at(&mut part[filled..], start + filled as u64)? {
            0 => break,
            read => filled += read,
        }
    }
    part.truncate(filled);
    let at = usize::try_from(hit - start).unwrap_or_default().min(filled);
    let is_end = |byte: &u8| matches!(byte, b'\n' | b'\r');
    let first = part[..at].iter().rposition(is_end).map_or(0, |end| end + 1);
    let last = part[at..]
        .iter()
        .position(is_end)
        .map_or(filled, |end| at + end);
    Ok(text::plain(&part[first..last]))
}

/// The query of a file's page.
#[derive(Debug, Deserialize)]
pub struct Asked {
    download: Option<String>,
    /// The end of the shown part.
    to: Option<u64>,
    /// The search text.
    #[serde(default)]
    find: String,
}

/// A file and the context of its page.
pub struct Shown {
    /// The section of the pages.
    pub here: &'static str,
    /// The address and the name of its owner.
    pub back: (String, String),
    /// Its path below the owner.
    pub path: String,
    /// The address of its page.
    pub href: String,
    /// The file.
    pub found: Found,
}

#[derive(Template)]
#[template(path = "file.html")]
struct Page {
    l: Language,
    here: &'static str,
    back: (String, String),
    path: String,
    href: String,
    size: String,
    earlier: Option<String>,
    later: Option<String>,
    text: Option<String>,
    find: String,
    /// Addresses and lines of search results.
    found: Vec<(String, String)>,
    more: bool,
}

async fn show(
    State(app): State<Shared>,
    l: Language,
    Path((name, path)): Path<(String, String)>,
    Query(asked): Query<Asked>,
) -> Result<Response> {
    let name = find_run(&app, &name).await?.name;
    let all = Artifacts::of(&app, &RunName::parse(&name)?).all().await?;
    let found = all
        .get(&path)
        .cloned()
        .ok_or_else(|| Error::not_found(format!("run {name:?} has no file {path:?}")))?;
    answer(
        l,
        asked,
        Shown {
            here: "jobs",
            href: address(&name, &path),
            back: (format!("/studio/jobs/{}", encode(&name)), name),
            path,
            found,
        },
    )
    .await
}

/// The page of a file, or the download.
pub async fn answer(l: Language, asked: Asked, shown: Shown) -> Result<Response> {
    let Shown {
        here,
        back,
        path,
        href,
        found,
    } = shown;
    // The page describes the opened file: it may be replaced under its name meanwhile.
    let Opened { file, found } = blocking(move || found.open()).await?;
    if asked.download.is_some() {
        return Ok(download(&path, file));
    }
    let end = asked.to.unwrap_or(found.length).min(found.length);
    let from = end.saturating_sub(SHOWN);
    let find = asked.find.clone();
    let (mut tail, hits) = blocking(move || {
        let hits = search(&file, &find)?;
        Ok((Tail::read(&file, Some(from))?, hits))
    })
    .await?;
    tail.bytes
        .truncate(usize::try_from(end - tail.start.min(end)).unwrap_or(usize::MAX));
    let part = |to: u64| {
        format!(
            "{href}?to={}&find={}",
            to.min(found.length),
            encode(&asked.find)
        )
    };
    page(&Page {
        l,
        here,
        back,
        size: text::size(found.length),
        earlier: (from > 0).then(|| part(from)),
        later: (end < found.length).then(|| part(end + SHOWN)),
        // A file that contains a NUL is treated as binary.
        text: (!tail.bytes.contains(&0)).then(|| text::plain(&tail.bytes)),
        more: hits.len() == MOST_FOUND,
        found: hits
            .into_iter()
            .map(|hit| (part(hit.at + SHOWN / 2), hit.line))
            .collect(),
        find: asked.find,
        path,
        href,
    })
}

/// A download response. The browser must not render the content as a page of this origin.
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
    // Percent-encoded text is always a valid header value.
    if let Ok(value) =
        HeaderValue::from_str(&format!("attachment; filename*=UTF-8''{}", encode(name)))
    {
        headers.insert(header::CONTENT_DISPOSITION, value);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn found(content: &[u8], wanted: &str) -> Vec<Hit> {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(content).expect("room");
        search(&file, wanted).expect("searched")
    }

    #[test]
    fn lines_are_found_once_and_in_order() {
        let hits = found(b"Epoch 1\nloss 0.5, epoch of epochs\n\nEPOCH 3", "epoch");
        let lines: Vec<_> = hits.iter().map(|hit| (hit.at, hit.line.as_str())).collect();
        let expected = [
            (0, "Epoch 1"),
            (18, "loss 0.5, epoch of epochs"),
            (35, "EPOCH 3"),
        ];
        assert_eq!(lines, expected);
        assert_eq!(found(b"abc", ""), []);
        assert_eq!(found(b"", "a"), []);
        assert_eq!(found("손실 0.1\n".as_bytes(), "손실")[0].line, "손실 0.1");
    }

    #[test]
    fn what_lies_across_blocks_is_found() {
        for at in [(64 << 10) - 3, 64 << 10, (64 << 10) + 2, (128 << 10) - 1] {
            let mut content = vec![b'x'; 200_000];
            content[at - 1] = b'\n';
            content[at..at + 6].copy_from_slice(b"needle");
            content[at + 6] = b'\n';
            let hits = found(&content, "needle");
            assert_eq!(hits.len(), 1, "{at}");
            assert_eq!((hits[0].at, hits[0].line.as_str()), (at as u64, "needle"));
        }
    }

    #[test]
    fn a_line_without_an_end_is_shown_in_parts() {
        let content = b"needle,".repeat(200_000);
        let hits = found(&content, "needle");
        assert!((2..20).contains(&hits.len()), "{}", hits.len());
        assert!(hits.iter().all(|hit| hit.line.len() < 400));
    }
}
