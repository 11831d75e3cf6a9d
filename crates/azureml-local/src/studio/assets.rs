//! Pages of environments, data, models and code, with their versions and files.

use super::file::{self, Asked, Shown};
use super::language::{self, Language};
use super::page::{page, part};
use super::text;
use super::tree::Tree;
use super::triton::{self, Served};
use crate::blob::{self, Found};
use crate::error::{Error, Result};
use crate::store::asset::{self, Asset, Kind};
use crate::workspace::asset::WITH_CONTAINERS;
use crate::workspace::source::source;
use crate::workspace::{Shared, Workspace, blocking};
use askama::Template;
use axum::Router;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use axum::routing::get;
use azureml_wire::routes::{encode, encode_path};
use serde_json::Value;
use std::collections::BTreeMap;

pub fn router() -> Router<Shared> {
    let mut router = Router::new();
    for rules in WITH_CONTAINERS {
        let kind = rules.kind;
        let list = get(move |State(app): State<Shared>, l: Language| list(app, l, kind));
        router = router.route(&format!("/{}", kind.collection()), list);
    }
    for kind in Kind::ALL {
        let version = get(
            move |State(app): State<Shared>, l: Language, Path((name, version))| {
                show(app, l, kind, name, version)
            },
        );
        let file = get(
            move |State(app): State<Shared>,
                  l: Language,
                  Path((name, version, path)),
                  Query(asked): Query<Asked>| {
                show_file(app, l, kind, [name, version, path], asked)
            },
        );
        let here = kind.collection();
        router = router
            .route(&format!("/{here}/{{name}}/{{version}}"), version)
            .route(
                &format!("/{here}/{{name}}/{{version}}/files/{{*path}}"),
                file,
            );
    }
    router
}

/// The address of a version's page.
pub fn address(kind: Kind, name: &str, version: &str) -> String {
    let kind = kind.collection();
    format!("/studio/{kind}/{}/{}", encode(name), encode(version))
}

#[derive(Template)]
#[template(path = "assets.html")]
struct List {
    l: Language,
    here: &'static str,
    title: &'static str,
    /// Names with their versions, the newest first.
    assets: Vec<(String, Vec<Version>)>,
}

struct Version {
    number: String,
    href: String,
    created_at: String,
    created: String,
}

async fn list(app: Shared, l: Language, kind: Kind) -> Result<Response> {
    let assets = app
        .db(move |store| {
            let mut assets = Vec::new();
            for name in asset::names(store, kind)? {
                let versions = asset::versions(store, kind, &name)?.into_iter();
                let versions = versions.map(|version| Version {
                    href: address(kind, &name, &version.version),
                    created: text::clock(&version.created_at),
                    created_at: version.created_at,
                    number: version.version,
                });
                assets.push((name.clone(), versions.collect()));
            }
            Ok(assets)
        })
        .await?;
    page(&List {
        l,
        here: kind.collection(),
        title: language::title(kind.collection()),
        assets,
    })
}

#[derive(Template)]
#[template(path = "asset.html")]
struct Page {
    l: Language,
    here: &'static str,
    name: String,
    version: String,
    created_at: String,
    created: String,
    description: String,
    /// The job that produced it.
    job: Option<String>,
    has_files: bool,
    files: Option<String>,
    is_model: bool,
    served: Vec<Served>,
    wanted: Vec<(String, String)>,
    properties: String,
}

async fn find(app: &Workspace, kind: Kind, name: &str, version: &str) -> Result<Asset> {
    let (name, version) = (name.to_owned(), version.to_owned());
    app.db(move |store| {
        asset::get(store, kind, &name, &version)?.ok_or_else(|| {
            Error::not_found(format!(
                "there is no {} {name:?} with version {version:?} in this workspace",
                kind.noun()
            ))
        })
    })
    .await
}

