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
use azureml_wire::local::scope;
use azureml_wire::routes::encode;
use azureml_wire::run_history::ArtifactPaths;
use serde::Deserialize;
use serde_json::{Value, json};

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

/// The number of artifacts on one page.
const PAGE: usize = 500;

fn shown(run: &RunName, found: &Found) -> Value {
    let created: chrono::DateTime<chrono::Utc> = found.modified.into();
    json!({
        "artifactId": format!("{}/{}", run.artifacts(), found.name),
        "origin": "ExperimentRun",
        "container": format!("dcid.{}", run),
        "path": found.name,
        "createdTime": created,
        "contentLength": found.length,
    })
}

fn content_of(artifacts: &Artifacts<'_>, path: &str, access: Access) -> Value {
    json!({
        "contentUri": artifacts.url(path, access),
        "origin": "ExperimentRun",
        "container": format!("dcid.{}", artifacts.run()),
        "path": path,
    })
}

/// One page of a run's artifacts; `address` is the path of the listing.
pub async fn listed(app: &Workspace, run: &RunName, page: &Page, address: &str) -> Result<Value> {
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
    let value: Vec<Value> = matching
        .by_ref()
        .take(PAGE)
        .map(|found| shown(run, found))
        .collect();
    let mut answer = json!({ "value": value });
    if matching.next().is_some()
        && let Some(last) = answer["value"][PAGE - 1]["path"]
            .as_str()
            .map(str::to_owned)
    {
        let next = next_link(
            app,
            address,
            &[
                ("continuationToken", Some(&last)),
                ("path", Some(prefix).filter(|prefix| !prefix.is_empty())),
            ],
        );
        answer["continuationToken"] = json!(last);
        answer["nextLink"] = json!(next);
    }
    Ok(answer)
}

/// The download location of one artifact.
pub async fn content(app: &Workspace, run: &RunName, page: &Page) -> Result<Value> {
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
pub async fn contents(app: &Workspace, run: &RunName, page: &Page) -> Result<Value> {
    let asked = page.path.as_deref().unwrap_or_default();
    let mut prefix = plain(asked);
    // The prefix may end within a segment, so a trailing slash is significant.
    if asked.ends_with('/') && !prefix.is_empty() {
        prefix.push('/');
    }
    let artifacts = Artifacts::of(app, run);
    let all = artifacts.all().await?;
    let value: Vec<Value> = all
        .keys()
        .filter(|path| path.starts_with(&prefix))
        .map(|path| content_of(&artifacts, path, Access::Read))
        .collect();
    Ok(json!({ "value": value }))
}

/// The upload locations of artifacts.
pub fn places(app: &Workspace, run: &RunName, paths: &ArtifactPaths) -> Value {
    let artifacts = Artifacts::of(app, run);
    let mut answer = json!({ "artifacts": {}, "artifactContentInformation": {}, "errors": {} });
    for path in &paths.paths {
        let path = path.path.as_str();
        if BlobName::of(path).is_some() {
            answer["artifacts"][path] = json!({
                "artifactId": format!("{}/{path}", run.artifacts()),
                "origin": "ExperimentRun",
                "container": format!("dcid.{run}"),
                "path": path,
            });
            answer["artifactContentInformation"][path] = content_of(&artifacts, path, Access::All);
        } else {
            let error = Error::invalid(format!(
                "{path:?} is no path of an artifact: it has an empty, `.` or `..` part"
            ));
            answer["errors"][path] = json!(error::body(&error));
        }
    }
    answer
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
) -> Result<Json<Value>> {
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
) -> Result<Json<Value>> {
    let run = check(&app, caller, run_of(&container)?).await?;
    content(&app, &run, &page).await.map(Json)
}

async fn upload(
    State(app): State<Shared>,
    caller: Caller,
    Path(container): Path<String>,
    headers: HeaderMap,
    Body(body): Body,
) -> Result<Json<Value>> {
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
) -> Result<Json<Value>> {
    let run = check(&app, caller, run_of(&container)?).await?;
    contents(&app, &run, &page).await.map(Json)
}

/// Like [`info`], with the path in the URL, as SDK v1 sends it.
async fn info_at(
    State(app): State<Shared>,
    caller: Caller,
    Path((container, path)): Path<(String, String)>,
) -> Result<Json<Value>> {
    let run = check(&app, caller, run_of(&container)?).await?;
    content(&app, &run, &at(path)).await.map(Json)
}

/// Like [`infos`], with the path in the URL.
async fn infos_at(
    State(app): State<Shared>,
    caller: Caller,
    Path((container, path)): Path<(String, String)>,
) -> Result<Json<Value>> {
    let run = check(&app, caller, run_of(&container)?).await?;
    contents(&app, &run, &at(path)).await.map(Json)
}

fn at(path: String) -> Page {
    Page {
        path: Some(path),
        continuation_token: None,
    }
}
