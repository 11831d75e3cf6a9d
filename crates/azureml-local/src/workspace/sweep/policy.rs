//! Early termination of trials: compares a trial with the others after the same number of metric
//! values.

use crate::error::{Error, Result};
use azureml_wire::sweep::{EarlyTermination, Goal};

/// The values of the primary metric that a trial has logged, in their order.
pub type Course = Vec<f64>;

/// Rejects an invalid policy.
pub fn check(policy: Option<&EarlyTermination>) -> Result<()> {
    let wrong = match policy {
        Some(EarlyTermination::Bandit {
            slack_amount,
            slack_factor,
            ..
        }) => match (slack_amount.unwrap_or(0.0), slack_factor.unwrap_or(0.0)) {
            (amount, factor) if amount < 0.0 || factor < 0.0 => "a slack below 0",
            _ => return Ok(()),
        },
        Some(EarlyTermination::TruncationSelection {
            truncation_percentage,
            ..
        }) if !(1..=99).contains(&truncation_percentage.unwrap_or(0)) => {
            "a truncationPercentage that is not from 1 to 99"
        }
        _ => return Ok(()),
    };
    Err(Error::invalid(format!("the early termination has {wrong}")))
}

/// Whether the policy ends a running trial. `all` contains the courses of all trials, including its
/// own.
pub fn ends(policy: &EarlyTermination, goal: Goal, own: &Course, all: &[&Course]) -> bool {
    let (delay, interval) = match policy {
        EarlyTermination::Bandit {
            delay_evaluation,
            evaluation_interval,
            ..
        }
        | EarlyTermination::MedianStopping {
            delay_evaluation,
            evaluation_interval,
        }
        | EarlyTermination::TruncationSelection {
            delay_evaluation,
            evaluation_interval,
            ..
        } => (
            delay_evaluation.unwrap_or(0) as usize,
            evaluation_interval.unwrap_or(1).max(1) as usize,
        ),
    };
    // The last evaluation that was due; the trial may have logged more values since.
    let count = own.len() / interval * interval;
    if count == 0 || count < delay {
        return false;
    }
    // The trials that have logged as many values.
    let peers: Vec<&[f64]> = all
        .iter()
        .filter_map(|course| course.get(..count))
        .collect();
    let Some(mine) = best(goal, &own[..count]) else {
        return false;
    };
    let bests = || peers.iter().filter_map(|course| best(goal, course));
    match policy {
        EarlyTermination::Bandit {
            slack_amount,
            slack_factor,
            ..
        } => {
            let Some(leader) = goal.best(bests()) else {
                return false;
            };
            let slack = match slack_factor.filter(|factor| *factor > 0.0) {
                Some(factor) => match goal {
                    Goal::Maximize => leader.abs() * (1.0 - 1.0 / (1.0 + factor)),
                    Goal::Minimize => leader.abs() * factor,
                },
                None => slack_amount.unwrap_or(0.0),
            };
            let limit = match goal {
                Goal::Maximize => leader - slack,
                Goal::Minimize => leader + slack,
            };
            goal.is_better(limit, mine)
        }
        EarlyTermination::MedianStopping { .. } => {
            let averages = peers
                .iter()
                .map(|course| course.iter().sum::<f64>() / course.len() as f64);
            median(averages.filter(|average| average.is_finite()).collect())
                .is_some_and(|median| goal.is_better(median, mine))
        }
        EarlyTermination::TruncationSelection {
            truncation_percentage,
            ..
        } => {
            let worst = peers.len() * truncation_percentage.unwrap_or(0) as usize / 100;
            let ahead = bests().filter(|other| goal.is_better(*other, mine)).count();
            ahead >= peers.len() - worst
        }
    }
}

