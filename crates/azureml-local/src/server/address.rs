//! URL routing: the service that a URL belongs to, and the path within the service.
//!
//! ARM ids are compared case-insensitively, as in the service.

use super::absent::nothing_at;
use crate::error::{Error, Result};
use crate::workspace::uri::{ACCOUNT, SUFFIX};
use azureml_wire::local::{RESOURCE_GROUP, SUBSCRIPTION_ID, WORKSPACE_NAME};
use std::borrow::Cow;

/// Whether the first segment of a path is the storage account, or the host that clients build from
/// it.
fn is_account(part: &str) -> bool {
    part.strip_prefix(ACCOUNT)
        .is_some_and(|rest| rest.is_empty() || rest.strip_prefix(".blob.") == Some(SUFFIX))
}

/// A service of the local workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Area {
    /// ARM resources of the workspace: `{WS}/…`.
    Arm,
    /// Run history: `/history/v1.0{WS}/…`.
    History,
    /// Artifacts: `/artifact/v2.0{WS}/…`.
    Artifact,
    /// Metrics of SDK v1: `/metric/v2.0{WS}/runs/…`.
    Metric,
    /// MLflow: `/mlflow/v2.0{WS}/api/2.0/…`.
    Mlflow,
    /// Blobs: `/{account}/{container}/…`.
    Blob,
    /// The data plane of data: `/data/v1.0{WS}/…`.
    Data,
    /// The data plane of datastores: `/datastore/v1.0{WS}/…`.
    Datastore,
    /// The data plane of models: `/modelregistry/v1.0{WS}/…`.
    Models,
    /// Resources above the workspace: `/subscriptions/{id}/…`.
    Account,
    /// Discovery of the data plane.
    Discovery,
    /// HTML pages.
    Page,
}

impl Area {
    /// The path at which the area's routes are mounted. No URL of a client starts with it.
    pub fn inner(self) -> &'static str {
        match self {
            Self::Arm => "/-/arm",
            Self::History => "/-/history",
            Self::Artifact => "/-/artifact",
            Self::Metric => "/-/metric",
            Self::Mlflow => "/-/mlflow",
            Self::Blob => "/-/blob",
            Self::Data => "/-/data",
            Self::Datastore => "/-/datastore",
            Self::Models => "/-/models",
            Self::Account => "/-/account",
            Self::Discovery => "/-/discovery",
            Self::Page => "/-/page",
        }
    }
}

/// The page at MLflow's tracking URI.
pub const TRACKING: &str = "/tracking";

/// Whether the path is the tracking URI. MLflow's client prints links to runs and experiments as
/// fragments of it.
fn is_user_interface(path: &str) -> bool {
    path.starts_with("/mlflow/")
        && behind_version(path)
            .and_then(workspace)
            .is_some_and(|rest| matches!(rest, "" | "/"))
}

/// The rest of a data plane path after the API version; any version is accepted.
fn behind_version(path: &str) -> Option<&str> {
    let (at, _) = path.match_indices('/').nth(2)?;
    Some(&path[at..])
}

/// The area of a path; ARM for an unknown one.
pub fn area(path: &str) -> Area {
    let mut parts = path.split('/').skip(1);
    match parts.next() {
        Some("history") => Area::History,
        Some("artifact") => Area::Artifact,
        Some("mlflow") if is_user_interface(path) => Area::Page,
        Some("metric") => Area::Metric,
        Some("mlflow") => Area::Mlflow,
        Some("discovery") => Area::Discovery,
        Some("" | "runs" | "studio") => Area::Page,
        Some(account) if is_account(account) => Area::Blob,
        Some("data") => Area::Data,
        Some("datastore") => Area::Datastore,
        Some("modelregistry") => Area::Models,
        Some(_) if workspace(path).is_none() && account(path).is_some() => Area::Account,
        _ => Area::Arm,
    }
}

/// The path within the area, still percent-encoded.
pub fn within(area: Area, path: &str) -> Result<Cow<'_, str>> {
    if area == Area::Account {
        // The names in these paths are case-insensitive.
        let rest = account(path).ok_or_else(|| nothing(path))?;
        return Ok(Cow::Owned(rest.to_ascii_lowercase()));
    }
    below(area, path).map(Cow::Borrowed)
}

