//! The tracking service of the run that this process belongs to.

use crate::env;
use crate::error::{Error, Result};
use crate::{http, runtime};
use azureml_wire::error::ErrorResponse;
use azureml_wire::mlflow::LogBatch;
use azureml_wire::routes::encode;
use azureml_wire::run_history::{ArtifactPath, ArtifactPaths, ArtifactUploads};
use reqwest::{Method, StatusCode};
use serde_json::Value;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const AWAY: &str = "the training goes on; is the workspace that started this job still running?";
const REFUSED: &str = "the training goes on; the service's answer says what it did not like";

/// Waits between tries; about two minutes in all.
const PATIENT: [Duration; 8] = seconds([1, 2, 4, 8, 15, 30, 30, 30]);
const IMPATIENT: [Duration; 1] = seconds([1]);

const fn seconds<const N: usize>(seconds: [u64; N]) -> [Duration; N] {
    let mut durations = [Duration::ZERO; N];
    let mut index = 0;
    while index < N {
        durations[index] = Duration::from_secs(seconds[index]);
        index += 1;
    }
    durations
}

/// Where the run's service is; cheap to clone.
#[derive(Clone)]
pub(super) struct Tracking {
    inner: Arc<Inner>,
}

struct Inner {
    http: reqwest::Client,
    run_id: String,
    /// The workspace's ARM path, for run history's calls; empty on a plain MLflow server.
    workspace: String,
    /// The path below the root under which MLflow's API lies.
    mlflow: String,
    /// Scheme, host and port.
    root: String,
    token: Option<String>,
}

impl fmt::Debug for Tracking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tracking")
            .field("root", &self.inner.root)
            .field("run_id", &self.inner.run_id)
            .finish_non_exhaustive()
    }
}

impl Tracking {
    /// `None` outside a job.
    pub(super) fn from_env() -> Option<Self> {
        let uri = env::var(env::MLFLOW_TRACKING_URI)?;
        let run_id = env::var(env::MLFLOW_RUN_ID).or_else(|| env::var(env::AZUREML_RUN_ID))?;
        let token = env::var(env::MLFLOW_TRACKING_TOKEN);
        Self::new(&uri, token, run_id)
            .inspect_err(|error| eprintln!("warning: metrics are not sent: {error}"))
            .ok()
    }

    fn new(uri: &str, token: Option<String>, run_id: String) -> Result<Self> {
        let (root, mlflow) = split_uri(uri).ok_or_else(|| Error::Tracking {
            call: "reading MLFLOW_TRACKING_URI".to_owned(),
            reason: "it is neither azureml://… nor http(s)://…".to_owned(),
            hint: "metrics can go to Azure ML, to the local workspace or to an MLflow server",
        })?;
        let workspace = mlflow
            .split_once("/mlflow/v2.0")
            .map_or("", |(_, workspace)| workspace)
            .to_owned();
        Ok(Self {
            inner: Arc::new(Inner {
                http: http::client(&root)?,
                run_id,
                workspace,
                mlflow,
                root,
                token,
            }),
        })
    }

    pub(super) fn run_id(&self) -> &str {
        &self.inner.run_id
    }

    /// `POST runs/log-batch`.
    pub(super) async fn log_batch(
        &self,
        what: &str,
        batch: &LogBatch,
        impatient: bool,
    ) -> Result<()> {
        let path = format!("{}/api/2.0/mlflow/runs/log-batch", self.inner.mlflow);
        let waits: &[Duration] = if impatient { &IMPATIENT } else { &PATIENT };
        // A point that arrives twice is one point: tracking stores drop exact repetitions.
        self.call(what, Method::POST, &path, batch, waits)
            .await
            .map(drop)
    }

