//! Sweeps: jobs without a command. Their trials are ordinary jobs and wait for the same nodes.
//!
//! The state of a sweep is in the store: its trials are its children, with its name and a number.
//! The values of a trial follow from the sweep ([`draw`]), so the next server can resume it.

pub mod draw;
pub mod policy;

use crate::app::Shared;
use crate::error::{Error, Result};
use crate::queue::Waiting;
use crate::routes::job as calls;
use crate::runner::failure::Failure;
use crate::runner::{self, command, duration, output};
use crate::store::job::{self, Job, NewJob};
use crate::store::mlflow;
use azureml_wire::Bag;
use azureml_wire::job::{CommandJob, CommandJobLimits, JobStatus};
use azureml_wire::sweep::{BEST_CHILD, BEST_SCORE, HYPERPARAMETERS, SweepJob};
use chrono::Utc;
use draw::Trial;
use futures::FutureExt;
use policy::Course;
use serde_json::json;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// The polling interval for running trials, if the sweep has an early termination policy.
const LOOK: Duration = Duration::from_millis(500);
/// The limit that returns all values of a metric.
const EVERY: usize = i64::MAX as usize;
/// The pause before a failed step is retried.
const PAUSE: Duration = Duration::from_secs(1);

/// A trial as a command job.
pub fn trial(sweep: &SweepJob, values: &Trial) -> CommandJob {
    let resources = sweep.trial.resources.clone();
    let timeout = sweep
        .limits
        .as_ref()
        .and_then(|limits| limits.trial_timeout.clone());
    CommandJob {
        experiment_name: sweep.experiment_name.clone(),
        command: command::fill(&sweep.trial.command, "search_space", values),
        code_id: sweep.trial.code_id.clone(),
        compute_id: sweep.compute_id.clone(),
        environment_id: sweep.trial.environment_id.clone(),
        environment_variables: sweep.trial.environment_variables.clone(),
        inputs: sweep.inputs.clone(),
        outputs: sweep.outputs.clone(),
        distribution: sweep.trial.distribution.clone(),
        resources: resources.or_else(|| sweep.resources.clone()),
        limits: timeout.map(|timeout| CommandJobLimits {
            job_limits_type: "Command".to_owned(),
            timeout: Some(timeout),
        }),
        parameters: Some(json!(values)),
        ..CommandJob::default()
    }
}

/// Rejects sweeps that the service or this workspace does not support. The trial itself is
/// validated as a job.
pub fn check(sweep: &SweepJob) -> Result<()> {
    if sweep.objective.primary_metric.is_empty() {
        return Err(Error::invalid(
            "a sweep needs an objective: its primaryMetric and the goal",
        ));
    }
    let limits = sweep.limits.clone().unwrap_or_default();
    for (what, count) in [
        ("maxTotalTrials", limits.max_total_trials),
        ("maxConcurrentTrials", limits.max_concurrent_trials),
    ] {
        if count == Some(0) {
            return Err(Error::invalid(format!(
                "{what} is 0: a sweep has at least one trial"
            )));
        }
    }
    if let Some(most) = limits
        .max_total_trials
        .filter(|most| *most > azureml_wire::sweep::MOST_TRIALS)
    {
        return Err(Error::invalid(format!(
            "a sweep has up to {} trials, and this one would have {most}\nhint: ask for fewer",
            azureml_wire::sweep::MOST_TRIALS
        )));
    }
    if let Some(timeout) = &limits.timeout
        && duration::parse(timeout).is_none()
    {
        return Err(Error::invalid(format!(
            "the timeout {timeout:?} is no duration\nhint: write it as ISO 8601 does, e.g. PT5M"
        )));
    }
    for (name, asked) in sweep.outputs.iter().flatten() {
        let uri = asked.asset().uri.as_deref();
        if uri.is_some_and(|uri| !output::is_own(uri)) {
            return Err(Error::invalid(format!(
                "every trial would write the output {name:?} to the same place\n\
                 hint: put ${{{{name}}}} into its path, which is the trial's name, or leave the place \
                 to the workspace: each trial gets one of its own, like {}",
                output::place(None, "TRIAL", name, false)
            )));
        }
    }
    policy::check(sweep.early_termination.as_ref())
}

/// Starts or resumes a sweep.
pub fn start(app: &Shared, name: &str) {
    let canceled = app.queue.enter(name);
    let (app, name) = (Arc::clone(app), name.to_owned());
    tokio::spawn(async move {
        let driven = AssertUnwindSafe(drive(&app, &name, canceled));
        if driven.catch_unwind().await.is_err() {
            let failure = Failure::system(
                "the local workspace failed to run the sweep\nhint: see server.log in its folder",
            );
            runner::end(&app, &name, JobStatus::Failed, Some(failure)).await;
        }
        app.queue.leave(&name);
    });
}

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
async fn drive(app: &Shared, name: &str, mut canceled: watch::Receiver<bool>) {
    let mut ends = app.queue.ends();
    let mut heard = false;
    loop {
        // A trial that ends after this line triggers the next step.
        ends.mark_unchanged();
        let next = match step(app, name).await {
            Ok(Step::Ended(status, failure)) => {
                runner::end(app, name, status, failure).await;
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
async fn step(app: &Shared, name: &str) -> Result<Step> {
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

async fn standing(app: &Shared, name: &str) -> Result<(SweepJob, Standing)> {
    let name = name.to_owned();
    app.db(move |store| {
        let job = job::get(store, &name)?
            .ok_or_else(|| Error::Internal("a sweep got lost".to_owned()))?;
        let sweep: SweepJob = serde_json::from_value(job.properties.clone())?;
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
                error: child
                    .error
                    .as_ref()
                    .and_then(|error| error.pointer("/error/message")?.as_str())
                    .map(str::to_owned),
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
    app: &Shared,
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
    app.queue.submit(Waiting::of(&made));
    Ok(None)
}

/// Requests the cancellation of a trial; has no effect on a trial that has ended.
async fn end_early(app: &Shared, name: &str) -> Result<()> {
    match calls::request_cancel(app, name.to_owned()).await {
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
async fn note_best(app: &Shared, job: &Job, sweep: &SweepJob, children: &[Child]) -> Result<()> {
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
    let own = |key: &str| job.properties.pointer(&format!("/properties/{key}"));
    let score = json!(value.to_string());
    if own(BEST_CHILD) == Some(&json!(child)) && own(BEST_SCORE) == Some(&score) {
        return Ok(());
    }
    let (name, child) = (job.name.clone(), json!(child));
    app.db(move |store| {
        let Some(job) = job::get(store, &name)? else {
            return Ok(());
        };
        let mut properties = job.properties;
        properties["properties"][BEST_CHILD] = child;
        properties["properties"][BEST_SCORE] = score;
        job::set_properties(store, &name, &properties)
    })
    .await
}

async fn advance(app: &Shared, name: &str, status: JobStatus) -> Result<bool> {
    let name = name.to_owned();
    app.db(move |store| job::advance(store, &name, status))
        .await
}

async fn warn(app: &Shared, name: &str, warning: String) -> Result<()> {
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
