//! The configuration of a sweep: search space, sampling, objective and limits.

use crate::duration;
use crate::error::{Error, Result};
use crate::script_config::ScriptRunConfig;
use crate::show::{Card, Cell};
use azureml_wire::job::CommandJob;
use azureml_wire::sweep::{
    EarlyTermination, Goal, MOST_TRIALS, Objective, SamplingAlgorithm, Shape, SweepJob,
    SweepJobLimits, TrialComponent, Values,
};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// The configuration of a sweep: a job that runs many times with different hyperparameters, each
/// time as a separate run. It is submitted by [`Experiment::submit`](crate::Experiment::submit).
///
/// A value replaces `${{search_space.name}}` (or `${{inputs.name}}`) in the arguments or the
/// command. A hyperparameter without a placeholder in the arguments of a script is appended to them
/// as `--name value`, as SDK v1's `HyperDrive` does.
///
/// ```
/// use azureml::prelude::*;
///
/// let src = ScriptRunConfig::new("script")
///     .script("train.rs")
///     .arguments(["--epochs", "2"])
///     .compute_target("cpu-cluster")
///     .environment("rust-tch-gpu");
/// let sweep = SweepConfig::new(&src)
///     .choice("lr", [0.5, 1.0])
///     .choice("gamma", [0.7, 0.9])
///     .primary_metric("Accuracy", Goal::Maximize)
///     .max_concurrent_trials(2);
/// ```
#[derive(Debug, Clone)]
#[must_use = "a configuration does nothing until it is submitted"]
pub struct SweepConfig {
    script: ScriptRunConfig,
    space: BTreeMap<String, Values>,
    sampling: Option<Sampling>,
    seed: Option<u64>,
    objective: Option<Objective>,
    early_termination: Option<EarlyTermination>,
    max_trials: Option<u32>,
    max_concurrent: Option<u32>,
    timeout: Option<Duration>,
    trial_timeout: Option<Duration>,
}

/// The sampling algorithm of a sweep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sampling {
    /// Every combination once; the default if every hyperparameter is a choice.
    Grid,
    /// Random values; the default otherwise.
    Random,
    /// Quasi-random values, spread more evenly. Not supported by the local workspace.
    Sobol,
    /// Values based on the results of earlier trials. Not supported by the local workspace.
    Bayesian,
}

/// A configuration that an experiment accepts: a job, or a sweep of jobs.
#[derive(Debug, Clone, Copy)]
pub enum JobConfig<'a> {
    /// One job.
    Script(&'a ScriptRunConfig),
    /// Many trials of one job.
    Sweep(&'a SweepConfig),
}

impl<'a> From<&'a ScriptRunConfig> for JobConfig<'a> {
    fn from(config: &'a ScriptRunConfig) -> Self {
        Self::Script(config)
    }
}

impl<'a> From<&'a SweepConfig> for JobConfig<'a> {
    fn from(config: &'a SweepConfig) -> Self {
        Self::Sweep(config)
    }
}

impl SweepConfig {
    /// A sweep of the job that `script` describes.
    pub fn new(script: &ScriptRunConfig) -> Self {
        Self {
            script: script.clone(),
            space: BTreeMap::new(),
            sampling: None,
            seed: None,
            objective: None,
            early_termination: None,
            max_trials: None,
            max_concurrent: None,
            timeout: None,
            trial_timeout: None,
        }
    }

    /// Adds a hyperparameter with one of these values: numbers, texts or booleans.
    pub fn choice<V: Into<Value>>(
        self,
        name: impl Into<String>,
        values: impl IntoIterator<Item = V>,
    ) -> Self {
        let values = values.into_iter().map(Into::into).collect();
        self.values(name, Values::Choice(values))
    }

    /// Adds a hyperparameter with a uniform distribution from `min` to `max`.
    pub fn uniform(self, name: impl Into<String>, min: f64, max: f64) -> Self {
        self.number(name, Shape::Uniform { min, max }, false, None)
    }

    /// Like [`uniform`](Self::uniform), rounded to multiples of `step`.
    pub fn quniform(self, name: impl Into<String>, min: f64, max: f64, step: f64) -> Self {
        self.number(name, Shape::Uniform { min, max }, false, Some(step))
    }

