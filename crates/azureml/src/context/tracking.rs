//! The tracking service of the run of this process.

use crate::client::{blob, redirected};
use crate::env;
use crate::error::{Error, Result};
use crate::http::{self, Unread};
use crate::runtime;
use azureml_wire::error::ErrorResponse;
use azureml_wire::local;
use azureml_wire::mlflow::LogBatch;
use azureml_wire::routes::{encode, encode_path};
use azureml_wire::run_history::{ArtifactPath, ArtifactPaths, ArtifactUploads};
use reqwest::{Method, StatusCode};
use serde_json::Value;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

const AWAY: &str = "the training goes on; is the workspace that started this job still running?";
const REFUSED: &str = "the training goes on; the service's answer says what it did not like";

/// The waits between tries; about two minutes in total.
const PATIENT: [Duration; 8] = seconds([1, 2, 4, 8, 15, 30, 30, 30]);

const fn seconds<const N: usize>(seconds: [u64; N]) -> [Duration; N] {
    let mut durations = [Duration::ZERO; N];
    let mut index = 0;
    while index < N {
        durations[index] = Duration::from_secs(seconds[index]);
        index += 1;
    }
    durations
}

/// The address of the tracking service; cheap to clone.
#[derive(Clone)]
pub(super) struct Tracking {
    inner: Arc<Inner>,
}

struct Inner {
    http: reqwest::Client,
    run_id: String,
    /// The workspace's ARM path, for calls to run history; empty on a plain MLflow server.
    workspace: String,
    /// The path of the MLflow API below the root.
    mlflow: String,
    /// Scheme, host and port.
    root: String,
    token: Option<String>,
}

/// The failure of a call.
pub(super) enum Failed {
    /// The service refused the call; a retry is useless.
    Refused(Error),
    /// The service refused the content; of several records, others may be acceptable.
    Content(Error),
    /// The service is unavailable or busy.
    Away(Error),
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
    /// The tracking service of the job; `None` outside a job.
    pub(super) fn from_env() -> Option<Self> {
        let uri = env::var(env::MLFLOW_TRACKING_URI)?;
        let run_id = env::var(env::MLFLOW_RUN_ID).or_else(|| env::var(env::AZUREML_RUN_ID))?;
        let token = env::var(env::MLFLOW_TRACKING_TOKEN);
        let socket = env::var(local::env::SOCKET).map(PathBuf::from);
        Self::new(&uri, token, run_id, socket)
            .inspect_err(|error| eprintln!("warning: metrics are not sent: {error}"))
            .ok()
    }

