//! The trials of a sweep, compared.

use super::metrics::{Point, places};
use crate::show::{self, Cell};
use crate::sweep_config::plain;
use azureml_wire::job::JobStatus;
use azureml_wire::sweep::{Goal, Objective};
use notebook::{Chart, Display, MimeBundle};
use serde_json::Value;
use std::collections::BTreeMap;

/// The most lines in one chart; more cannot be distinguished.
const LINES: usize = 10;

/// One trial of a sweep.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Trial {
    /// The id of its run.
    pub id: String,
    /// The status.
    pub status: JobStatus,
    /// The hyperparameters.
    pub parameters: BTreeMap<String, Value>,
    /// All values of the primary metric.
    pub values: Vec<Point>,
    /// The best of these values.
    pub best: Option<f64>,
}

impl Trial {
    /// The hyperparameters as text: `lr=0.5 gamma=0.7`.
    pub fn label(&self) -> String {
        let parameters: Vec<String> = self
            .parameters
            .iter()
            .map(|(name, value)| format!("{name}={}", plain(value)))
            .collect();
        parameters.join(" ")
    }
}

/// The trials of a sweep in the order of creation; displayed as a table, the best first, and as
/// charts.
#[derive(Debug, Clone, PartialEq)]
pub struct Trials {
    pub(crate) objective: Objective,
    pub(crate) trials: Vec<Trial>,
}

impl Trials {
    /// The metric by which the trials are compared.
    pub fn primary_metric(&self) -> &str {
        &self.objective.primary_metric
    }

    /// Whether the metric is minimized or maximized.
    pub fn goal(&self) -> Goal {
        self.objective.goal
    }

    /// The best trial so far; a failed trial is never the best.
    pub fn best(&self) -> Option<&Trial> {
        self.ranked()
            .into_iter()
            .next()
            .filter(|trial| is_ranked(trial))
    }

    /// The trials in the order of creation.
    pub fn iter(&self) -> std::slice::Iter<'_, Trial> {
        self.trials.iter()
    }

    /// The number of trials so far.
    pub fn len(&self) -> usize {
        self.trials.len()
    }

    /// Whether the sweep has no trials yet.
    pub fn is_empty(&self) -> bool {
        self.trials.is_empty()
    }

    /// The trials with the best first; trials without a rank are last.
    fn ranked(&self) -> Vec<&Trial> {
        let mut ranked: Vec<&Trial> = self.trials.iter().collect();
        let value = |trial: &Trial| trial.best.filter(|_| is_ranked(trial));
        // The sort is stable: of equal trials, the earlier one is first.
        ranked.sort_by(|a, b| match (value(a), value(b)) {
            (Some(a), Some(b)) => match self.objective.goal {
                Goal::Minimize => a.total_cmp(&b),
                Goal::Maximize => b.total_cmp(&a),
            },
            (a, b) => b.is_some().cmp(&a.is_some()),
        });
        ranked
    }

    /// The names of the hyperparameters.
    fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for name in self.trials.iter().flat_map(|trial| trial.parameters.keys()) {
            if !names.contains(&name.as_str()) {
                names.push(name);
            }
        }
        names
    }

    fn table(&self) -> notebook::Table {
        let names = self.names();
        let metric = self.primary_metric();
        let headers: Vec<&str> = ["Trial"]
            .into_iter()
            .chain(names.iter().copied())
            .chain([metric, "Status"])
            .collect();
        let rows = self.ranked().into_iter().map(|trial| {
            let parameters = names.iter().map(|name| match trial.parameters.get(*name) {
                Some(value) if value.is_number() => Cell::Number(plain(value)),
                Some(value) => Cell::text(plain(value)),
                None => Cell::text(""),
            });
            let value = trial.best.map(show::number).unwrap_or_default();
            [Cell::Code(trial.id.clone())]
                .into_iter()
                .chain(parameters)
                .chain([Cell::Number(value), Cell::Status(trial.status)])
                .collect()
        });
        show::table(&headers, rows)
    }

    /// A chart of the metric by step, with one line for each trial, and one chart for each numeric
    /// hyperparameter with several values.
    fn charts(&self) -> Vec<Chart> {
        let metric = self.primary_metric();
        let mut charts = Vec::new();
        let lines: Vec<(String, Vec<(f64, f64)>)> = self
            .ranked()
            .into_iter()
            .map(|trial| (trial.label(), places(&trial.values)))
            .filter(|(_, points)| points.len() > 1)
            .take(LINES)
            .collect();
        if !lines.is_empty() {
            let mut chart = Chart::new().title(metric).size(480, 240);
            for (label, points) in lines {
                chart = chart.line(label, points);
            }
            charts.push(chart);
        }
        for name in self.names() {
            let mut points: Vec<(f64, f64)> = self
                .trials
                .iter()
                .filter_map(|trial| Some((trial.parameters.get(name)?.as_f64()?, trial.best?)))
                .collect();
            points.sort_by(|a, b| a.0.total_cmp(&b.0));
            let differs = points
                .windows(2)
                .any(|pair| pair[0].0.total_cmp(&pair[1].0).is_ne());
            if differs {
                charts.push(
                    Chart::new()
                        .title(format!("{metric} by {name}"))
                        .axes(name, "")
                        .size(320, 180)
                        .scatter("", points),
                );
            }
        }
        charts
    }
}