    /// Uploads a file to the run's artifacts and waits for it, inside a runtime too.
    pub(super) fn upload(&self, name: &str, path: &Path) -> Result<()> {
        let bytes = readable(name, path)?;
        let (sender, answer) = std::sync::mpsc::channel();
        let this = self.clone();
        let name = name.to_owned();
        runtime::shared()?.spawn(async move {
            let _ = sender.send(this.put_artifact(&name, bytes).await);
        });
        // The task answers unless the runtime ends, which it does only with the process.
        answer.recv().unwrap_or(Ok(()))
    }

    async fn put_artifact(&self, name: &str, bytes: Vec<u8>) -> Result<()> {
        let call = format!("uploading {name}");
        if self.inner.workspace.is_empty() {
            // An MLflow server that takes artifacts itself.
            let experiment = self.experiment_id(&call).await?;
            let name: Vec<String> = name.split('/').map(encode).collect();
            let url = format!(
                "{}{}/api/2.0/mlflow-artifacts/artifacts/{experiment}/{}/artifacts/{}",
                self.inner.root,
                self.inner.mlflow,
                encode(&self.inner.run_id),
                name.join("/"),
            );
            return self.put(&call, &url, bytes, false).await;
        }
        let experiment =
            env::var(env::MLFLOW_EXPERIMENT_NAME).unwrap_or_else(|| "Default".to_owned());
        let path = format!(
            "/history/v1.0{}/experiments/{}/runs/{}/artifacts/batch/metadata",
            self.inner.workspace,
            encode(&experiment),
            encode(&self.inner.run_id)
        );
        let paths = ArtifactPaths {
            paths: vec![ArtifactPath {
                path: name.to_owned(),
                tags: None,
            }],
        };
        let answer = self
            .call(&call, Method::POST, &path, &paths, &PATIENT)
            .await?;
        let uploads: ArtifactUploads =
            serde_json::from_value(answer).map_err(|error| failed(&call, error))?;
        if let Some(error) = uploads.errors.into_values().next() {
            return Err(failed(&call, error.error.message));
        }
        let place = uploads
            .artifact_content_information
            .into_values()
            .next()
            .ok_or_else(|| failed(&call, "the service named no place for the file"))?;
        self.put(&call, &place.content_uri, bytes, true).await
    }

    async fn experiment_id(&self, call: &str) -> Result<String> {
        let path = format!(
            "{}/api/2.0/mlflow/runs/get?run_id={}",
            self.inner.mlflow,
            encode(&self.inner.run_id)
        );
        let answer = self
            .call(call, Method::GET, &path, &Value::Null, &PATIENT)
            .await?;
        let run: azureml_wire::mlflow::GetRun =
            serde_json::from_value(answer).map_err(|error| failed(call, error))?;
        Ok(run.run.info.experiment_id)
    }

    async fn put(&self, call: &str, url: &str, bytes: Vec<u8>, blob: bool) -> Result<()> {
        let mut request = self.inner.http.put(url).body(bytes);
        if blob {
            request = request
                .header("x-ms-blob-type", "BlockBlob")
                .header("x-ms-version", "2021-08-06");
        } else if let Some(token) = &self.inner.token {
            request = request.bearer_auth(token);
        }
        let response = request
            .send()
            .await
            .map_err(|error| failed(call, http::describe(error)))?;
        if response.status().is_success() {
            Ok(())
        } else {
            Err(failed(call, response.status()))
        }
    }

    /// One call with a JSON body (none for `null`), tried again while the service is away.
    async fn call(
        &self,
        what: &str,
        method: Method,
        path: &str,
        body: &impl serde::Serialize,
        waits: &[Duration],
    ) -> Result<Value> {
        let body = serde_json::to_value(body).map_err(|error| failed(what, error))?;
        let mut waits = waits.iter();
        loop {
            let url = format!("{}{path}", self.inner.root);
            let mut request = self.inner.http.request(method.clone(), url);
            if !body.is_null() {
                request = request.json(&body);
            }
            if let Some(token) = &self.inner.token {
                request = request.bearer_auth(token);
            }
            let reason = match request.send().await {
                Ok(response) => {
                    let status = response.status();
                    let text = response.text().await.unwrap_or_default();
                    if status.is_success() {
                        return Ok(serde_json::from_str(&text).unwrap_or(Value::Null));
                    }
                    let reason = format!("{status}: {}", message(&text));
                    if !is_transient(status) {
                        return Err(Error::Tracking {
                            call: what.to_owned(),
                            reason,
                            hint: REFUSED,
                        });
                    }
                    reason
                }
                // A local workspace that is started again answers at the same address.
                Err(error) => http::describe(error),
            };
            let Some(wait) = waits.next() else {
                return Err(failed(what, reason));
            };
            tokio::time::sleep(*wait).await;
        }
    }
}