    /// Adds a hyperparameter from `min` to `max` whose logarithm is uniformly distributed: as many
    /// values from 0.001 to 0.01 as from 0.01 to 0.1. (The request contains the logarithms of `min`
    /// and `max`.)
    pub fn log_uniform(self, name: impl Into<String>, min: f64, max: f64) -> Self {
        let (min, max) = (min.ln(), max.ln());
        self.number(name, Shape::Uniform { min, max }, true, None)
    }

    /// Adds a hyperparameter with a normal distribution.
    pub fn normal(self, name: impl Into<String>, mean: f64, deviation: f64) -> Self {
        let shape = Shape::Normal {
            mu: mean,
            sigma: deviation,
        };
        self.number(name, shape, false, None)
    }

    /// Adds an integer hyperparameter from 0 to `upper`, exclusive.
    pub fn randint(self, name: impl Into<String>, upper: u64) -> Self {
        self.values(name, Values::Randint(upper))
    }

    fn number(self, name: impl Into<String>, shape: Shape, log: bool, step: Option<f64>) -> Self {
        self.values(name, Values::Number { shape, log, step })
    }

    fn values(mut self, name: impl Into<String>, values: Values) -> Self {
        // `--lr`, as in SDK v1, is the same hyperparameter.
        let name: String = name.into();
        let name = name.trim_start_matches("--").to_owned();
        self.space.insert(name, values);
        self
    }

    /// Sets the sampling algorithm.
    pub fn sampling(mut self, sampling: Sampling) -> Self {
        self.sampling = Some(sampling);
        self
    }

    /// Sets the seed of random sampling; the same seed draws the same values.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Sets the metric by which the trials are compared, as the script logs it, and its goal.
    /// Required.
    pub fn primary_metric(mut self, name: impl Into<String>, goal: Goal) -> Self {
        self.objective = Some(Objective {
            goal,
            primary_metric: name.into(),
        });
        self
    }

    /// Sets the number of trials. Required if a hyperparameter has unlimited values.
    pub fn max_trials(mut self, trials: u32) -> Self {
        self.max_trials = Some(trials);
        self
    }

    /// Sets the number of concurrent trials; by default, as many as the compute target has room
    /// for.
    pub fn max_concurrent_trials(mut self, trials: u32) -> Self {
        self.max_concurrent = Some(trials);
        self
    }

    /// Sets the time limit of the whole sweep in seconds.
    pub fn timeout_seconds(mut self, seconds: u64) -> Self {
        self.timeout = Some(Duration::from_secs(seconds));
        self
    }

    /// Sets the time limit of each running trial in seconds; the default is
    /// [`ScriptRunConfig::max_run_duration_seconds`].
    pub fn trial_timeout_seconds(mut self, seconds: u64) -> Self {
        self.trial_timeout = Some(Duration::from_secs(seconds));
        self
    }

    /// Sets the bandit policy: ends a trial early whose best metric is worse than that of the best
    /// trial by more than the slack. With positive values, the limit is `best / (1 + slack_factor)`
    /// for a metric to maximize and `best * (1 + slack_factor)` for one to minimize. The policy is
    /// evaluated after every `interval` values, from `delay` values on.
    pub fn bandit_policy(mut self, slack_factor: f64, interval: u32, delay: u32) -> Self {
        self.early_termination = Some(EarlyTermination::Bandit {
            delay_evaluation: Some(delay),
            evaluation_interval: Some(interval),
            slack_amount: None,
            slack_factor: Some(slack_factor),
        });
        self
    }

    /// Sets the median stopping policy: ends a trial early whose best metric is worse than the
    /// median of the averages of the other trials. The policy is evaluated after every `interval`
    /// values, from `delay` values on.
    pub fn median_stopping_policy(mut self, interval: u32, delay: u32) -> Self {
        self.early_termination = Some(EarlyTermination::MedianStopping {
            delay_evaluation: Some(delay),
            evaluation_interval: Some(interval),
        });
        self
    }

    /// Sets the truncation selection policy: ends the worst `percentage` percent of the trials
    /// early. The policy is evaluated after every `interval` values, from `delay` values on.
    pub fn truncation_selection_policy(
        mut self,
        percentage: u32,
        interval: u32,
        delay: u32,
    ) -> Self {
        self.early_termination = Some(EarlyTermination::TruncationSelection {
            delay_evaluation: Some(delay),
            evaluation_interval: Some(interval),
            truncation_percentage: Some(percentage),
        });
        self
    }

