//! MLflow's artifact service, and the listing of a run's artifacts.

use super::find::find;
use super::request::Fields;
use crate::error::{Error, Result};
use crate::name::{BlobName, RunName};
use crate::routes::blob;
use crate::store::mlflow;
use crate::workspace::artifact::{Artifacts, check, plain};
use crate::workspace::caller::Caller;
use crate::workspace::{Shared, Workspace};
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use axum::{Json, Router};
use serde_json::{Value, json};
use std::collections::BTreeMap;

pub fn router() -> Router<Shared> {
    Router::new()
        .route("/mlflow/artifacts/list", get(list_artifacts))
        .route("/mlflow-artifacts/artifacts", get(list_files))
        .route(
            "/mlflow-artifacts/artifacts/{*path}",
            put(put_artifact).get(get_artifact).delete(delete_artifact),
        )
}

/// The direct children of a folder, files and folders, by path.
fn entries<'a>(files: impl Iterator<Item = (&'a str, u64)>, folder: &str) -> Vec<Value> {
    let folder = folder.trim_matches('/');
    let mut entries: BTreeMap<String, Value> = BTreeMap::new();
    for (path, length) in files {
        let rest = if folder.is_empty() {
            path
        } else {
            match path
                .strip_prefix(folder)
                .and_then(|rest| rest.strip_prefix('/'))
            {
                Some(rest) => rest,
                None => continue,
            }
        };
        let shown = |name: &str| {
            if folder.is_empty() {
                name.to_owned()
            } else {
                format!("{folder}/{name}")
            }
        };
        let (path, entry) = if let Some((name, _)) = rest.split_once('/') {
            (shown(name), json!({ "is_dir": true }))
        } else {
            (shown(rest), json!({ "is_dir": false, "file_size": length }))
        };
        let mut entry = entry;
        entry["path"] = json!(path);
        entries.insert(path, entry);
    }
    entries.into_values().collect()
}

async fn list_artifacts(
    State(app): State<Shared>,
    caller: Caller,
    fields: Fields,
) -> Result<Json<Value>> {
    let id = fields.run()?;
    let folder = resolve(&fields.optional_text("path")?.unwrap_or_default())?;
    let asked = id.clone();
    let run = app.db(move |store| find(store, &caller, &asked)).await?;
    let all = Artifacts::of(&app, &RunName::parse(&id)?).all().await?;
    let files = entries(
        all.iter()
            .map(|(path, found)| (path.as_str(), found.length)),
        &folder,
    );
    Ok(Json(json!({
        "root_uri": run.artifact_uri,
        "files": files,
    })))
}

/// Validates a path within a run's artifacts; rejects one that leads outside.
fn resolve(path: &str) -> Result<String> {
    let leads_out = path.split('/').any(|part| part == "..");
    if leads_out || path.starts_with('/') || path.contains(['\0', '\\']) {
        return Err(Error::invalid("Invalid path"));
    }
    Ok(plain(path))
}

/// Splits a path of MLflow's artifact service into a run and a path within the run. The path starts
/// with the artifact location of the run or of its experiment.
async fn within_run(app: &Workspace, path: &str) -> Result<(String, String)> {
    let path = resolve(path.trim_matches('/'))?;
    if let Some(rest) = path.strip_prefix(mlflow::ARTIFACTS) {
        let (run, rest) = rest.split_once('/').unwrap_or((rest, ""));
        return Ok((run.to_owned(), rest.to_owned()));
    }
    app.db(move |store| {
        for (at, _) in format!("{path}/").match_indices("/artifacts/") {
            let (root, rest) = (&path[..at], path.get(at + "/artifacts/".len()..));
            let run = root.rsplit('/').next().unwrap_or_default();
            let Some(found) = mlflow::get_run(store, run)? else {
                continue;
            };
            let own = found.artifact_uri.strip_prefix("mlflow-artifacts:");
            if own.map(|own| own.trim_matches('/')) == Some(&format!("{root}/artifacts")) {
                return Ok((found.id, rest.unwrap_or_default().to_owned()));
            }
        }
        Err(Error::not_found(format!(
            "there are no artifacts at {path:?}"
        )))
    })
    .await
}

/// The blob of a path. Returns an error if the caller has no access to its run.
async fn blob_of(app: &Workspace, caller: Caller, path: &str) -> Result<BlobName> {
    let (run, path) = within_run(app, path).await?;
    let run = check(app, caller, &run).await?;
    BlobName::parse(&format!("{}/{path}", run.artifacts()))
}

async fn list_files(
    State(app): State<Shared>,
    caller: Caller,
    fields: Fields,
) -> Result<Json<Value>> {
    let asked = fields.optional_text("path")?.unwrap_or_default();
    let (run, folder) = within_run(&app, &asked).await?;
    let run = check(&app, caller, &run).await?;
    let all = Artifacts::of(&app, &run).all().await?;
    let mut files = entries(
        all.iter()
            .map(|(path, found)| (path.as_str(), found.length)),
        &folder,
    );
    // The paths in this listing are relative to the folder.
    let prefix = if folder.is_empty() {
        String::new()
    } else {
        format!("{folder}/")
    };
    for file in &mut files {
        let shown = file["path"]
            .as_str()
            .and_then(|path| path.strip_prefix(&prefix))
            .map(str::to_owned);
        file["path"] = json!(shown);
    }
    Ok(Json(json!({ "files": files })))
}

async fn put_artifact(
    State(app): State<Shared>,
    caller: Caller,
    Path(path): Path<String>,
    request: Request,
) -> Result<Json<Value>> {
    let name = blob_of(&app, caller, &path).await?;
    blob::store(&app, name, request.into_body()).await?;
    Ok(Json(json!({})))
}

async fn get_artifact(
    State(app): State<Shared>,
    caller: Caller,
    Path(path): Path<String>,
    request: Request,
) -> Result<Response> {
    let name = blob_of(&app, caller, &path).await?;
    blob::load(&app, name, request.headers()).await
}

async fn delete_artifact(
    State(app): State<Shared>,
    caller: Caller,
    Path(path): Path<String>,
) -> Result<Response> {
    let name = blob_of(&app, caller, &path).await?;
    blob::remove(&app, name).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

#[cfg(test)]
mod tests {
    use super::resolve;

    #[test]
    fn paths_of_artifacts_stay_below_their_run() {
        for (path, resolved) in [("", ""), (".", ""), ("./a", "a"), ("a/./b//c/", "a/b/c")] {
            assert_eq!(resolve(path).unwrap(), resolved);
        }
        for out in ["..", "../a", "a/../b", "/a", "a\\b", "a\0"] {
            assert!(resolve(out).is_err(), "{out}");
        }
    }
}
