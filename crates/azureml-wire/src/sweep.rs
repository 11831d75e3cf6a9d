//! Sweep jobs: one command, tried with many values of its hyperparameters.

use crate::Bag;
use crate::job::{Distribution, JobInput, JobOutput, JobResources, JobService, JobStatus};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The tag of a trial that holds its hyperparameters, as a JSON object in text.
pub const HYPERPARAMETERS: &str = "hyperparameters";
/// The property of a sweep that names its best trial so far.
pub const BEST_CHILD: &str = "best_child_run_id";
/// The property of a sweep that holds the best trial's metric, as text.
pub const BEST_SCORE: &str = "score";

/// The most trials of one sweep, and how many there are when it does not say.
pub const MOST_TRIALS: u32 = 1000;

/// A sweep job, as it is submitted and as it is answered. Has no `Debug`, as a [`Job`](crate::job::Job).
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SweepJob {
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The name that Studio shows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// The experiment that it belongs to; `Default` when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub experiment_name: Option<String>,
    /// ARM id of the compute target of the trials.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compute_id: Option<String>,
    /// What each trial runs, with `${{search_space.name}}` where a value goes.
    pub trial: TrialComponent,
    /// The values that are tried, by the name of the hyperparameter.
    pub search_space: BTreeMap<String, Values>,
    /// How they are chosen.
    pub sampling_algorithm: SamplingAlgorithm,
    /// What is best.
    pub objective: Objective,
    /// When a trial without prospects is ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub early_termination: Option<EarlyTermination>,
    /// How many trials, and how long they may take.
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
    /// Whether it is hidden.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_archived: Option<bool>,
    /// The trials' resources, where older models have them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<JobResources>,
    /// Whose identity it runs with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<Value>,
    /// The queue's tier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_settings: Option<Value>,
    /// Who is told of its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notification_setting: Option<Value>,
    /// ARM id of the component that it was made from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub component_id: Option<Value>,
    /// Links that belong to the job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub services: Option<BTreeMap<String, JobService>>,
    /// Where it stands; only in answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<JobStatus>,
}

/// What each trial runs. Has no `Debug`: the variables of its process may be secrets.
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
    /// Variables of the process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment_variables: Option<Bag>,
    /// More than one process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distribution: Option<Distribution>,
    /// Nodes, and what the container gets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<JobResources>,
}

/// How the values of trials are chosen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "samplingAlgorithmType")]
pub enum SamplingAlgorithm {
    /// Every combination, once.
    Grid,
    /// By chance.
    Random {
        /// `Random` or `Sobol`.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        rule: Option<String>,
        /// The same seed gives the same values.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        seed: Option<u64>,
        /// The base of logarithms, where older models have it.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        logbase: Option<Value>,
    },
    /// By what the trials before it have shown.
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

/// What is best.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Objective {
    /// Whether small or great values are good.
    pub goal: Goal,
    /// The metric that the trials are compared by.
    pub primary_metric: String,
}

/// Whether small or great values of a metric are good. The official client writes them in lower case, too.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Goal {
    /// Small ones, as of a loss.
    #[serde(alias = "minimize")]
    Minimize,
    /// Great ones, as of an accuracy.
    #[default]
    #[serde(alias = "maximize")]
    Maximize,
}

impl Goal {
    /// Whether `value` is better than `other`. No number is better than none.
    pub fn is_better(self, value: f64, other: f64) -> bool {
        match self {
            Self::Minimize => value < other,
            Self::Maximize => value > other,
        }
    }

    /// The best of some values; those that are no numbers are left out.
    pub fn best(self, values: impl IntoIterator<Item = f64>) -> Option<f64> {
        let finite = values.into_iter().filter(|value| value.is_finite());
        match self {
            Self::Minimize => finite.reduce(f64::min),
            Self::Maximize => finite.reduce(f64::max),
        }
    }
}

/// How many trials, and how long they may take.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SweepJobLimits {
    /// `Sweep`.
    pub job_limits_type: String,
    /// ISO 8601 duration of the whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<String>,
    /// Trials at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_concurrent_trials: Option<u32>,
    /// Trials in all; [`MOST_TRIALS`] when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_total_trials: Option<u32>,
    /// ISO 8601 duration of each trial.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trial_timeout: Option<String>,
}

/// When a trial without prospects is ended. A trial's *interval* is one value of the primary metric.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "policyType")]
pub enum EarlyTermination {
    /// When it is too far behind the best.
    #[serde(rename_all = "camelCase")]
    Bandit {
        /// Intervals before the first look.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        delay_evaluation: Option<u32>,
        /// Intervals between looks.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        evaluation_interval: Option<u32>,
        /// How far it may be behind.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        slack_amount: Option<f64>,
        /// The same as a part of the best.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        slack_factor: Option<f64>,
    },
    /// When it is behind the median of all.
    #[serde(rename_all = "camelCase")]
    MedianStopping {
        /// Intervals before the first look.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        delay_evaluation: Option<u32>,
        /// Intervals between looks.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        evaluation_interval: Option<u32>,
    },
    /// When it is among the worst.
    #[serde(rename_all = "camelCase")]
    TruncationSelection {
        /// Intervals before the first look.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        delay_evaluation: Option<u32>,
        /// Intervals between looks.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        evaluation_interval: Option<u32>,
        /// How many of a hundred are the worst.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        truncation_percentage: Option<u32>,
    },
}

/// The values that one hyperparameter may have. On the wire it is a word and its arguments: `["uniform", [0.1, 1.0]]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Value", into = "Value")]
pub enum Values {
    /// One of these: numbers, texts, truth values.
    Choice(Vec<Value>),
    /// An integer from 0 up to, and without, this one.
    Randint(u64),
    /// A number from a continuous distribution.
    Number {
        /// The distribution.
        shape: Shape,
        /// Whether the number is *e* to the power of what is drawn.
        log: bool,
        /// The step that it is rounded to.
        step: Option<f64>,
    },
}

/// A continuous distribution.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Shape {
    /// The same everywhere between two numbers.
    Uniform {
        /// The least.
        min: f64,
        /// The greatest.
        max: f64,
    },
    /// A bell.
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
