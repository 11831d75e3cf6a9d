//! Sweeps: jobs without a command, whose trials are ordinary jobs and wait for the same nodes.
//!
//! The values of a trial follow from the sweep ([`draw`]), so the next server can resume it.

pub mod draw;
pub mod policy;

use super::{command, output};
use crate::duration;
use crate::error::{Error, Result};
use azureml_wire::job::{CommandJob, CommandJobLimits};
use azureml_wire::sweep::SweepJob;
use draw::Trial;
use serde_json::json;

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
