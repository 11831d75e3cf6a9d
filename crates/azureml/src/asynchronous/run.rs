//! A run: one execution of a job.

use super::Workspace;
use crate::client::pages::Pages;
use crate::client::retry::Retry;
use crate::client::{Call, blob};
use crate::error::{Error, Result};
use crate::near::{did_you_mean, near};
use crate::run::log::{self, Tail, is_first, is_log};
use crate::run::{FileList, Metric, Metrics, Point, RunDetails, RunFile};
use crate::show::{self, Card, Cell, List, Row};
use azureml_wire::Bag;
use azureml_wire::arm::{Resource, last_part};
use azureml_wire::job::{Job, JobStatus};
use azureml_wire::mlflow;
use azureml_wire::run_history::{self, ArtifactContent, ArtifactPage, ModifyRun};
use azureml_wire::sweep::Objective;
use chrono::{DateTime, Utc};
use futures::{StreamExt, TryStreamExt};
use notebook::{Display, MimeBundle};
use reqwest::Method;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// The number of values of one metric in a page.
const PAGE: &str = "1000";
/// Concurrent requests for metrics and files.
const PARALLEL: usize = 8;

/// One execution of a job; cheap to clone.
#[derive(Debug, Clone)]
pub struct Run {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    workspace: Workspace,
    id: String,
    experiment: String,
    display_name: Option<String>,
    compute: Option<String>,
    created_at: Option<DateTime<Utc>>,
    studio: Option<String>,
    /// The id of the parent run, if known.
    parent: Option<String>,
    /// The objective of a sweep, by which its trials are compared.
    objective: Option<Objective>,
    /// The status at the last request.
    status: Mutex<JobStatus>,
}

impl Run {
    pub(crate) fn from_resource(workspace: &Workspace, id: &str, job: Resource<Job>) -> Self {
        let created_at = job.system_data.and_then(|data| data.created_at);
        let mut objective = None;
        let (experiment, display_name, compute, services, status) = match job.properties {
            Job::Command(job) => (
                job.experiment_name,
                job.display_name,
                job.compute_id,
                job.services,
                job.status,
            ),
            Job::Sweep(job) => {
                objective = Some(job.objective);
                (
                    job.experiment_name,
                    job.display_name,
                    job.compute_id,
                    job.services,
                    job.status,
                )
            }
            Job::Other => Default::default(),
        };
        let studio = services
            .and_then(|mut services| services.remove("Studio")?.endpoint)
            .map(without_secrets);
        Self {
            inner: Arc::new(Inner {
                workspace: workspace.clone(),
                id: id.to_owned(),
                experiment: experiment.unwrap_or_else(|| "Default".to_owned()),
                display_name,
                compute: compute.map(|id| last_part(&id).to_owned()),
                created_at,
                studio,
                parent: None,
                objective,
                status: Mutex::new(status.unwrap_or(JobStatus::Unknown)),
            }),
        }
    }