fn below(area: Area, path: &str) -> Result<&str> {
    let rest = match area {
        Area::Discovery => return Ok(""),
        Area::Blob => {
            let path = path.strip_prefix('/').unwrap_or(path);
            return Ok(path.find('/').map_or("", |end| &path[end..]));
        }
        Area::Page if is_user_interface(path) => return Ok(TRACKING),
        Area::Page => return Ok(path),
        // SDK v1 requests the workspace from the front end of its region.
        Area::Arm => path.strip_prefix("/rp/workspaces").unwrap_or(path),
        Area::Account => path,
        Area::History
        | Area::Artifact
        | Area::Metric
        | Area::Mlflow
        | Area::Data
        | Area::Datastore
        | Area::Models => behind_version(path).ok_or_else(|| nothing(path))?,
    };
    let rest = workspace(rest).ok_or_else(|| nothing(path))?;
    match area {
        Area::Mlflow => rest.strip_prefix("/api/2.0").ok_or_else(|| nothing(path)),
        _ => Ok(rest),
    }
}

/// The error for a request to another workspace.
pub fn other_workspace(name: &str) -> Error {
    Error::NotFound {
        code: "ResourceNotFound",
        message: format!(
            "there is no workspace {name:?} here: the local workspace is subscription {SUBSCRIPTION_ID}, \
             resource group {RESOURCE_GROUP:?}, workspace {WORKSPACE_NAME:?}; this address names another\n\
             hint: use these names, or the address of Azure"
        ),
    }
}

fn nothing(path: &str) -> Error {
    let mut parts = path.split('/');
    match parts.find(|part| part.eq_ignore_ascii_case("workspaces")) {
        Some(_) => other_workspace(parts.next().unwrap_or_default()),
        None => nothing_at(path),
    }
}

/// The segments of the workspace's ARM id; the first two are the subscription's.
const ID: [&str; 8] = [
    "subscriptions",
    SUBSCRIPTION_ID,
    "resourceGroups",
    RESOURCE_GROUP,
    "providers",
    "Microsoft.MachineLearningServices",
    "workspaces",
    WORKSPACE_NAME,
];

/// The rest of a path after the workspace's ARM id.
fn workspace(path: &str) -> Option<&str> {
    after(&ID, path)
}

/// The rest of a path after the subscription's ARM id.
fn account(path: &str) -> Option<&str> {
    after(&ID[..2], path).filter(|rest| !rest.is_empty())
}

fn after<'a>(id: &[&str], path: &'a str) -> Option<&'a str> {
    let mut rest = path;
    for part in id {
        let segment = rest.strip_prefix('/')?;
        let end = segment.find('/').unwrap_or(segment.len());
        if !segment[..end].eq_ignore_ascii_case(part) {
            return None;
        }
        rest = &segment[end..];
    }
    Some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use azureml_wire::local;

    #[test]
    fn addresses_are_read_without_regard_to_case() {
        let ws = local::scope().to_string();
        let lower = ws.to_lowercase();
        for (path, expected, inner) in [
            (format!("{ws}/jobs/a%20b"), Area::Arm, "/jobs/a%20b"),
            (lower, Area::Arm, ""),
            (format!("/rp/workspaces{ws}"), Area::Arm, ""),
            (
                format!("/metric/v2.0{ws}/runs/x/batch"),
                Area::Metric,
                "/runs/x/batch",
            ),
            (
                format!("/history/v1.0{ws}/runs/x/details"),
                Area::History,
                "/runs/x/details",
            ),
            (
                format!("/mlflow/v1.0{ws}/api/2.0/mlflow/runs/get"),
                Area::Mlflow,
                "/mlflow/runs/get",
            ),
            (format!("/mlflow/v2.0{ws}"), Area::Page, TRACKING),
            (format!("/mlflow/v2.0{ws}/"), Area::Page, TRACKING),
            (format!("/{ACCOUNT}/c/n"), Area::Blob, "/c/n"),
            (format!("/{ACCOUNT}.blob.local/c/n"), Area::Blob, "/c/n"),
            (format!("/{ACCOUNT}.blob.local"), Area::Blob, ""),
            (
                format!("/datastore/v1.0{ws}/default"),
                Area::Datastore,
                "/default",
            ),
        ] {
            assert_eq!(area(&path), expected, "{path}");
            assert_eq!(within(expected, &path).unwrap(), inner, "{path}");
        }
    }

    #[test]
    fn another_workspace_is_not_found() {
        let other = local::scope()
            .to_string()
            .replace("workspaces/local", "workspaces/other");
        assert!(within(Area::Arm, &other).is_err());
        assert!(within(Area::Arm, "/-/arm/jobs").is_err());
        assert!(within(Area::History, "/history").is_err());
    }
}