fn is_ranked(trial: &Trial) -> bool {
    trial.best.is_some() && trial.status != JobStatus::Failed
}

impl<'a> IntoIterator for &'a Trials {
    type Item = &'a Trial;
    type IntoIter = std::slice::Iter<'a, Trial>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl Display for Trials {
    fn mime_bundle(&self) -> MimeBundle {
        if self.trials.is_empty() {
            return MimeBundle::new()
                .text("no trials yet")
                .html("<i>no trials yet</i>");
        }
        let table = self.table();
        let mut html = table.to_html();
        html.push_str(r#"<div style="display:flex;flex-wrap:wrap;gap:12px;margin-top:8px">"#);
        for chart in self.charts() {
            html.push_str(&chart.to_svg());
        }
        html.push_str("</div>");
        MimeBundle::new().text(table.to_text()).html(html)
    }
}

notebook::evcxr_display!(Trials);

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;
    use serde_json::json;

    fn trial(id: &str, status: JobStatus, lr: f64, kind: &str, values: &[f64]) -> Trial {
        let parameters = [("lr", json!(lr)), ("kind", json!(kind))];
        Trial {
            id: id.to_owned(),
            status,
            parameters: parameters
                .map(|(name, value)| (name.to_owned(), value))
                .into(),
            values: values
                .iter()
                .zip(1..)
                .map(|(value, step)| Point {
                    step,
                    value: *value,
                    time: DateTime::UNIX_EPOCH,
                })
                .collect(),
            best: Goal::Minimize.best(values.iter().copied()),
        }
    }

    fn trials() -> Trials {
        Trials {
            objective: Objective {
                goal: Goal::Minimize,
                primary_metric: "loss".to_owned(),
            },
            trials: vec![
                trial("s_0", JobStatus::Completed, 0.5, "a", &[0.75, 0.5]),
                trial("s_1", JobStatus::Failed, 0.5, "<b>", &[0.125]),
                trial("s_2", JobStatus::Running, 1.0, "a", &[0.5, 0.25, f64::NAN]),
                trial("s_3", JobStatus::Queued, 1.0, "<b>", &[]),
            ],
        }
    }

    #[test]
    fn the_best_stands_first_and_what_failed_is_never_the_best() {
        let trials = trials();
        assert_eq!(
            trials.best().map(Trial::label).as_deref(),
            Some("kind=a lr=1.0")
        );
        let bundle = trials.mime_bundle();
        insta::assert_snapshot!(bundle.plain_text().unwrap(), @r"
        Trial  kind   lr   loss  Status
        s_2    a     1.0   0.25  Running
        s_0    a     0.5    0.5  Completed
        s_1    <b>   0.5  0.125  Failed
        s_3    <b>   1.0         Queued
        ");
        let html = bundle.get("text/html").unwrap().as_str().unwrap();
        // Lines of the two trials with values, and points over the only numeric hyperparameter.
        assert_eq!(html.matches("<svg").count(), 2);
        assert!(
            html.contains("loss by lr") && !html.contains("<b>"),
            "{html}"
        );
    }

    #[test]
    fn a_sweep_without_trials_says_so() {
        let none = Trials {
            trials: Vec::new(),
            ..trials()
        };
        assert_eq!(none.best(), None);
        assert_eq!(none.mime_bundle().plain_text(), Some("no trials yet"));
    }
}
