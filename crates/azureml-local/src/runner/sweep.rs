//! Drives a sweep to its end: submits its trials, and ends those that the policy stops.
//!
//! The state of a sweep is in the store: its trials are its children, with its name and a number.

use super::failure::Failure;
use crate::duration;
use crate::error::{Error, Result};
use crate::store::job::{self, Job, NewJob};
use crate::store::mlflow;
use crate::workspace::queue::Waiting;
use crate::workspace::sweep::draw::{self, Trial};
use crate::workspace::sweep::policy::{self, Course};
use crate::workspace::sweep::trial;
use crate::workspace::{Workspace, job as jobs, output};
use azureml_wire::Bag;
use azureml_wire::job::JobStatus;
use azureml_wire::sweep::{BEST_CHILD, BEST_SCORE, HYPERPARAMETERS, SweepJob};
use chrono::Utc;
use serde_json::json;
use std::time::Duration;
use tokio::sync::watch;

/// The polling interval for running trials, if the sweep has an early termination policy.
const LOOK: Duration = Duration::from_millis(500);
/// The limit that returns all values of a metric.
const EVERY: usize = i64::MAX as usize;
/// The pause before a failed step is retried.
const PAUSE: Duration = Duration::from_secs(1);

/// The state of a sweep.
struct Standing {
    job: Job,
    children: Vec<Child>,
}

/// A submitted trial.
struct Child {
    name: String,
    status: JobStatus,
    /// The error message of a failed trial.
    error: Option<String>,
    /// The best value of the primary metric.
    best: Option<f64>,
    /// All values of the primary metric, if the sweep has an early termination policy.
    course: Course,
}

