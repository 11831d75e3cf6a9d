//! Sweep jobs: hyperparameter search with many trials of one command.

use crate::Bag;
use crate::job::{Distribution, JobInput, JobOutput, JobResources, JobService, JobStatus};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The tag of a trial that contains its hyperparameters, as a JSON object in a string.
pub const HYPERPARAMETERS: &str = "hyperparameters";
/// The property of a sweep that contains the id of its best trial so far.
pub const BEST_CHILD: &str = "best_child_run_id";
/// The property of a sweep that contains the best trial's metric, as a string.
pub const BEST_SCORE: &str = "score";

/// The maximum and the default number of trials of a sweep.
pub const MOST_TRIALS: u32 = 1000;

/// A sweep job in requests and responses. Has no `Debug`, for the same reason as
/// [`Job`](crate::job::Job).
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SweepJob {
    /// The description.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The name shown in Studio.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// The experiment of the job; `Default` when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub experiment_name: Option<String>,
    /// ARM id of the compute target of the trials.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compute_id: Option<String>,
    /// The command of each trial, with `${{search_space.name}}` as placeholders of the values.
    pub trial: TrialComponent,
    /// The search space by the name of the hyperparameter.
    pub search_space: BTreeMap<String, Values>,
    /// The algorithm that chooses the values.
    pub sampling_algorithm: SamplingAlgorithm,
    /// The metric to optimize and its direction.
    pub objective: Objective,
    /// The early termination policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub early_termination: Option<EarlyTermination>,
    /// Limits on the number and the duration of trials.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<SweepJobLimits>,
    /// Inputs of each trial, by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inputs: Option<BTreeMap<String, JobInput>>,
    /// Outputs of each trial, by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outputs: Option<BTreeMap<String, JobOutput>>,
    /// Tags.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<Bag>,
    /// Properties; in answers [`BEST_CHILD`] is among them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub properties: Option<Bag>,
    /// Whether the asset is archived (hidden from lists).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_archived: Option<bool>,
    /// The trials' resources, at the place used by older versions of the models.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<JobResources>,
    /// The identity that the job runs under.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<Value>,
    /// The job tier of the queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_settings: Option<Value>,
    /// Recipients of notifications about the job's end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notification_setting: Option<Value>,
    /// ARM id of the component that the job was created from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub component_id: Option<Value>,
    /// Links of the job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub services: Option<BTreeMap<String, JobService>>,
    /// The status; only in responses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<JobStatus>,
}

/// The command of each trial. Has no `Debug`: environment variables can contain secrets.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TrialComponent {
    /// The command line.
    pub command: String,
    /// ARM id of the code snapshot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code_id: Option<String>,
    /// ARM id of the environment's version.
    pub environment_id: String,
    /// Environment variables of the process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment_variables: Option<Bag>,
    /// Configuration of a distributed job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distribution: Option<Distribution>,
    /// Number of nodes and settings of the container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<JobResources>,
}

/// The algorithm that chooses the values of trials.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "samplingAlgorithmType")]
pub enum SamplingAlgorithm {
    /// Grid search: each combination once.
    Grid,
    /// Random search.
    Random {
        /// `Random` or `Sobol`.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        rule: Option<String>,
        /// The seed; equal seeds produce equal values.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        seed: Option<u64>,
        /// The base of logarithms, a member of older versions of the models.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        logbase: Option<Value>,
    },
    /// Bayesian optimization, based on the results of earlier trials.
    Bayesian,
}

impl Default for SamplingAlgorithm {
    fn default() -> Self {
        Self::Random {
            rule: None,
            seed: None,
            logbase: None,
        }
    }
}

/// The metric to optimize and its direction.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Objective {
    /// The direction of optimization.
    pub goal: Goal,
    /// The metric by which trials are compared.
    pub primary_metric: String,
}

