//! Child runs: the trials of a sweep, and the runs that programs start within their own run.

use super::Run;
use crate::client::Call;
use crate::client::pages::Pages;
use crate::error::{Error, Result};
use crate::run::{Point, Trial, Trials};
use azureml_wire::job::JobStatus;
use azureml_wire::run_history::{self, RunPage};
use azureml_wire::sweep::{BEST_CHILD, HYPERPARAMETERS, Objective};
use futures::{StreamExt, TryStreamExt};
use reqwest::Method;

/// Concurrent requests for the metrics of trials.
const PARALLEL: usize = 8;

impl Run {
    /// Lists the child runs in the order of their creation: the trials of a sweep, and the runs
    /// that programs start within their own run.
    pub async fn children(&self) -> Result<Vec<Self>> {
        let children = self.wire_children().await?.into_iter();
        let experiment = self.experiment_name();
        Ok(children
            .map(|child| Self::from_history(self.workspace(), experiment, child))
            .collect())
    }

    async fn wire_children(&self) -> Result<Vec<run_history::Run>> {
        let what = format!("listing the children of run `{}`", self.id());
        let path = self.scope().run_history(self.id(), "/children");
        let mut all = Vec::new();
        let mut pages = Pages::new(&what);
        let mut token = None;
        loop {
            let mut call = Call::data(&what, Method::GET, path.clone());
            if let Some(token) = token.take() {
                call = call.query("$continuationToken", token);
            }
            let next = |page: &mut RunPage| page.continuation_token.take();
            let (page, next) = self.client().read_page(&mut pages, call, next).await?;
            let is_last = page.value.is_empty();
            all.extend(page.value);
            token = next;
            if token.is_none() || is_last {
                return Ok(all);
            }
        }
    }

    /// The parent run, if any.
    pub async fn parent(&self) -> Result<Option<Self>> {
        let parent = match self.known_parent() {
            Some(parent) => Some(parent.to_owned()),
            None => self.history().await?.parent_run_id,
        };
        match parent {
            Some(parent) => self.workspace().run(&parent).await.map(Some),
            None => Ok(None),
        }
    }

    /// Whether the run is a sweep, whose trials are its child runs.
    pub fn is_sweep(&self) -> bool {
        self.known_objective().is_some()
    }

    fn objective(&self) -> Result<&Objective> {
        self.known_objective().ok_or_else(|| {
            Error::invalid(
                format!("run `{}` is no sweep and has no trials", self.id()),
                "`run.children()` gives what belongs to it; `Run::get(&ws, id)` the sweep by its own id",
            )
        })
    }

    /// The trials of a sweep so far, each with its values of the primary metric.
    pub async fn trials(&self) -> Result<Trials> {
        let none = self.no_trials()?;
        self.trials_since(&none, true).await
    }

    pub(crate) fn no_trials(&self) -> Result<Trials> {
        Ok(Trials {
            objective: self.objective()?.clone(),
            trials: Vec::new(),
        })
    }

    /// The current trials, given those of the previous call as `known`: values of a trial that has
    /// ended are reused. The metrics of running trials cost one request each; they are read only
    /// when `all` is set.
    pub(crate) async fn trials_since(&self, known: &Trials, all: bool) -> Result<Trials> {
        let objective = self.objective()?;
        let children = self.wire_children().await?;
        let trials = futures::stream::iter(children)
            .map(|child| async move {
                let known = known.iter().find(|trial| trial.id == child.run_id);
                let may_have_logged = !matches!(
                    child.status,
                    JobStatus::NotStarted | JobStatus::Queued | JobStatus::Preparing
                );
                let is_new = known.is_none_or(|known| known.status != child.status);
                let is_asked = may_have_logged
                    && if child.status.is_terminal() {
                        is_new
                    } else {
                        all
                    };
                let values = if is_asked {
                    self.values_of(&child.run_id, &objective.primary_metric)
                        .await?
                } else {
                    known.map(|known| known.values.clone()).unwrap_or_default()
                };
                let parameters = child.tags.get(HYPERPARAMETERS);
                Ok(Trial {
                    parameters: parameters
                        .and_then(|text| serde_json::from_str(text).ok())
                        .unwrap_or_default(),
                    best: objective.goal.best(values.iter().map(|point| point.value)),
                    status: child.status,
                    id: child.run_id,
                    values,
                })
            })
            .buffered(PARALLEL)
            .try_collect()
            .await?;
        Ok(Trials {
            objective: objective.clone(),
            trials,
        })
    }

    /// The values of one metric of a run; empty when the run has not logged it.
    async fn values_of(&self, run: &str, name: &str) -> Result<Vec<Point>> {
        let what = format!("reading metric {name} of run `{run}`");
        let names = self.metric_names(&what, run).await?;
        if !names.iter().any(|known| known == name) {
            return Ok(Vec::new());
        }
        let metric = self.metric(&what, run, name.to_owned()).await?;
        Ok(metric.points)
    }

    /// The best trial of a sweep so far, as chosen by the service; `None` until a trial has logged
    /// the primary metric.
    pub async fn best_child(&self) -> Result<Option<Self>> {
        self.objective()?;
        match self.wire_details().await?.properties.get(BEST_CHILD) {
            Some(best) => self.workspace().run(best).await.map(Some),
            None => Ok(None),
        }
    }
}