    /// The number of combinations, if it is finite.
    fn combinations(&self) -> Option<u32> {
        self.space.values().try_fold(1_u32, |count, values| {
            let Values::Choice(values) = values else {
                return None;
            };
            Some(count.saturating_mul(u32::try_from(values.len()).unwrap_or(u32::MAX)))
        })
    }

    /// The job of a trial, with a placeholder for each hyperparameter, after all checks that are
    /// possible on this machine.
    pub(crate) fn trial_script(&self) -> Result<ScriptRunConfig> {
        self.check()?;
        let mut script = self.script.clone();
        for name in self.space.keys() {
            let place = format!("${{{{search_space.{name}}}}}");
            let as_input = format!("${{{{inputs.{name}}}}}");
            let mut found = false;
            for text in script.arguments.iter_mut().chain(&mut script.command) {
                *text = text.replace(&as_input, &place);
                found |= text.contains(&place);
            }
            if found {
                continue;
            }
            let option = format!("--{name}");
            if script.command.is_some() {
                return Err(Error::invalid(
                    format!("the hyperparameter `{name}` stands nowhere in the command"),
                    format!("write {place} where its value goes"),
                ));
            }
            if script
                .arguments
                .iter()
                .any(|argument| *argument == option || argument.starts_with(&format!("{option}=")))
            {
                return Err(Error::invalid(
                    format!(
                        "{option} has a value of its own in the arguments, and is a hyperparameter"
                    ),
                    format!("leave it out of the arguments, or write {place} as its value"),
                ));
            }
            script.arguments.extend([option, place]);
        }
        Ok(script)
    }

    fn check(&self) -> Result<()> {
        if self.space.is_empty() {
            return Err(Error::invalid(
                "the sweep has no hyperparameter",
                "add `.choice(\"lr\", [0.5, 1.0])`",
            ));
        }
        let objective = self.objective.as_ref();
        if objective.is_none_or(|objective| objective.primary_metric.is_empty()) {
            return Err(Error::invalid(
                "the sweep does not say which metric its trials are compared by",
                "add `.primary_metric(\"Accuracy\", Goal::Maximize)`, with a metric that the script logs",
            ));
        }
        for (name, values) in &self.space {
            let is_name = name
                .starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
                && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            if !is_name {
                return Err(Error::invalid(
                    format!("`{name}` cannot be the name of a hyperparameter"),
                    "names are letters, digits and `_`, and begin with a letter; `${{search_space.name}}` in the arguments \
                     puts its value anywhere",
                ));
            }
            if let Some((wrong, hint)) = wrong_with(values) {
                return Err(Error::invalid(
                    format!("the hyperparameter `{name}` has {wrong}"),
                    hint,
                ));
            }
            if self.sampling == Some(Sampling::Grid) && !matches!(values, Values::Choice(_)) {
                return Err(Error::invalid(
                    format!("a grid tries every combination, and `{name}` has no end of values"),
                    "give it a `.choice(…)`, or use `Sampling::Random`",
                ));
            }
        }
        if self.max_trials.is_none() && self.combinations().is_none() {
            return Err(Error::invalid(
                format!("the sweep does not say when to end: it would have {MOST_TRIALS} trials"),
                "add `.max_trials(20)`",
            ));
        }
        for (what, count) in [
            (".max_trials(0)", self.max_trials),
            (".max_concurrent_trials(0)", self.max_concurrent),
        ] {
            if count == Some(0) {
                return Err(Error::invalid(
                    format!("`{what}` leaves nothing to run"),
                    "a sweep has at least one trial",
                ));
            }
        }
        if self.timeout == Some(Duration::ZERO) || self.trial_timeout == Some(Duration::ZERO) {
            return Err(Error::invalid(
                "the sweep or its trials may take 0 seconds",
                "leave it out for no limit of your own",
            ));
        }
        Ok(())
    }