/// The direction of optimization. The official client also writes the names in lower case.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Goal {
    /// Small values are better, e.g. of a loss.
    #[serde(alias = "minimize")]
    Minimize,
    /// Large values are better, e.g. of an accuracy.
    #[default]
    #[serde(alias = "maximize")]
    Maximize,
}

impl Goal {
    /// Whether `value` is better than `other`. `NaN` is never better and nothing is better than
    /// `NaN`.
    pub fn is_better(self, value: f64, other: f64) -> bool {
        match self {
            Self::Minimize => value < other,
            Self::Maximize => value > other,
        }
    }

    /// Returns the best of the finite values; NaN and infinities are ignored.
    pub fn best(self, values: impl IntoIterator<Item = f64>) -> Option<f64> {
        let finite = values.into_iter().filter(|value| value.is_finite());
        match self {
            Self::Minimize => finite.reduce(f64::min),
            Self::Maximize => finite.reduce(f64::max),
        }
    }
}

/// Limits on the number and the duration of trials.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SweepJobLimits {
    /// `Sweep`.
    pub job_limits_type: String,
    /// Maximum duration of the whole sweep, in ISO 8601.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<String>,
    /// Maximum number of concurrent trials.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_concurrent_trials: Option<u32>,
    /// Maximum number of trials; [`MOST_TRIALS`] when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_total_trials: Option<u32>,
    /// Maximum duration of each trial, in ISO 8601.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trial_timeout: Option<String>,
}

/// The policy that ends unpromising trials early. An *interval* of a trial is one logged value of
/// the primary metric.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "policyType")]
pub enum EarlyTermination {
    /// Ends a trial whose metric is worse than the best one by more than a slack.
    #[serde(rename_all = "camelCase")]
    Bandit {
        /// Number of intervals before the first evaluation of the policy.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        delay_evaluation: Option<u32>,
        /// Number of intervals between evaluations of the policy.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        evaluation_interval: Option<u32>,
        /// The allowed absolute difference from the best metric.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        slack_amount: Option<f64>,
        /// The allowed difference relative to the best metric.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        slack_factor: Option<f64>,
    },
    /// Ends a trial whose metric is worse than the median of all trials.
    #[serde(rename_all = "camelCase")]
    MedianStopping {
        /// Number of intervals before the first evaluation of the policy.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        delay_evaluation: Option<u32>,
        /// Number of intervals between evaluations of the policy.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        evaluation_interval: Option<u32>,
    },
    /// Ends the worst trials.
    #[serde(rename_all = "camelCase")]
    TruncationSelection {
        /// Number of intervals before the first evaluation of the policy.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        delay_evaluation: Option<u32>,
        /// Number of intervals between evaluations of the policy.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        evaluation_interval: Option<u32>,
        /// The percentage of trials to end.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        truncation_percentage: Option<u32>,
    },
}

/// The search space of one hyperparameter. On the wire it is a distribution's name and its
/// arguments: `["uniform", [0.1, 1.0]]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Value", into = "Value")]
pub enum Values {
    /// One of the listed numbers, strings or booleans.
    Choice(Vec<Value>),
    /// An integer from 0 (inclusive) to this number (exclusive).
    Randint(u64),
    /// A number from a continuous distribution.
    Number {
        /// The distribution.
        shape: Shape,
        /// Whether the number is *e* to the power of the drawn value.
        log: bool,
        /// The step to which the number is rounded.
        step: Option<f64>,
    },
}

/// A continuous distribution.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Shape {
    /// A uniform distribution between two numbers.
    Uniform {
        /// The minimum.
        min: f64,
        /// The maximum.
        max: f64,
    },
    /// A normal distribution.
    Normal {
        /// The mean.
        mu: f64,
        /// The standard deviation.
        sigma: f64,
    },
}