fn best(goal: Goal, values: &[f64]) -> Option<f64> {
    goal.best(values.iter().copied())
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len().is_multiple_of(2) && middle > 0 {
        return Some(f64::midpoint(values[middle - 1], values[middle]));
    }
    values.get(middle).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The indexes of the trials that the policy ends.
    fn ended(policy: &EarlyTermination, goal: Goal, courses: &[&[f64]]) -> Vec<usize> {
        let courses: Vec<Course> = courses.iter().map(|course| course.to_vec()).collect();
        let all: Vec<&Course> = courses.iter().collect();
        (0..courses.len())
            .filter(|&own| ends(policy, goal, &courses[own], &all))
            .collect()
    }

    fn bandit(delay: u32, interval: u32, amount: f64, factor: f64) -> EarlyTermination {
        EarlyTermination::Bandit {
            delay_evaluation: Some(delay),
            evaluation_interval: Some(interval),
            slack_amount: Some(amount),
            slack_factor: Some(factor),
        }
    }

    #[test]
    fn a_bandit_ends_what_is_too_far_behind_the_best() {
        // The service's own example: with a slack factor of 0.2, 0.8 keeps 0.66 and above.
        let policy = bandit(0, 1, 0.0, 0.2);
        assert_eq!(
            ended(&policy, Goal::Maximize, &[&[0.8], &[0.67], &[0.66]]),
            [2]
        );
        assert_eq!(
            ended(&policy, Goal::Minimize, &[&[1.0], &[1.19], &[1.21]]),
            [2]
        );
        // Below 0, the best trial itself stays.
        assert_eq!(
            ended(&policy, Goal::Maximize, &[&[-1.0], &[-1.1], &[-2.0]]),
            [2]
        );
        let policy = bandit(0, 1, 0.05, 0.0);
        assert_eq!(
            ended(&policy, Goal::Maximize, &[&[0.8], &[0.76], &[0.74]]),
            [2]
        );
    }

    #[test]
    fn a_trial_is_compared_with_those_that_have_come_as_far() {
        let policy = bandit(2, 2, 0.1, 0.0);
        // The first value is before the delay, the third is between two evaluations, and trials
        // with fewer values are left out of the comparison.
        assert!(ended(&policy, Goal::Maximize, &[&[0.9], &[0.1]]).is_empty());
        let courses: [&[f64]; 2] = [&[0.1, 0.5, 0.9], &[0.1, 0.45, 0.45]];
        assert!(ended(&policy, Goal::Maximize, &courses).is_empty());
        let courses: [&[f64]; 2] = [&[0.1, 0.9], &[0.1, 0.5, 0.95]];
        assert_eq!(ended(&policy, Goal::Maximize, &courses), [1]);
        assert!(ended(&policy, Goal::Maximize, &[&[f64::NAN, f64::NAN]]).is_empty());
    }

    #[test]
    fn the_median_and_the_worst_part() {
        let median = EarlyTermination::MedianStopping {
            delay_evaluation: None,
            evaluation_interval: None,
        };
        let courses: [&[f64]; 3] = [&[0.5, 0.7], &[0.4, 0.6], &[0.1, 0.2]];
        assert_eq!(ended(&median, Goal::Maximize, &courses), [2]);
        assert!(ended(&median, Goal::Maximize, &courses[..1]).is_empty());
        let worst = EarlyTermination::TruncationSelection {
            delay_evaluation: None,
            evaluation_interval: None,
            truncation_percentage: Some(40),
        };
        let courses: [&[f64]; 5] = [&[0.5], &[0.1], &[0.4], &[0.3], &[0.2]];
        assert_eq!(ended(&worst, Goal::Maximize, &courses), [1, 4]);
        // A percentage of few trials rounds down to none.
        assert!(ended(&worst, Goal::Maximize, &courses[..2]).is_empty());
    }

    #[test]
    fn policies_that_make_no_sense_are_refused() {
        assert!(check(Some(&bandit(0, 1, -1.0, 0.0))).is_err());
        assert!(check(Some(&bandit(0, 0, 0.0, 0.1))).is_ok());
        for (percentage, fine) in [(None, false), (Some(100), false), (Some(20), true)] {
            let policy = EarlyTermination::TruncationSelection {
                delay_evaluation: None,
                evaluation_interval: None,
                truncation_percentage: percentage,
            };
            assert_eq!(check(Some(&policy)).is_ok(), fine, "{percentage:?}");
        }
    }
}
