//! Request paths, without host and query.
//!
//! User input (names, versions) is percent-encoded only in this module.

use std::fmt;

/// The `api-version` that the client sends: the latest stable version.
pub const API_VERSION: &str = "2025-12-01";

/// The scope of a workspace: the three names in its ARM id.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WorkspaceScope {
    /// The subscription's id.
    pub subscription_id: String,
    /// The resource group.
    pub resource_group: String,
    /// The workspace's name.
    pub workspace_name: String,
}

impl fmt::Display for WorkspaceScope {
    /// Formats the workspace's ARM id, which is also the path prefix of its requests.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "/subscriptions/{}/resourceGroups/{}/providers/Microsoft.MachineLearningServices/workspaces/{}",
            encode(&self.subscription_id),
            encode(&self.resource_group),
            encode(&self.workspace_name)
        )
    }
}

impl WorkspaceScope {
    /// Returns the ARM id of a resource in the workspace, from alternating types and names:
    /// `["jobs", "mighty_fox"]`, `["environments", "rust-tch-gpu", "versions", "1"]`.
    pub fn path<S: AsRef<str>>(&self, parts: impl IntoIterator<Item = S>) -> String {
        let mut path = self.to_string();
        for part in parts {
            path.push('/');
            path.push_str(&encode(part.as_ref()));
        }
        path
    }

    /// Returns the run history path of a run, relative to the discovered `api` root. `rest` is
    /// `/details`, `/artifacts`, … or empty.
    pub fn run_history(&self, run: &str, rest: &str) -> String {
        format!("/history/v1.0{self}/runs/{}{rest}", encode(run))
    }

    /// Returns the run history path of a run's artifacts, relative to the discovered `api` root.
    /// `rest` is empty for the list (`GET`, paged by `?continuationToken=`), `/contentinfo` (`GET`,
    /// `?path=`) for [`ArtifactContent`], or `/batch/metadata` (`POST` of [`ArtifactPaths`]) for
    /// upload URLs.
    ///
    /// [`ArtifactContent`]: crate::run_history::ArtifactContent
    /// [`ArtifactPaths`]: crate::run_history::ArtifactPaths
    pub fn artifacts(&self, experiment: &str, run: &str, rest: &str) -> String {
        format!(
            "/history/v1.0{self}/experiments/{}/runs/{}/artifacts{rest}",
            encode(experiment),
            encode(run)
        )
    }

    /// Returns the path of the MLflow call `call` (`runs/get`), relative to the host of the
    /// tracking service.
    pub fn mlflow(&self, call: &str) -> String {
        format!("/mlflow/v2.0{self}/api/2.0/mlflow/{call}")
    }
}

/// Percent-encodes one path segment: all characters except the unreserved ones (RFC 3986).
pub fn encode(segment: &str) -> String {
    let mut encoded = String::with_capacity(segment.len());
    for byte in segment.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            use fmt::Write;
            // Writing to a String cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// Percent-encodes the segments of a path and keeps its slashes.
pub fn encode_path(path: &str) -> String {
    let segments: Vec<String> = path.split('/').map(encode).collect();
    segments.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_arm_ids_and_names_are_encoded() {
        let scope = WorkspaceScope {
            subscription_id: "s".into(),
            resource_group: "g".into(),
            workspace_name: "w".into(),
        };
        assert_eq!(
            scope.path(["jobs", "a/../b c"]),
            "/subscriptions/s/resourceGroups/g/providers/Microsoft.MachineLearningServices/workspaces/w/jobs/a%2F..%2Fb%20c"
        );
    }
}