/// Runs a sweep to its end.
pub async fn drive(app: &Workspace, name: &str, mut canceled: watch::Receiver<bool>) {
    let mut ends = app.scheduling.ends();
    let mut heard = false;
    loop {
        // A trial that ends after this line triggers the next step.
        ends.mark_unchanged();
        let next = match step(app, name).await {
            Ok(Step::Ended(status, failure)) => {
                super::end(app, name, status, failure).await;
                return;
            }
            Ok(Step::Waits(next)) => next,
            Err(error) => {
                tracing::error!(sweep = name, %error, "a step could not be taken");
                Some(PAUSE)
            }
        };
        let time = async {
            match next {
                Some(next) => tokio::time::sleep(next).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            // The sender lives as long as the queue.
            _ = ends.changed() => {}
            // The cancellation is handled once: `wait_for` would return at once each time.
            _ = canceled.wait_for(|asked| *asked), if !heard => heard = true,
            () = time => {}
        }
    }
}

/// The result of a step.
enum Step {
    /// The sweep waits for the end of a trial, or for this time.
    Waits(Option<Duration>),
    /// The sweep has ended.
    Ended(JobStatus, Option<Failure>),
}

/// Cancels and submits trials until the sweep must wait.
async fn step(app: &Workspace, name: &str) -> Result<Step> {
    let (sweep, Standing { job, children }) = standing(app, name).await?;
    let trials = draw::trials(&sweep)?;
    let open: Vec<&Child> = children
        .iter()
        .filter(|child| !child.status.is_terminal())
        .collect();
    note_best(app, &job, &sweep, &children).await?;

    let limits = sweep.limits.clone().unwrap_or_default();
    let left = time_left(&job, limits.timeout.as_deref());
    if job.status == JobStatus::CancelRequested || left == Some(Duration::ZERO) {
        for child in &open {
            end_early(app, &child.name).await?;
        }
        if !open.is_empty() {
            return Ok(Step::Waits(None));
        }
        if job.status != JobStatus::CancelRequested {
            let warning = format!(
                "the sweep took longer than its timeout of {}, and its last trials were canceled",
                limits.timeout.unwrap_or_default()
            );
            warn(app, name, warning).await?;
        }
        return Ok(Step::Ended(JobStatus::Canceled, None));
    }
    advance(app, name, JobStatus::Running).await?;

    let at_once = limits
        .max_concurrent_trials
        .map_or(usize::MAX, |most| most as usize);
    let mut count = open.len();
    for (number, values) in trials.iter().enumerate().skip(children.len()) {
        if count >= at_once {
            break;
        }
        if let Some(failure) = submit(app, &job, &sweep, number, values).await? {
            for child in &open {
                end_early(app, &child.name).await?;
            }
            return Ok(Step::Ended(JobStatus::Failed, Some(failure)));
        }
        count += 1;
    }
    if count == 0 {
        return Ok(ended(&children));
    }
    let policy = sweep.early_termination.as_ref();
    if let Some(policy) = policy {
        let courses: Vec<&Course> = children.iter().map(|child| &child.course).collect();
        for child in &open {
            if child.status == JobStatus::Running
                && policy::ends(policy, sweep.objective.goal, &child.course, &courses)
            {
                tracing::info!(sweep = name, trial = child.name, "ended early");
                end_early(app, &child.name).await?;
            }
        }
    }
    let look = policy.map(|_| LOOK);
    Ok(Step::Waits(match (left, look) {
        (Some(left), Some(look)) => Some(left.min(look)),
        (left, look) => left.or(look),
    }))
}

async fn standing(app: &Workspace, name: &str) -> Result<(SweepJob, Standing)> {
    let name = name.to_owned();
    app.db(move |store| {
        let job = job::get(store, &name)?
            .ok_or_else(|| Error::Internal("a sweep got lost".to_owned()))?;
        let Some(sweep) = job.sweep().cloned() else {
            return Err(Error::Internal(format!("{name} is no sweep")));
        };
        let metric = &sweep.objective.primary_metric;
        let is_trial = |child: &Job| {
            let number = child
                .name
                .strip_prefix(&name)
                .map(|rest| rest.strip_prefix('_'));
            number
                .flatten()
                .is_some_and(|number| number.parse::<usize>().is_ok())
        };
        let mut children = Vec::new();
        for child in job::children(store, &name)?.into_iter().filter(is_trial) {
            let best = mlflow::best(store, &child.name, metric, sweep.objective.goal)?;
            let course = if sweep.early_termination.is_some() {
                let all = mlflow::metric_history(store, &child.name, metric, 0, EVERY)?;
                all.into_iter().map(|(_, metric)| metric.value).collect()
            } else {
                Course::new()
            };
            children.push(Child {
                best,
                course,
                error: child.error_message().map(str::to_owned),
                status: child.status,
                name: child.name,
            });
        }
        Ok((sweep, Standing { job, children }))
    })
    .await
}

/// Submits a trial as a job; returns a failure if its name is taken.
async fn submit(
    app: &Workspace,
    sweep_job: &Job,
    sweep: &SweepJob,
    number: usize,
    values: &Trial,
) -> Result<Option<Failure>> {
    let name = format!("{}_{number}", sweep_job.name);
    let mut properties = serde_json::to_value(trial(sweep, values))?;
    properties["jobType"] = json!("Command");
    properties["displayName"] = json!(name);
    output::resolve_all(&mut properties, &name)?;
    if let Some(members) = properties.as_object_mut() {
        members.remove("experimentName");
    }
    let tags = Bag::from([(HYPERPARAMETERS.to_owned(), json!(values).to_string())]);
    let (parent, experiment) = (sweep_job.name.clone(), sweep_job.experiment.clone());
    let child = name.clone();
    let made = app
        .db(move |store| {
            if mlflow::get_run(store, &child)?.is_some() {
                return Ok(None);
            }
            job::insert(
                store,
                &NewJob {
                    name: &child,
                    display_name: &child,
                    experiment: &experiment,
                    properties: &properties,
                    tags: &tags,
                    parent: Some(&parent),
                },
            )?;
            job::get(store, &child)
        })
        .await;
    let made = match made {
        // The experiment has been deleted meanwhile.
        Err(Error::Invalid { message, .. }) => {
            return Ok(Some(Failure::user(format!(
                "the trial {name} could not be made: {message}"
            ))));
        }
        made => made?,
    };
    let Some(made) = made else {
        return Ok(Some(Failure::user(format!(
            "the trial {name} could not be made: another run has that name\n\
             hint: submit the sweep under another name"
        ))));
    };
    tracing::info!(sweep = sweep_job.name, trial = name, "submitted");
    let waiting = Waiting::of(&made);
    app.scheduling.change(|queue| queue.submit(waiting));
    Ok(None)
}

/// Requests the cancellation of a trial; has no effect on a trial that has ended.
async fn end_early(app: &Workspace, name: &str) -> Result<()> {
    match jobs::request_cancel(app, name.to_owned()).await {
        // The trial has ended meanwhile.
        Err(Error::Conflict { .. }) => Ok(()),
        asked => asked,
    }
}

/// The final status of a sweep whose trials have all ended.
fn ended(children: &[Child]) -> Step {
    let failed = |child: &&Child| child.status == JobStatus::Failed;
    let count = children.iter().filter(failed).count();
    if count < children.len() || children.is_empty() {
        return Step::Ended(JobStatus::Completed, None);
    }
    let first = children.iter().find(failed);
    let reason = first
        .and_then(|child| child.error.as_deref())
        .unwrap_or("it gave no reason");
    let name = first.map(|child| child.name.as_str()).unwrap_or_default();
    let failure = Failure::user(format!(
        "all of its {count} trials failed; {name}: {reason}"
    ));
    Step::Ended(JobStatus::Failed, Some(failure))
}

/// Stores the best trial so far.
async fn note_best(app: &Workspace, job: &Job, sweep: &SweepJob, children: &[Child]) -> Result<()> {
    let goal = sweep.objective.goal;
    let mut best: Option<(&str, f64)> = None;
    for child in children {
        let Some(value) = child.best else {
            continue;
        };
        if child.status != JobStatus::Failed
            && best.is_none_or(|(_, other)| goal.is_better(value, other))
        {
            best = Some((&child.name, value));
        }
    }
    let Some((child, value)) = best else {
        return Ok(());
    };
    let score = value.to_string();
    let known = job.own_properties();
    let is_known = |key: &str, value: &str| {
        known.and_then(|known| known.get(key)).map(String::as_str) == Some(value)
    };
    if is_known(BEST_CHILD, child) && is_known(BEST_SCORE, &score) {
        return Ok(());
    }
    let (name, child) = (job.name.clone(), json!(child));
    app.db(move |store| {
        let Some(job) = job::get(store, &name)? else {
            return Ok(());
        };
        let mut properties = job.properties;
        properties["properties"][BEST_CHILD] = child;
        properties["properties"][BEST_SCORE] = json!(score);
        job::set_properties(store, &name, &properties)
    })
    .await
}

async fn advance(app: &Workspace, name: &str, status: JobStatus) -> Result<bool> {
    let name = name.to_owned();
    app.db(move |store| job::advance(store, &name, status))
        .await
}

async fn warn(app: &Workspace, name: &str, warning: String) -> Result<()> {
    let name = name.to_owned();
    app.db(move |store| job::set_warnings(store, &name, &[warning]))
        .await
}

/// The remaining time of a sweep; `None` without a timeout.
fn time_left(job: &Job, timeout: Option<&str>) -> Option<Duration> {
    let timeout = timeout.and_then(duration::parse)?;
    let begun = job.started_at.as_deref().unwrap_or(&job.created_at);
    let begun = chrono::DateTime::parse_from_rfc3339(begun).ok()?;
    let spent = (Utc::now() - begun.to_utc()).to_std().unwrap_or_default();
    Some(timeout.saturating_sub(spent))
}