async fn show(
    app: Shared,
    l: Language,
    kind: Kind,
    name: String,
    version: String,
) -> Result<Response> {
    let asset = find(&app, kind, &name, &version).await?;
    let files = files_of(&app, &asset).await?;
    let paths: Vec<&str> = files.keys().map(String::as_str).collect();
    let served = triton::served(&paths);
    let wanted = if served.is_empty() {
        triton::wanted(&name, &paths)
    } else {
        Vec::new()
    };
    let text = |member: &str| asset.properties.get(member).and_then(Value::as_str);
    page(&Page {
        l,
        // Code snapshots have no separate list, because they belong to jobs.
        here: match kind {
            Kind::Code => "jobs",
            other => other.collection(),
        },
        description: text("description").unwrap_or_default().to_owned(),
        job: job_of(&asset).map(str::to_owned),
        has_files: kind.uri_property().is_some(),
        files: tree(l, kind, &name, &version, &files)?,
        is_model: kind == Kind::Model,
        served,
        wanted,
        properties: serde_json::to_string_pretty(&asset.properties)?,
        created: text::clock(&asset.created_at),
        created_at: asset.created_at,
        name,
        version,
    })
}

/// The files of a version as a tree, rendered; `None` if it has no files.
fn tree(
    l: Language,
    kind: Kind,
    name: &str,
    version: &str,
    files: &BTreeMap<String, Found>,
) -> Result<Option<String>> {
    if files.is_empty() {
        return Ok(None);
    }
    let all = files
        .values()
        .map(|found| (found.name.as_str(), found.length));
    let here = address(kind, name, version);
    part(&Tree::of(l, all, |path| {
        format!("{here}/files/{}", encode_path(path))
    }))
    .map(Some)
}

/// The code of a job as a tree, rendered.
pub async fn code_tree(
    app: &Shared,
    l: Language,
    name: &str,
    version: &str,
) -> Result<Option<String>> {
    let (name, version) = (name.to_owned(), version.to_owned());
    let asset = {
        let (name, version) = (name.clone(), version.clone());
        app.db(move |store| asset::get(store, Kind::Code, &name, &version))
            .await?
    };
    let Some(asset) = asset else {
        return Ok(None);
    };
    let files = files_of(app, &asset).await?;
    tree(l, Kind::Code, &name, &version, &files)
}

async fn show_file(
    app: Shared,
    l: Language,
    kind: Kind,
    [name, version, path]: [String; 3],
    asked: Asked,
) -> Result<Response> {
    let asset = find(&app, kind, &name, &version).await?;
    let mut files = files_of(&app, &asset).await?;
    let found = files.remove(&path).ok_or_else(|| {
        Error::not_found(format!(
            "version {version:?} of {} {name:?} has no file {path:?}",
            kind.noun()
        ))
    })?;
    let back = address(kind, &name, &version);
    file::answer(
        l,
        asked,
        Shown {
            here: match kind {
                Kind::Code => "jobs",
                other => other.collection(),
            },
            href: format!("{back}/files/{}", encode_path(&path)),
            back: (back, format!("{name}:{version}")),
            path,
            found,
        },
    )
    .await
}

/// The job that produced a version: from its URI, or the one stored when the URI was resolved.
fn job_of(asset: &Asset) -> Option<&str> {
    let by_uri = || {
        let (_, rest) = asset.uri()?.split_once("/jobs/")?;
        Some(rest.split_once("/outputs/")?.0)
    };
    asset
        .properties
        .get("jobName")
        .and_then(Value::as_str)
        .or_else(by_uri)
}

/// The files of a version by path; empty if they are outside the local workspace.
async fn files_of(app: &Shared, asset: &Asset) -> Result<BTreeMap<String, Found>> {
    let Some(uri) = asset.uri().map(str::to_owned) else {
        return Ok(BTreeMap::new());
    };
    let app = app.clone();
    blocking(move || Ok(files_at(&app, &uri))).await
}

fn files_at(app: &Workspace, uri: &str) -> BTreeMap<String, Found> {
    let Ok(source) = source(app, uri) else {
        return BTreeMap::new();
    };
    let prefix = source.prefix();
    let mut found = blob::list(&app.home, &source.container, &prefix).unwrap_or_default();
    for file in &mut found {
        file.name.drain(..prefix.len());
    }
    // The URI may name a single file.
    if found.is_empty()
        && let Ok(mut file) = source.blob(app)
    {
        let folder = file.name.rfind('/').map_or(0, |slash| slash + 1);
        file.name.drain(..folder);
        found.push(file);
    }
    found
        .into_iter()
        .map(|file| (file.name.clone(), file))
        .collect()
}