    /// Converts to the REST model; `trial` is the job of a trial.
    pub(crate) fn to_wire(&self, trial: CommandJob) -> SweepJob {
        let sampling = self.sampling.unwrap_or(if self.combinations().is_some() {
            Sampling::Grid
        } else {
            Sampling::Random
        });
        let random = |rule: Option<&str>| SamplingAlgorithm::Random {
            rule: rule.map(str::to_owned),
            seed: self.seed,
            logbase: None,
        };
        let trial_timeout = self.trial_timeout.map(duration::iso);
        SweepJob {
            description: trial.description,
            display_name: trial.display_name,
            experiment_name: trial.experiment_name,
            compute_id: trial.compute_id,
            tags: trial.tags,
            inputs: trial.inputs,
            outputs: trial.outputs,
            limits: Some(SweepJobLimits {
                job_limits_type: "Sweep".to_owned(),
                timeout: self.timeout.map(duration::iso),
                max_concurrent_trials: self.max_concurrent,
                max_total_trials: self
                    .max_trials
                    .or(self.combinations())
                    .map(|trials| trials.min(MOST_TRIALS)),
                trial_timeout: trial_timeout
                    .or_else(|| trial.limits.and_then(|limits| limits.timeout)),
            }),
            trial: TrialComponent {
                command: trial.command,
                code_id: trial.code_id,
                environment_id: trial.environment_id,
                environment_variables: trial.environment_variables,
                distribution: trial.distribution,
                resources: trial.resources,
            },
            search_space: self.space.clone(),
            sampling_algorithm: match sampling {
                Sampling::Grid => SamplingAlgorithm::Grid,
                Sampling::Random => random(None),
                Sampling::Sobol => random(Some("Sobol")),
                Sampling::Bayesian => SamplingAlgorithm::Bayesian,
            },
            objective: self.objective.clone().unwrap_or_default(),
            early_termination: self.early_termination.clone(),
            ..SweepJob::default()
        }
    }
}

/// The mistake in the values of a hyperparameter, with its hint.
fn wrong_with(values: &Values) -> Option<(&'static str, &'static str)> {
    match values {
        Values::Choice(values) if values.is_empty() => {
            Some(("a choice of nothing", "give it at least one value"))
        }
        Values::Choice(values) => values
            .iter()
            .any(|value| !value.is_number() && !value.is_string() && !value.is_boolean())
            .then_some((
                "a value that is no number, text or truth value",
                "NaN and infinities cannot be sent; a text can be anything",
            )),
        Values::Randint(0) => Some(("no integer to choose from", "its upper end is at least 1")),
        Values::Randint(_) => None,
        Values::Number { shape, step, .. } => {
            let (a, b) = match shape {
                Shape::Uniform { min, max } => (*min, *max),
                // A deviation above 0 corresponds to an interval that is not empty.
                Shape::Normal { sigma, .. } => (0.0, *sigma),
            };
            let fine =
                a.is_finite() && b.is_finite() && a < b && step.is_none_or(|step| step > 0.0);
            (!fine).then_some((
                "a range without numbers in it",
                "the least value is below the greatest, logarithms are of what is above 0, steps and deviations are above 0",
            ))
        }
    }
}

/// The values as text: `0.5, 1`, `0.1 to 1`.
fn shown(values: &Values) -> String {
    match values {
        Values::Choice(values) => {
            let values: Vec<String> = values.iter().map(plain).collect();
            values.join(", ")
        }
        Values::Randint(upper) => format!("integers below {upper}"),
        Values::Number { shape, log, step } => {
            let step = step.map_or_else(String::new, |step| format!(" by {step}"));
            match (shape, log) {
                (Shape::Uniform { min, max }, false) => format!("{min} to {max}{step}"),
                (Shape::Uniform { min, max }, true) => {
                    let number = |exponent: f64| crate::show::number(exponent.exp());
                    format!(
                        "{} to {}{step}, by its logarithm",
                        number(*min),
                        number(*max)
                    )
                }
                (Shape::Normal { mu, sigma }, _) => format!("{mu} ± {sigma}{step}"),
            }
        }
    }
}