impl From<Values> for Value {
    fn from(values: Values) -> Self {
        match values {
            Values::Choice(values) => json!(["choice", [values]]),
            Values::Randint(upper) => json!(["randint", [upper]]),
            Values::Number { shape, log, step } => {
                let (name, mut arguments) = match shape {
                    Shape::Uniform { min, max } => ("uniform", vec![min, max]),
                    Shape::Normal { mu, sigma } => ("normal", vec![mu, sigma]),
                };
                arguments.extend(step);
                let (q, log) = (
                    if step.is_some() { "q" } else { "" },
                    if log { "log" } else { "" },
                );
                json!([format!("{q}{log}{name}"), arguments])
            }
        }
    }
}

impl TryFrom<Value> for Values {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, Self::Error> {
        let wrong = || format!("{value} is no distribution of a hyperparameter");
        let (Some(Value::String(name)), Some(Value::Array(arguments)), None) =
            (value.get(0), value.get(1), value.get(2))
        else {
            return Err(wrong());
        };
        if name == "choice" {
            return match arguments.as_slice() {
                [Value::Array(values)] => Ok(Self::Choice(values.clone())),
                _ => Err(wrong()),
            };
        }
        let numbers: Option<Vec<f64>> = arguments.iter().map(Value::as_f64).collect();
        let numbers = numbers.ok_or_else(wrong)?;
        if name == "randint" {
            return match arguments.as_slice() {
                [upper] => upper.as_u64().map(Self::Randint).ok_or_else(wrong),
                _ => Err(wrong()),
            };
        }
        let (has_step, rest) = strip(name, "q");
        let (log, rest) = strip(rest, "log");
        let (a, b, step) = match (numbers.as_slice(), has_step) {
            ([a, b], false) => (*a, *b, None),
            ([a, b, step], true) => (*a, *b, Some(*step)),
            _ => return Err(wrong()),
        };
        let shape = match rest {
            "uniform" => Shape::Uniform { min: a, max: b },
            "normal" => Shape::Normal { mu: a, sigma: b },
            _ => return Err(wrong()),
        };
        Ok(Self::Number { shape, log, step })
    }
}

fn strip<'a>(text: &'a str, prefix: &str) -> (bool, &'a str) {
    match text.strip_prefix(prefix) {
        Some(rest) => (true, rest),
        None => (false, text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distributions_travel_as_the_official_client_writes_them() {
        for text in [
            json!(["choice", [[0.5, 1, "adam", true]]]),
            json!(["randint", [7]]),
            json!(["uniform", [0.1, 1.0]]),
            json!(["quniform", [0.0, 1.0, 0.25]]),
            json!(["loguniform", [-6.0, -1.0]]),
            json!(["qloguniform", [-6.0, -1.0, 0.5]]),
            json!(["normal", [0.0, 1.0]]),
            json!(["qnormal", [0.0, 1.0, 0.5]]),
            json!(["lognormal", [0.0, 1.0]]),
            json!(["qlognormal", [0.0, 1.0, 0.5]]),
        ] {
            let values: Values = serde_json::from_value(text.clone()).unwrap();
            assert_eq!(serde_json::to_value(values).unwrap(), text);
        }
        for text in [
            json!("uniform"),
            json!(["uniform"]),
            json!(["uniform", [1]]),
            json!(["uniform", [1, "x"]]),
            json!(["quniform", [1, 2]]),
            json!(["choice", [1, 2]]),
            json!(["randint", [0.5]]),
            json!(["beta", [1, 2]]),
        ] {
            assert!(
                serde_json::from_value::<Values>(text.clone()).is_err(),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_number_is_never_best() {
        let values = [f64::NAN, 0.5, f64::INFINITY, 0.25];
        assert_eq!(Goal::Maximize.best(values), Some(0.5));
        assert_eq!(Goal::Minimize.best(values), Some(0.25));
        assert_eq!(Goal::Minimize.best([f64::NAN]), None);
        assert!(!Goal::Maximize.is_better(f64::NAN, 0.0));
    }
}