    /// Creates a run from a response of run history, which does not contain the name of the
    /// experiment.
    pub(super) fn from_history(
        workspace: &Workspace,
        experiment: &str,
        run: run_history::Run,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                workspace: workspace.clone(),
                id: run.run_id,
                experiment: experiment.to_owned(),
                display_name: run.display_name,
                compute: run.target,
                created_at: run.created_utc,
                studio: None,
                parent: run.parent_run_id,
                objective: None,
                status: Mutex::new(run.status),
            }),
        }
    }

    /// The id of the run, which is the name of the job.
    pub fn id(&self) -> &str {
        &self.inner.id
    }

    /// The experiment of the run.
    pub fn experiment_name(&self) -> &str {
        &self.inner.experiment
    }

    /// The display name.
    pub fn display_name(&self) -> &str {
        self.inner.display_name.as_deref().unwrap_or(&self.inner.id)
    }

    /// The URL of the run's page in Studio.
    pub fn portal_url(&self) -> Option<&str> {
        self.inner.studio.as_deref()
    }

    /// The workspace of the run.
    pub fn workspace(&self) -> &Workspace {
        &self.inner.workspace
    }

    /// The id of the parent run, if known.
    pub(super) fn known_parent(&self) -> Option<&str> {
        self.inner.parent.as_deref()
    }

    /// The objective of a sweep, by which its trials are compared.
    pub(super) fn known_objective(&self) -> Option<&Objective> {
        self.inner.objective.as_ref()
    }

    /// The status at the last request.
    pub fn last_status(&self) -> JobStatus {
        // No code panics while it holds the lock.
        *self
            .inner
            .status
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Requests the current status.
    pub async fn status(&self) -> Result<JobStatus> {
        Ok(self.wire_details().await?.status)
    }

    /// Requests the details: the current status, its time and, for a failed run, the reason.
    pub async fn details(&self) -> Result<RunDetails> {
        Ok(RunDetails::from(&self.wire_details().await?))
    }

    pub(crate) async fn wire_details(&self) -> Result<run_history::RunDetails> {
        let what = format!("reading run `{}`", self.id());
        let path = self.scope().run_history(self.id(), "/details");
        let details: run_history::RunDetails = self
            .client()
            .read(Call::data(&what, Method::GET, path))
            .await?;
        *self
            .inner
            .status
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = details.status;
        Ok(details)
    }

    /// The complete log so far. With several processes, their logs follow one another, each under
    /// its name.
    pub async fn logs(&self) -> Result<String> {
        let details = self.wire_details().await?;
        let all = logs_that(&details, is_log);
        let mut logs = String::new();
        for (name, url) in &all {
            let what = format!("reading {name} of run `{}`", self.id());
            let retry = || Retry::new(&what);
            // A log may grow faster than it is read, so only the size at the start is read.
            let size = log::size(self.client(), retry(), url).await?;
            if size > log::WHOLE {
                return Err(Error::invalid(
                    format!(
                        "{name} of run `{}` has {}, too much for one text",
                        self.id(),
                        show::bytes(size)
                    ),
                    format!("save it with `run.download_file(\"{name}\", \"log.txt\")`"),
                ));
            }
            let mut tail = Tail::default();
            let mut text = String::new();
            while tail.offset() < size {
                let bytes = tail.read(self.client(), retry(), url).await?;
                if bytes.is_empty() {
                    break;
                }
                text.push_str(&tail.push(&bytes));
            }
            text.push_str(&tail.finish());
            add_log(&mut logs, all.len(), name, &text);
        }
        Ok(logs)
    }

    /// The last `most` bytes of the log of the first process; a log that cannot be read is omitted.
    pub(crate) async fn log_ends(&self, details: &run_history::RunDetails, most: u64) -> String {
        let first = logs_that(details, is_first);
        let mut logs = String::new();
        for (name, url) in &first {
            let retry = || Retry::brief("reading the end of a log");
            let Ok(size) = log::size(self.client(), retry(), url).await else {
                continue;
            };
            let mut tail = Tail::from(size.saturating_sub(most));
            let bytes = tail.read(self.client(), retry(), url).await;
            let bytes = bytes.unwrap_or_default();
            let text = String::from_utf8_lossy(&bytes);
            add_log(&mut logs, first.len(), name, &text);
        }
        logs
    }

    /// Reads the metrics of the run, with all values.
    pub async fn metrics(&self) -> Result<Metrics> {
        let what = format!("reading the metrics of run `{}`", self.id());
        let names = self.metric_names(&what, self.id()).await?;
        let metrics: Vec<Metric> = futures::stream::iter(names)
            .map(|name| self.metric(&what, self.id(), name))
            .buffered(PARALLEL)
            .try_collect()
            .await?;
        Ok(Metrics::new(metrics))
    }

    pub(super) async fn metric_names(&self, what: &str, run: &str) -> Result<Vec<String>> {
        let call =
            Call::data(what, Method::GET, self.scope().mlflow("runs/get")).query("run_id", run);
        let found: mlflow::GetRun = self.client().read(call).await?;
        let metrics = found.run.data.metrics.into_iter();
        Ok(metrics.map(|metric| metric.key).collect())
    }

    pub(super) async fn metric(&self, what: &str, run: &str, name: String) -> Result<Metric> {
        let mut points = Vec::new();
        let mut pages = Pages::new(what);
        let mut token = None;
        loop {
            let mut call = Call::data(
                what,
                Method::GET,
                self.scope().mlflow("metrics/get-history"),
            )
            .query("run_id", run)
            .query("metric_key", &name)
            .query("max_results", PAGE);
            if let Some(token) = token.take() {
                call = call.query("page_token", token);
            }
            let next = |page: &mut mlflow::MetricHistory| page.next_page_token.take();
            let (page, next) = self.client().read_page(&mut pages, call, next).await?;
            points.extend(page.metrics.iter().map(|metric| Point {
                step: metric.step,
                value: metric.value,
                time: DateTime::from_timestamp_millis(metric.timestamp).unwrap_or_default(),
            }));
            token = next;
            if token.is_none() || page.metrics.is_empty() {
                return Ok(Metric { name, points });
            }
        }
    }

    /// Lists the files of the run: outputs and logs.
    pub async fn file_names(&self) -> Result<FileList> {
        let what = format!("listing the files of run `{}`", self.id());
        let path = self
            .scope()
            .artifacts(self.experiment_name(), self.id(), "");
        let mut files = Vec::new();
        let mut pages = Pages::new(&what);
        let mut token = None;
        loop {
            let mut call = Call::data(&what, Method::GET, path.clone());
            if let Some(token) = token.take() {
                call = call.query("continuationToken", token);
            }
            let next = |page: &mut ArtifactPage| page.continuation_token.take();
            let (page, next) = self.client().read_page(&mut pages, call, next).await?;
            let is_last = page.value.is_empty();
            files.extend(page.value.into_iter().map(|artifact| RunFile {
                path: artifact.path,
                size: artifact.content_length,
            }));
            token = next;
            if token.is_none() || is_last {
                return Ok(files.into());
            }
        }
    }

    /// Downloads one file to `to`, or into `to` if that is a folder, and returns its path.
    pub async fn download_file(&self, name: &str, to: impl AsRef<Path>) -> Result<PathBuf> {
        let files = self.file_names().await?;
        if !files.iter().any(|file| file.path == name) {
            return Err(self.no_file(name, &files));
        }
        let to = to.as_ref();
        let is_folder = to.is_dir() || to.as_os_str().to_string_lossy().ends_with('/');
        let to = if is_folder {
            to.join(name.rsplit('/').next().unwrap_or(name))
        } else {
            to.to_owned()
        };
        self.fetch(name, &to).await?;
        Ok(to)
    }

    /// Downloads all files whose names begin with `prefix` into the folder `to`, with the same
    /// relative paths, and returns their paths.
    pub async fn download_files(
        &self,
        prefix: &str,
        to: impl AsRef<Path>,
    ) -> Result<List<PathBuf>> {
        let to = to.as_ref();
        let files = self.file_names().await?;
        let wanted: Vec<&RunFile> = files
            .iter()
            .filter(|file| is_below(&file.path, prefix))
            .collect();
        if wanted.is_empty() {
            return Err(self.no_file(prefix, &files));
        }
        futures::stream::iter(wanted)
            .map(|file| async move {
                let path = inside(to, &file.path)?;
                self.fetch(&file.path, &path).await?;
                Ok(path)
            })
            .buffered(PARALLEL)
            .try_collect::<Vec<_>>()
            .await
            .map(List::from)
    }

    /// Downloads a file to `to` atomically: the file appears complete or not at all.
    pub(super) async fn fetch(&self, name: &str, to: &Path) -> Result<()> {
        let what = format!("downloading {name} of run `{}`", self.id());
        let path = self
            .scope()
            .artifacts(self.experiment_name(), self.id(), "/contentinfo");
        let call = Call::data(&what, Method::GET, path).query("path", name);
        let content: ArtifactContent = self.client().read(call).await?;
        blob::download(self.client(), &what, &content.content_uri, to)
            .await
            .map(drop)
    }

    pub(super) fn no_file(&self, name: &str, files: &FileList) -> Error {
        let near = near(name, files.iter().map(|file| file.path.as_str()));
        let hint = match near.as_slice() {
            [] => {
                "`run.file_names()` shows them; outputs are there when the run has ended".to_owned()
            }
            near => did_you_mean(near),
        };
        Error::invalid(format!("run `{}` has no file {name}", self.id()), hint)
    }

    /// Sets a tag.
    pub async fn tag(&self, name: &str, value: &str) -> Result<()> {
        let what = format!("tagging run `{}`", self.id());
        let change = ModifyRun {
            tags: Some(Bag::from([(name.to_owned(), value.to_owned())])),
            properties: None,
        };
        let path = self.scope().run_history(self.id(), "");
        self.client()
            .send(Call::data(&what, Method::PATCH, path).json(&change))
            .await
            .map(drop)
    }

    /// Reads the tags.
    pub async fn tags(&self) -> Result<Bag> {
        Ok(self.history().await?.tags)
    }

    pub(super) async fn history(&self) -> Result<run_history::Run> {
        let what = format!("reading run `{}`", self.id());
        let path = self.scope().run_history(self.id(), "");
        self.client()
            .read(Call::data(&what, Method::GET, path))
            .await
    }

    /// Requests cancellation; [`wait_for_completion`](Self::wait_for_completion) waits until the
    /// run has ended.
    pub async fn cancel(&self) -> Result<()> {
        let status = self.status().await?;
        if status.is_terminal() {
            return Err(Error::invalid(
                format!("run `{}` has ended already: it is {status}", self.id()),
                "there is nothing to cancel",
            ));
        }
        let what = format!("canceling run `{}`", self.id());
        let path = self.scope().path(["jobs", self.id(), "cancel"]);
        let asked = self
            .client()
            .send(Call::management(&what, Method::POST, path))
            .await;
        match asked {
            Ok(_) => Ok(()),
            // The first request may have succeeded with its response lost: then the run is already
            // canceled.
            Err(error) if matches!(error.status(), Some(400 | 409)) => match self.status().await? {
                JobStatus::Canceled | JobStatus::CancelRequested => Ok(()),
                _ => Err(error),
            },
            Err(error) => Err(error),
        }
    }

    pub(super) fn client(&self) -> &crate::client::Client {
        self.inner.workspace.client()
    }

    pub(super) fn scope(&self) -> &azureml_wire::routes::WorkspaceScope {
        self.client().scope()
    }

    /// The card of the run, with its metrics or trials below.
    pub(crate) fn card_with(&self, more: &impl Display) -> MimeBundle {
        let card = self.card().mime_bundle();
        let more = more.mime_bundle();
        let both = |kind: &str, joint: &str| {
            let text = |bundle: &MimeBundle| {
                bundle
                    .get(kind)
                    .and_then(|form| form.as_str())
                    .unwrap_or_default()
                    .to_owned()
            };
            text(&card) + joint + &text(&more)
        };
        MimeBundle::new()
            .text(both("text/plain", "\n\n"))
            .html(both("text/html", r#"<div style="height:8px"></div>"#))
    }

    fn card(&self) -> Card {
        let kind = if self.is_sweep() { "Sweep" } else { "Run" };
        let mut card = Card::new(kind, self.display_name())
            .row("Experiment", Cell::text(self.experiment_name()))
            .row("Id", Cell::Code(self.id().to_owned()))
            .row("Status", Cell::Status(self.last_status()))
            .optional("Compute", self.inner.compute.as_deref());
        if let Some(url) = self.portal_url() {
            card = card.row("Web view", Cell::Link(url.to_owned()));
        }
        card
    }
}

/// The logs whose names satisfy `are`, each with its URL.
fn logs_that(
    details: &run_history::RunDetails,
    are: impl Fn(&str) -> bool,
) -> Vec<(&String, &String)> {
    details
        .log_files
        .iter()
        .filter(|(name, _)| are(name))
        .collect()
}

/// Appends a log, under its name when there is more than one.
fn add_log(logs: &mut String, count: usize, name: &str, text: &str) {
    if count > 1 {
        // Writing to a String cannot fail.
        let _ = writeln!(logs, "==> {name} <==");
    }
    logs.push_str(text);
}

/// Whether a path begins with `prefix`: the file itself, a file in that folder, or a longer name.
pub(super) fn is_below(path: &str, prefix: &str) -> bool {
    path.starts_with(prefix.trim_start_matches('/'))
}

/// The path of a file below `folder`. A file name from the service must not lead out of the folder.
pub(super) fn inside(folder: &Path, name: &str) -> Result<PathBuf> {
    let is_plain = Path::new(name)
        .components()
        .all(|part| matches!(part, std::path::Component::Normal(_)));
    if is_plain {
        Ok(folder.join(name))
    } else {
        Err(Error::invalid(
            format!("the file name {name} leads out of the folder"),
            "download it alone, with `download_file`, under a name of your own",
        ))
    }
}

/// A link to a page. Its query is removed when it contains a secret.
fn without_secrets(url: String) -> String {
    match reqwest::Url::parse(&url) {
        Ok(parsed)
            if parsed
                .query_pairs()
                .any(|(name, _)| matches!(&*name, "token" | "sig" | "code")) =>
        {
            url.split('?').next().unwrap_or_default().to_owned()
        }
        _ => url,
    }
}

impl Row for Run {
    const NOUN: &'static str = "runs";
    const HEADERS: &'static [&'static str] = &["Id", "Name", "Status", "Compute", "Submitted"];

    fn cells(&self) -> Vec<Cell> {
        let name = if self.display_name() == self.id() {
            ""
        } else {
            self.display_name()
        };
        let time = self
            .inner
            .created_at
            .map(|time| time.format("%Y-%m-%d %H:%M:%S UTC").to_string());
        vec![
            Cell::Code(self.id().to_owned()),
            Cell::text(name),
            Cell::Status(self.last_status()),
            Cell::text(self.inner.compute.as_deref().unwrap_or_default()),
            Cell::text(time.unwrap_or_default()),
        ]
    }
}

impl Display for Run {
    fn mime_bundle(&self) -> MimeBundle {
        self.card().mime_bundle()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_from_the_service_stay_in_the_folder() {
        let folder = Path::new("out");
        assert_eq!(
            inside(folder, "outputs/a.txt").unwrap(),
            Path::new("out/outputs/a.txt")
        );
        for name in ["../x", "/etc/passwd", "a/../../x"] {
            assert!(inside(folder, name).is_err(), "{name}");
        }
    }

    #[test]
    fn links_keep_no_secrets() {
        let kept = "https://ml.azure.com/runs/r?wsid=/subscriptions/s&tid=t".to_owned();
        assert_eq!(without_secrets(kept.clone()), kept);
        assert_eq!(
            without_secrets("http://127.0.0.1:1/runs/r?token=t".to_owned()),
            "http://127.0.0.1:1/runs/r"
        );
    }
}
