//! The artifact service: the files of a run.

use super::resource::next_link;
use crate::blob::Found;
use crate::error::{Error, Result};
use crate::name::{BlobName, RunName};
use crate::read::lenient;
use crate::server::body::Json as Body;
use crate::server::error;
use crate::signer::Access;
use crate::workspace::artifact::{Artifacts, check, plain};
use crate::workspace::caller::Caller;
use crate::workspace::{Shared, Workspace};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::routing::{get, post};
use axum::{Json, Router};
use azureml_wire::arm;
use azureml_wire::local::scope;
use azureml_wire::routes::encode;
use azureml_wire::run_history::{
    Artifact, ArtifactContent, ArtifactPage, ArtifactPaths, ArtifactUploads,
};
use serde::Deserialize;

/// The routes of the artifact service: `artifacts/ExperimentRun/dcid.{run}/…`.
pub fn router() -> Router<Shared> {
    Router::new()
        .route("/artifacts/ExperimentRun/{container}", get(list))
        .route(
            "/artifacts/contentinfo/ExperimentRun/{container}",
            get(info),
        )
        .route(
            "/artifacts/contentinfo/ExperimentRun/{container}/{*path}",
            get(info_at),
        )
        .route(
            "/artifacts/prefix/contentinfo/ExperimentRun/{container}",
            get(infos),
        )
        .route(
            "/artifacts/prefix/contentinfo/ExperimentRun/{container}/{*path}",
            get(infos_at),
        )
        .route(
            "/artifacts/batch/metadata/ExperimentRun/{container}",
            post(upload),
        )
}

/// The query parameters that select artifacts.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Page {
    /// A path or a path prefix.
    path: Option<String>,
    /// The last path of the previous page.
    continuation_token: Option<String>,
}

/// The origin of all artifacts.
const ORIGIN: &str = "ExperimentRun";

/// The number of artifacts on one page.
const PAGE: usize = 500;

fn artifact(run: &RunName, path: &str) -> Artifact {
    Artifact {
        path: path.to_owned(),
        origin: Some(ORIGIN.to_owned()),
        container: Some(format!("dcid.{run}")),
        content_length: None,
        artifact_id: Some(format!("{}/{path}", run.artifacts())),
        created_time: None,
    }
}

fn shown(run: &RunName, found: &Found) -> Artifact {
    Artifact {
        content_length: Some(found.length),
        created_time: Some(found.modified.into()),
        ..artifact(run, &found.name)
    }
}

fn content_of(artifacts: &Artifacts<'_>, path: &str, access: Access) -> ArtifactContent {
    ArtifactContent {
        content_uri: artifacts.url(path, access),
        origin: Some(ORIGIN.to_owned()),
        container: Some(format!("dcid.{}", artifacts.run())),
        path: Some(path.to_owned()),
    }
}

/// One page of a run's artifacts; `address` is the path of the listing.
pub async fn listed(
    app: &Workspace,
    run: &RunName,
    page: &Page,
    address: &str,
) -> Result<ArtifactPage> {
    let artifacts = Artifacts::of(app, run);
    let all = artifacts.all().await?;
    let prefix = plain(page.path.as_deref().unwrap_or_default());
    let prefix = prefix.as_str();
    let after = page.continuation_token.as_deref().unwrap_or_default();
    let mut matching = all.values().filter(|found| {
        found.name.as_str() > after
            && (prefix.is_empty()
                || found.name == prefix
                || found
                    .name
                    .strip_prefix(prefix)
                    .is_some_and(|rest| rest.starts_with('/')))
    });
    let value: Vec<Artifact> = matching
        .by_ref()
        .take(PAGE)
        .map(|found| shown(run, found))
        .collect();
    let last = matching.next().and_then(|_| value.last());
    let token = last.map(|last| last.path.clone());
    let next_link = token.as_deref().map(|token| {
        next_link(
            app,
            address,
            &[
                ("continuationToken", Some(token)),
                ("path", Some(prefix).filter(|prefix| !prefix.is_empty())),
            ],
        )
    });
    Ok(ArtifactPage {
        value,
        continuation_token: token,
        next_link,
    })
}

/// The download location of one artifact.
pub async fn content(app: &Workspace, run: &RunName, page: &Page) -> Result<ArtifactContent> {
    let path = plain(page.path.as_deref().unwrap_or_default());
    let artifacts = Artifacts::of(app, run);
    if !artifacts.all().await?.contains_key(&path) {
        return Err(Error::not_found(format!(
            "run \"{run}\" has no artifact {path:?}"
        )));
    }
    Ok(content_of(&artifacts, &path, Access::Read))
}