/// The content of a file that is to be uploaded.
pub(super) fn readable(name: &str, path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| Error::Tracking {
        call: format!("uploading {name} from {}", path.display()),
        reason: error.to_string(),
        hint: "the path is relative to the folder that the program runs in",
    })
}

fn failed(call: &str, reason: impl fmt::Display) -> Error {
    Error::Tracking {
        call: call.to_owned(),
        reason: reason.to_string(),
        hint: AWAY,
    }
}

fn is_transient(status: StatusCode) -> bool {
    status.is_server_error()
        || matches!(
            status,
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS
        )
}

/// The message of an error's body: Azure's `{"error": {…}}` or MLflow's `{"error_code", "message"}`.
fn message(body: &str) -> String {
    if let Ok(error) = serde_json::from_str::<ErrorResponse>(body) {
        return error.error.message;
    }
    serde_json::from_str::<Value>(body)
        .ok()
        .and_then(|body| Some(body.get("message")?.as_str()?.to_owned()))
        .unwrap_or_else(|| "no reason given".to_owned())
}

/// A tracking URI's root (scheme, host, port) and the path under which `/api/2.0/mlflow` lies.
fn split_uri(uri: &str) -> Option<(String, String)> {
    let uri = uri.split(['?', '#']).next().unwrap_or(uri);
    let (scheme, rest) = uri.split_once("://")?;
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    if host.is_empty() {
        return None;
    }
    let path = path.trim_end_matches('/');
    let path = if path.is_empty() {
        String::new()
    } else {
        format!("/{path}")
    };
    match scheme {
        "http" | "https" => Some((format!("{scheme}://{host}"), path)),
        // What Azure ML's own plugin for MLflow makes of it; only v2.0 takes a bearer token.
        "azureml" => Some((
            format!("https://{host}"),
            path.replacen("/mlflow/v1.0", "/mlflow/v2.0", 1),
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tracking_uris_become_a_root_and_a_path() {
        for (uri, expected) in [
            (
                "azureml://r.api.azureml.ms/mlflow/v1.0/subscriptions/s?x=y",
                Some(("https://r.api.azureml.ms", "/mlflow/v2.0/subscriptions/s")),
            ),
            (
                "http://127.0.0.1:5000/mlflow/v2.0/subscriptions/s/",
                Some(("http://127.0.0.1:5000", "/mlflow/v2.0/subscriptions/s")),
            ),
            (
                "https://mlflow.example",
                Some(("https://mlflow.example", "")),
            ),
            ("file:///tmp/mlruns", None),
            ("sqlite:///mlflow.db", None),
            ("databricks", None),
        ] {
            let expected = expected.map(|(root, path)| (root.to_owned(), path.to_owned()));
            assert_eq!(split_uri(uri), expected, "{uri}");
        }
    }

    #[test]
    fn debug_shows_no_token() {
        let tracking =
            Tracking::new("http://127.0.0.1:1", Some("secret".into()), "r".into()).unwrap();
        assert!(!format!("{tracking:?}").contains("secret"));
    }

    #[test]
    fn messages_of_both_kinds_are_read() {
        assert_eq!(message(r#"{"error":{"code":"c","message":"m"}}"#), "m");
        assert_eq!(message(r#"{"error_code":"c","message":"n"}"#), "n");
        assert_eq!(message("<html>"), "no reason given");
    }
}
