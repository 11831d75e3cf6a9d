//! The hyperparameter values of a sweep's trials: every combination, or values drawn with a seed.
//!
//! The result is deterministic: a server that resumes a sweep continues with the same values.

use crate::error::{Error, Result};
use azureml_wire::sweep::{MOST_TRIALS, SamplingAlgorithm, Shape, SweepJob, Values};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashSet};
use std::f64::consts::TAU;

/// The values of one trial, by the name of the hyperparameter.
pub type Trial = BTreeMap<String, Value>;

/// After this number of consecutive draws without a new combination, the search space is considered
/// exhausted.
const REPEATS: u32 = 1000;

/// The trials of a sweep, in their order.
pub fn trials(sweep: &SweepJob) -> Result<Vec<Trial>> {
    check(sweep)?;
    let limits = sweep.limits.as_ref();
    let most = limits
        .and_then(|limits| limits.max_total_trials)
        .unwrap_or(MOST_TRIALS) as usize;
    match &sweep.sampling_algorithm {
        SamplingAlgorithm::Grid => grid(&sweep.search_space, most),
        SamplingAlgorithm::Random { seed, .. } => {
            Ok(random(&sweep.search_space, most, seed.unwrap_or_default()))
        }
        SamplingAlgorithm::Bayesian => Err(Error::invalid(
            "the local workspace samples by Grid and Random, not by Bayesian\n\
             hint: choose Random, or submit it to a workspace on Azure",
        )),
    }
}

/// Rejects a search space that the service would reject, or that the local workspace does not
/// support.
fn check(sweep: &SweepJob) -> Result<()> {
    if sweep.search_space.is_empty() {
        return Err(Error::invalid(
            "a sweep needs a searchSpace with at least one hyperparameter",
        ));
    }
    if let SamplingAlgorithm::Random { rule, logbase, .. } = &sweep.sampling_algorithm {
        if rule
            .as_deref()
            .is_some_and(|rule| rule.eq_ignore_ascii_case("sobol"))
        {
            return Err(Error::invalid(
                "the local workspace draws by Random alone, not by the rule Sobol\n\
                 hint: leave out the rule, or submit it to a workspace on Azure",
            ));
        }
        if logbase.is_some() {
            return Err(Error::invalid(
                "the local workspace draws logarithms to the base e alone\nhint: leave out logbase",
            ));
        }
    }
    for (name, values) in &sweep.search_space {
        let fine = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if !fine {
            return Err(Error::invalid(format!(
                "{name:?} is no name of a hyperparameter\nhint: use letters, digits and `_`"
            )));
        }
        let wrong = match values {
            Values::Choice(values) if values.is_empty() => Some("a choice of nothing"),
            Values::Choice(values) => values
                .iter()
                .any(|value| !value.is_string() && !value.is_number() && !value.is_boolean())
                .then_some("a choice of what is no number, text or truth value"),
            Values::Randint(0) => Some("an integer below 0 and from 0 up"),
            Values::Randint(_) => None,
            Values::Number { shape, step, .. } => match shape {
                _ if step.is_some_and(|step| step <= 0.0) => Some("a step that is not above 0"),
                Shape::Uniform { min, max } if min >= max => {
                    Some("a least value that is not below the greatest")
                }
                Shape::Normal { sigma, .. } if *sigma <= 0.0 => {
                    Some("a standard deviation that is not above 0")
                }
                _ => None,
            },
        };
        if let Some(wrong) = wrong {
            return Err(Error::invalid(format!(
                "the hyperparameter {name:?} has {wrong}"
            )));
        }
    }
    Ok(())
}

fn grid(space: &BTreeMap<String, Values>, most: usize) -> Result<Vec<Trial>> {
    let mut trials = vec![Trial::new()];
    // The last hyperparameter varies fastest.
    for (name, values) in space {
        let Values::Choice(values) = values else {
            return Err(Error::invalid(format!(
                "a grid tries every combination, and {name:?} has no end of values\n\
                 hint: give it a choice, or sample by Random"
            )));
        };
        trials = trials
            .iter()
            .flat_map(|trial| {
                values.iter().map(move |value| {
                    let mut trial = trial.clone();
                    trial.insert(name.clone(), value.clone());
                    trial
                })
            })
            // Cutting here is safe: the dropped combinations come after the first `most`.
            .take(most)
            .collect();
    }
    Ok(trials)
}

fn random(space: &BTreeMap<String, Values>, most: usize, seed: u64) -> Vec<Trial> {
    let mut source = fastrand::Rng::with_seed(seed);
    let mut trials = Vec::new();
    let mut known = HashSet::new();
    let mut repeats = 0;
    while trials.len() < most && repeats < REPEATS {
        let trial: Trial = space
            .iter()
            .map(|(name, values)| (name.clone(), draw(values, &mut source)))
            .collect();
        if known.insert(json!(trial).to_string()) {
            repeats = 0;
            trials.push(trial);
        } else {
            repeats += 1;
        }
    }
    trials
}