/// A value as text for a command line.
pub(crate) fn plain(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

impl notebook::Display for SweepConfig {
    fn mime_bundle(&self) -> notebook::MimeBundle {
        let space: Vec<String> = self
            .space
            .iter()
            .map(|(name, values)| format!("{name}: {}", shown(values)))
            .collect();
        let objective = self
            .objective
            .as_ref()
            .map(|objective| format!("{:?} {}", objective.goal, objective.primary_metric));
        let trials = self.max_trials.or(self.combinations());
        Card::new(
            "Sweep",
            self.script.display_name.as_deref().unwrap_or_default(),
        )
        .row(
            "Code",
            Cell::text(self.script.source_directory.display().to_string()),
        )
        .row("Hyperparameters", Cell::text(space.join("; ")))
        .optional("Goal", objective)
        .optional("Trials", trials.map(|trials| trials.to_string()))
        .optional(
            "At once",
            self.max_concurrent.map(|trials| trials.to_string()),
        )
        .optional("Compute", self.script.compute_target.as_deref())
        .mime_bundle()
    }
}

notebook::evcxr_display!(SweepConfig);

#[cfg(test)]
mod tests {
    use super::*;

    fn script() -> ScriptRunConfig {
        ScriptRunConfig::new("script")
            .script("train.py")
            .arguments(["--epochs", "2"])
    }

    fn sweep(script: &ScriptRunConfig) -> SweepConfig {
        SweepConfig::new(script)
            .choice("lr", [0.5, 1.0])
            .primary_metric("Accuracy", Goal::Maximize)
    }

    #[test]
    fn hyperparameters_go_where_they_stand_or_behind_the_arguments() {
        let arguments = |sweep: &SweepConfig| sweep.trial_script().unwrap().arguments.join(" ");
        assert_eq!(
            arguments(&sweep(&script())),
            "--epochs 2 --lr ${{search_space.lr}}"
        );
        let named = script().arguments(["--rate=${{search_space.lr}}"]);
        assert_eq!(arguments(&sweep(&named)), "--rate=${{search_space.lr}}");
        let named = script().arguments(["--rate", "${{inputs.lr}}"]);
        assert_eq!(arguments(&sweep(&named)), "--rate ${{search_space.lr}}");
        let command = ScriptRunConfig::new("script").command("train ${{inputs.lr}}");
        assert_eq!(
            sweep(&command).trial_script().unwrap().command.as_deref(),
            Some("train ${{search_space.lr}}")
        );
        // The format of SDK v1.
        let dashes = SweepConfig::new(&script())
            .choice("--lr", [1])
            .primary_metric("a", Goal::Minimize);
        assert!(arguments(&dashes).ends_with("--lr ${{search_space.lr}}"));
    }

    #[test]
    fn what_travels_is_the_services_own() {
        let config = SweepConfig::new(&script())
            .choice("kind", ["a", "b"])
            .log_uniform("lr", 1.0, 1.0_f64.exp())
            .max_trials(8)
            .max_concurrent_trials(2)
            .seed(7)
            .primary_metric("loss", Goal::Minimize)
            .timeout_seconds(60)
            .bandit_policy(0.1, 1, 5);
        let wire = config.to_wire(CommandJob {
            command: "python train.py".to_owned(),
            ..CommandJob::default()
        });
        insta::assert_snapshot!(serde_json::to_string_pretty(&wire).unwrap());
    }

    #[test]
    fn mistakes_are_found_before_anything_is_sent() {
        let metric = |sweep: SweepConfig| sweep.primary_metric("a", Goal::Maximize);
        let (own, command) = (
            script().arguments(["--lr", "1"]),
            ScriptRunConfig::new("s").command("train"),
        );
        let errors: Vec<String> = [
            metric(SweepConfig::new(&script())),
            SweepConfig::new(&script()).choice("lr", [1]),
            sweep(&own),
            sweep(&command),
            metric(SweepConfig::new(&script()).choice("learning-rate", [1])),
            metric(SweepConfig::new(&script()).choice("lr", [f64::NAN])),
            metric(SweepConfig::new(&script()).choice("lr", Vec::<f64>::new())),
            metric(SweepConfig::new(&script()).log_uniform("lr", 0.0, 1.0)).max_trials(2),
            metric(SweepConfig::new(&script()).uniform("lr", 0.0, 1.0)),
            metric(SweepConfig::new(&script()).uniform("lr", 0.0, 1.0)).sampling(Sampling::Grid),
            sweep(&script()).max_trials(0),
            sweep(&script()).timeout_seconds(0),
        ]
        .iter()
        .map(|sweep| sweep.trial_script().map(drop).unwrap_err().to_string())
        .collect();
        insta::assert_snapshot!(errors.join("\n\n"));
    }

    #[test]
    fn a_sweep_shows_what_it_tries() {
        use notebook::Display;
        let config = sweep(&script().compute_target("cpu-cluster"))
            .log_uniform("decay", 0.001, 0.1)
            .max_trials(4);
        insta::assert_snapshot!(config.mime_bundle().plain_text().unwrap(), @"
        Sweep
          Code             script
          Hyperparameters  decay: 0.001 to 0.1, by its logarithm; lr: 0.5, 1.0
          Goal             Maximize Accuracy
          Trials           4
          Compute          cpu-cluster
        ");
    }
}