/// The download locations of all artifacts whose paths start with a prefix.
pub async fn contents(
    app: &Workspace,
    run: &RunName,
    page: &Page,
) -> Result<arm::Page<ArtifactContent>> {
    let asked = page.path.as_deref().unwrap_or_default();
    let mut prefix = plain(asked);
    // The prefix may end within a segment, so a trailing slash is significant.
    if asked.ends_with('/') && !prefix.is_empty() {
        prefix.push('/');
    }
    let artifacts = Artifacts::of(app, run);
    let all = artifacts.all().await?;
    let value = all
        .keys()
        .filter(|path| path.starts_with(&prefix))
        .map(|path| content_of(&artifacts, path, Access::Read))
        .collect();
    Ok(arm::Page {
        value,
        next_link: None,
    })
}

/// The upload locations of artifacts.
pub fn places(app: &Workspace, run: &RunName, paths: &ArtifactPaths) -> ArtifactUploads {
    let artifacts = Artifacts::of(app, run);
    let mut uploads = ArtifactUploads::default();
    for path in &paths.paths {
        let path = path.path.as_str();
        if BlobName::of(path).is_some() {
            let content = content_of(&artifacts, path, Access::All);
            uploads
                .artifacts
                .insert(path.to_owned(), artifact(run, path));
            uploads
                .artifact_content_information
                .insert(path.to_owned(), content);
        } else {
            let error = Error::invalid(format!(
                "{path:?} is no path of an artifact: it has an empty, `.` or `..` part"
            ));
            uploads.errors.insert(path.to_owned(), error::body(&error));
        }
    }
    uploads
}

/// Rejects uploads by SDK v1. It parses the host of the upload URL and then uploads to `https` at
/// `ACCOUNT.blob.SUFFIX`, whatever the URL is. Without this error, the upload would fail much
/// later, at the DNS lookup of a host that does not exist.
pub fn refuse_sdk_v1(headers: &HeaderMap) -> Result<()> {
    let agent = headers.get(header::USER_AGENT).map(HeaderValue::as_bytes);
    let agent = String::from_utf8_lossy(agent.unwrap_or_default()).into_owned();
    if !agent.contains("azureml._restclient/") {
        return Ok(());
    }
    Err(Error::Invalid {
        code: "UploadNeedsHttps",
        message: "SDK v1 (azureml-core) uploads files by https alone, and the local workspace speaks http\n\
                  hint: write the file to the folder `outputs` or `logs` of the job, whose files are kept, \
                  or call `mlflow.log_artifact`"
            .to_owned(),
    })
}

fn run_of(container: &str) -> Result<&str> {
    container
        .strip_prefix("dcid.")
        .ok_or_else(|| Error::not_found(format!("there are no artifacts of {container:?}")))
}

async fn list(
    State(app): State<Shared>,
    caller: Caller,
    Path(container): Path<String>,
    Query(page): Query<Page>,
) -> Result<Json<ArtifactPage>> {
    let run = check(&app, caller, run_of(&container)?).await?;
    let address = format!(
        "/artifact/v2.0{}/artifacts/ExperimentRun/{}",
        scope(),
        encode(&container)
    );
    listed(&app, &run, &page, &address).await.map(Json)
}

async fn info(
    State(app): State<Shared>,
    caller: Caller,
    Path(container): Path<String>,
    Query(page): Query<Page>,
) -> Result<Json<ArtifactContent>> {
    let run = check(&app, caller, run_of(&container)?).await?;
    content(&app, &run, &page).await.map(Json)
}

async fn upload(
    State(app): State<Shared>,
    caller: Caller,
    Path(container): Path<String>,
    headers: HeaderMap,
    Body(body): Body,
) -> Result<Json<ArtifactUploads>> {
    refuse_sdk_v1(&headers)?;
    let run = check(&app, caller, run_of(&container)?).await?;
    let paths: ArtifactPaths = lenient(&body)?;
    Ok(Json(places(&app, &run, &paths)))
}

async fn infos(
    State(app): State<Shared>,
    caller: Caller,
    Path(container): Path<String>,
    Query(page): Query<Page>,
) -> Result<Json<arm::Page<ArtifactContent>>> {
    let run = check(&app, caller, run_of(&container)?).await?;
    contents(&app, &run, &page).await.map(Json)
}

/// Like [`info`], with the path in the URL, as SDK v1 sends it.
async fn info_at(
    State(app): State<Shared>,
    caller: Caller,
    Path((container, path)): Path<(String, String)>,
) -> Result<Json<ArtifactContent>> {
    let run = check(&app, caller, run_of(&container)?).await?;
    content(&app, &run, &at(path)).await.map(Json)
}

/// Like [`infos`], with the path in the URL.
async fn infos_at(
    State(app): State<Shared>,
    caller: Caller,
    Path((container, path)): Path<(String, String)>,
) -> Result<Json<arm::Page<ArtifactContent>>> {
    let run = check(&app, caller, run_of(&container)?).await?;
    contents(&app, &run, &at(path)).await.map(Json)
}

fn at(path: String) -> Page {
    Page {
        path: Some(path),
        continuation_token: None,
    }
}