fn draw(values: &Values, source: &mut fastrand::Rng) -> Value {
    match values {
        // `check` rejects an empty choice.
        Values::Choice(values) => values[source.usize(..values.len())].clone(),
        Values::Randint(upper) => json!(source.u64(..upper)),
        Values::Number { shape, log, step } => {
            let drawn = match shape {
                Shape::Uniform { min, max } => min + (max - min) * source.f64(),
                Shape::Normal { mu, sigma } => {
                    // Box-Muller transform. `1 - random` is never 0, whose logarithm is infinite.
                    let radius = (-2.0 * (1.0 - source.f64()).ln()).sqrt();
                    mu + sigma * radius * (TAU * source.f64()).cos()
                }
            };
            let number = if *log { drawn.exp() } else { drawn };
            json!(step.map_or(number, |step| (number / step).round() * step))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sweep(algorithm: &Value, space: &Value, most: Option<u32>) -> SweepJob {
        serde_json::from_value(json!({
            "samplingAlgorithm": algorithm,
            "searchSpace": space,
            "limits": { "jobLimitsType": "Sweep", "maxTotalTrials": most },
        }))
        .unwrap()
    }

    fn error(algorithm: &Value, space: &Value) -> String {
        trials(&sweep(algorithm, space, None))
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn a_grid_is_every_combination_in_order() {
        let grid = json!({ "samplingAlgorithmType": "Grid" });
        let space =
            json!({ "gamma": ["choice", [[0.7, 0.9]]], "lr": ["choice", [[0.5, 1, "big"]]] });
        let all = trials(&sweep(&grid, &space, None)).unwrap();
        let text: Vec<String> = all.iter().map(|trial| json!(trial).to_string()).collect();
        assert_eq!(
            text,
            [
                r#"{"gamma":0.7,"lr":0.5}"#,
                r#"{"gamma":0.7,"lr":1}"#,
                r#"{"gamma":0.7,"lr":"big"}"#,
                r#"{"gamma":0.9,"lr":0.5}"#,
                r#"{"gamma":0.9,"lr":1}"#,
                r#"{"gamma":0.9,"lr":"big"}"#,
            ]
        );
        assert_eq!(
            trials(&sweep(&grid, &space, Some(4))).unwrap(),
            all[..4].to_vec()
        );
        let endless = error(&grid, &json!({ "lr": ["uniform", [0, 1]] }));
        assert!(endless.contains("\"lr\" has no end of values"), "{endless}");
    }

    #[test]
    fn a_seed_draws_the_same_values_from_where_they_are_to_come() {
        let random = |seed: u64| json!({ "samplingAlgorithmType": "Random", "seed": seed });
        let space = json!({
            "a": ["uniform", [0.5, 1.5]],
            "b": ["loguniform", [-6.0, -1.0]],
            "c": ["quniform", [0, 10, 2.5]],
            "d": ["randint", [3]],
            "e": ["normal", [10, 2]],
            "f": ["choice", [["x", "y"]]],
        });
        let all = trials(&sweep(&random(7), &space, Some(200))).unwrap();
        assert_eq!(all.len(), 200);
        assert_eq!(all, trials(&sweep(&random(7), &space, Some(200))).unwrap());
        assert_ne!(all, trials(&sweep(&random(8), &space, Some(200))).unwrap());
        let numbers = |name: &str| {
            all.iter()
                .map(|trial| trial[name].as_f64().unwrap())
                .collect::<Vec<_>>()
        };
        assert!(numbers("a").iter().all(|value| (0.5..1.5).contains(value)));
        let least = (-6.0_f64).exp()..(-1.0_f64).exp();
        assert!(numbers("b").iter().all(|value| least.contains(value)));
        // The logarithm is distributed uniformly: half of the values are below its middle.
        let below = numbers("b")
            .iter()
            .filter(|value| **value < (-3.5_f64).exp())
            .count();
        assert!((70..130).contains(&below), "{below}");
        assert!(
            numbers("c")
                .iter()
                .all(|value| [0.0, 2.5, 5.0, 7.5, 10.0].contains(value))
        );
        assert!(
            numbers("d")
                .iter()
                .all(|value| [0.0, 1.0, 2.0].contains(value))
        );
        let mean = numbers("e").iter().sum::<f64>() / 200.0;
        assert!((9.0..11.0).contains(&mean), "{mean}");
    }

    #[test]
    fn what_was_tried_is_not_tried_again() {
        let random = json!({ "samplingAlgorithmType": "Random" });
        let space = json!({ "a": ["choice", [[1, 2, 3]]], "b": ["randint", [2]] });
        assert_eq!(trials(&sweep(&random, &space, Some(50))).unwrap().len(), 6);
    }

    #[test]
    fn what_cannot_be_drawn_is_refused_by_name() {
        let random = json!({ "samplingAlgorithmType": "Random" });
        for (space, said) in [
            (json!({}), "at least one hyperparameter"),
            (json!({ "a-b": ["randint", [2]] }), "\"a-b\" is no name"),
            (json!({ "a": ["choice", [[]]] }), "a choice of nothing"),
            (json!({ "a": ["choice", [[{}]]] }), "no number, text"),
            (
                json!({ "a": ["uniform", [1, 1]] }),
                "not below the greatest",
            ),
            (json!({ "a": ["normal", [1, 0]] }), "standard deviation"),
            (json!({ "a": ["quniform", [0, 1, 0]] }), "a step"),
            (json!({ "a": ["randint", [0]] }), "integer"),
        ] {
            let error = error(&random, &space);
            assert!(error.contains(said), "{error}");
        }
        let space = json!({ "a": ["randint", [2]] });
        for algorithm in [
            json!({ "samplingAlgorithmType": "Bayesian" }),
            json!({ "samplingAlgorithmType": "Random", "rule": "Sobol" }),
            json!({ "samplingAlgorithmType": "Random", "logbase": 10 }),
        ] {
            let error = error(&algorithm, &space);
            assert!(error.contains("\nhint: "), "{error}");
        }
    }
}