    /// The service at `uri`; a local workspace listens on `socket`.
    pub(super) fn new(
        uri: &str,
        token: Option<String>,
        run_id: String,
        socket: Option<PathBuf>,
    ) -> Result<Self> {
        let (root, mlflow) = split_uri(uri).ok_or_else(|| Error::Tracking {
            call: "reading MLFLOW_TRACKING_URI".to_owned(),
            reason: "it is neither azureml://… nor http(s)://…".to_owned(),
            hint: "metrics can go to Azure ML, to the local workspace or to an MLflow server",
        })?;
        let workspace = mlflow
            .split_once("/mlflow/v2.0")
            .map_or("", |(_, workspace)| workspace)
            .to_owned();
        // The local workspace is reached only through its socket. While it is down, any process can
        // listen on its port and would receive the token. The path of the socket stays the same
        // when the workspace restarts on another port.
        let is_local = http::is_loopback(&root) && workspace == local::scope().to_string();
        let default = || Some(local::home()?.join(local::SOCKET_FILE));
        let http = match is_local.then(|| socket.or_else(default)).flatten() {
            Some(socket) => http::local(&socket)?,
            None => http::client(&root)?,
        };
        Ok(Self {
            inner: Arc::new(Inner {
                http,
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

    /// `POST runs/log-batch`, once. The call is idempotent: a point that arrives twice is stored
    /// once.
    pub(super) async fn log_batch(&self, what: &str, batch: &LogBatch) -> Result<(), Failed> {
        let path = format!("{}/api/2.0/mlflow/runs/log-batch", self.inner.mlflow);
        let body =
            serde_json::to_value(batch).map_err(|error| Failed::Refused(failed(what, error)))?;
        self.try_call(what, Method::POST, &path, &body)
            .await
            .map(drop)
    }

    /// Uploads a file to the artifacts of the run and waits for the end, also inside an async
    /// runtime.
    pub(super) fn upload(&self, name: &str, path: &Path) -> Result<()> {
        readable(name, path)?;
        let runtime = runtime::shared()?;
        std::thread::scope(|scope| {
            let upload = scope.spawn(|| runtime.block_on(self.put_artifact(name, path)));
            upload
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    async fn put_artifact(&self, name: &str, file: &Path) -> Result<()> {
        let call = format!("uploading {name}");
        if self.inner.workspace.is_empty() {
            // An MLflow server that serves artifacts itself.
            let experiment = self.experiment_id(&call).await?;
            let path = format!(
                "{}/api/2.0/mlflow-artifacts/artifacts/{experiment}/{}/artifacts/{}",
                self.inner.mlflow,
                encode(&self.inner.run_id),
                encode_path(name),
            );
            return self.put(&call, &path, file).await;
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
        let answer = self.call(&call, Method::POST, &path, &paths).await?;
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
        if !http::is_safe(&self.inner.root, &place.content_uri) {
            return Err(failed(&call, "the place for the file is not encrypted"));
        }
        blob::put_file(&self.inner.http, &call, &place.content_uri, file, |_| {}).await
    }

    async fn experiment_id(&self, call: &str) -> Result<String> {
        let path = format!(
            "{}/api/2.0/mlflow/runs/get?run_id={}",
            self.inner.mlflow,
            encode(&self.inner.run_id)
        );
        let answer = self.call(call, Method::GET, &path, &Value::Null).await?;
        let run: azureml_wire::mlflow::GetRun =
            serde_json::from_value(answer).map_err(|error| failed(call, error))?;
        Ok(run.run.info.experiment_id)
    }

    /// Sends a file to an MLflow server.
    async fn put(&self, call: &str, path: &str, file: &Path) -> Result<()> {
        let file = tokio::fs::File::open(file)
            .await
            .map_err(|error| failed(call, error))?;
        let mut request = self
            .inner
            .http
            .put(format!("{}{path}", self.inner.root))
            .body(file);
        if let Some(token) = &self.inner.token {
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

    /// Sends one call with a JSON body (none for `null`), with retries while the service is
    /// unavailable.
    async fn call(
        &self,
        what: &str,
        method: Method,
        path: &str,
        body: &impl serde::Serialize,
    ) -> Result<Value> {
        let body = serde_json::to_value(body).map_err(|error| failed(what, error))?;
        let mut waits = PATIENT.iter();
        loop {
            let error = match self.try_call(what, method.clone(), path, &body).await {
                Ok(answer) => return Ok(answer),
                Err(Failed::Refused(error) | Failed::Content(error)) => return Err(error),
                Err(Failed::Away(error)) => error,
            };
            let Some(wait) = waits.next() else {
                return Err(error);
            };
            tokio::time::sleep(*wait).await;
        }
    }

    async fn try_call(
        &self,
        what: &str,
        method: Method,
        path: &str,
        body: &Value,
    ) -> Result<Value, Failed> {
        let url = format!("{}{path}", self.inner.root);
        let mut request = self.inner.http.request(method, url);
        if !body.is_null() {
            request = request.json(body);
        }
        if let Some(token) = &self.inner.token {
            request = request.bearer_auth(token);
        }
        let response = request
            .send()
            .await
            .map_err(|error| Failed::Away(failed(what, http::describe(error))))?;
        let status = response.status();
        let headers = response.headers().clone();
        let text = http::read(response, http::ANSWER)
            .await
            .map_err(|unread| match unread {
                // The response would be as large after a retry.
                Unread::TooLarge(_) => Failed::Refused(failed(what, unread)),
                Unread::Lost(_) | Unread::TooSlow(_) => Failed::Away(failed(what, unread)),
            })?;
        if status.is_success() {
            return Ok(serde_json::from_slice(&text).unwrap_or(Value::Null));
        }
        let reason = if status.is_redirection() {
            format!("{status}: {}", redirected(&headers))
        } else {
            format!("{status}: {}", message(&text))
        };
        if is_transient(status) {
            return Err(Failed::Away(failed(what, reason)));
        }
        let error = Error::Tracking {
            call: what.to_owned(),
            reason,
            hint: REFUSED,
        };
        Err(if is_about_content(status) {
            Failed::Content(error)
        } else {
            Failed::Refused(error)
        })
    }
}

/// Checks that a file can be read, before anything is created for it.
pub(super) fn readable(name: &str, path: &Path) -> Result<()> {
    // The metadata comes first: opening a named pipe blocks until another process opens its other
    // end.
    let readable = path.metadata().and_then(|found| {
        if found.is_file() {
            std::fs::File::open(path).map(drop)
        } else if found.is_dir() {
            Err(std::io::ErrorKind::IsADirectory.into())
        } else {
            Err(std::io::Error::other("it is no file"))
        }
    });
    readable.map_err(|error| Error::Tracking {
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

/// Whether a status refuses the content, and not the caller or the address.
fn is_about_content(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::BAD_REQUEST
            | StatusCode::CONFLICT
            | StatusCode::PAYLOAD_TOO_LARGE
            | StatusCode::UNPROCESSABLE_ENTITY
    )
}

/// The message in the body of an error, of Azure (`{"error": {…}}`) or of MLflow
/// (`{"error_code", "message"}`).
fn message(body: &[u8]) -> String {
    if let Ok(error) = serde_json::from_slice::<ErrorResponse>(body) {
        return error.error.message;
    }
    serde_json::from_slice::<Value>(body)
        .ok()
        .and_then(|body| Some(body.get("message")?.as_str()?.to_owned()))
        .unwrap_or_else(|| "no reason given".to_owned())
}

/// The root of a tracking URI (scheme, host, port) and the path of `/api/2.0/mlflow` below it.
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
        // The same conversion as in Azure ML's MLflow plugin; only v2.0 accepts a bearer token.
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
    use crate::hostile::{ELSEWHERE, REDIRECTS, Server};

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
        let tracking = Tracking::new(
            "http://127.0.0.1:1",
            Some("secret".into()),
            "r".into(),
            None,
        )
        .unwrap();
        assert!(!format!("{tracking:?}").contains("secret"));
    }

    #[tokio::test]
    async fn a_run_token_is_not_sent_to_whoever_listens_on_the_port() {
        let impostor = Server::status("127.0.0.1", "200 OK", "");
        let home = tempfile::tempdir().unwrap();
        let uri = format!("{}/mlflow/v2.0{}", impostor.url, local::scope());
        let socket = home.path().join(local::SOCKET_FILE);
        let tracking = Tracking::new(&uri, Some("secret".into()), "r".into(), Some(socket));
        let tracking = tracking.unwrap();
        let sent = tracking.log_batch("x", &LogBatch::default()).await;
        assert!(matches!(sent, Err(Failed::Away(_))));
        assert_eq!(impostor.heard(), "");
    }

    #[tokio::test]
    async fn a_run_token_follows_no_redirect() {
        for host in ELSEWHERE {
            let thief = Server::status(host, "200 OK", "");
            for status in REDIRECTS {
                let server = Server::redirect(status, &thief.url);
                let tracking = Tracking::new(&server.url, Some("secret".into()), "r".into(), None);
                let tracking = tracking.unwrap();
                let Err(Failed::Refused(error)) =
                    tracking.log_batch("x", &LogBatch::default()).await
                else {
                    panic!("it is refused");
                };
                assert!(error.to_string().contains("it redirects to"), "{error}");
                assert!(server.heard().contains("Bearer secret"));
            }
            assert_eq!(thief.heard(), "");
        }
    }

    #[tokio::test]
    async fn an_answer_to_a_program_has_a_limit() {
        let server = Server::endless("200 OK");
        let tracking = Tracking::new(&server.url, None, "r".into(), None).unwrap();
        let sent = tracking.log_batch("x", &LogBatch::default()).await;
        let Err(Failed::Refused(error)) = sent else {
            panic!("it is not read on");
        };
        assert!(error.to_string().contains("is larger than"), "{error}");
    }

    #[test]
    fn a_named_pipe_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        assert!(readable("x", &pipe).is_err());
    }

    #[test]
    fn messages_of_both_kinds_are_read() {
        assert_eq!(message(br#"{"error":{"code":"c","message":"m"}}"#), "m");
        assert_eq!(message(br#"{"error_code":"c","message":"n"}"#), "n");
        assert_eq!(message(b"<html>"), "no reason given");
    }
}
