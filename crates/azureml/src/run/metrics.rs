//! The metrics of a run: all values, as a table and as charts.

use crate::show::{self, Cell};
use chrono::{DateTime, Utc};
use notebook::{Chart, Display, MimeBundle, Table};

/// One value of a metric.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Point {
    /// The step, e.g. the epoch.
    pub step: i64,
    /// The value.
    pub value: f64,
    /// The time of logging.
    pub time: DateTime<Utc>,
}

/// All values of one metric, in the order of logging.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Metric {
    /// The name.
    pub name: String,
    /// The values.
    pub points: Vec<Point>,
}

impl Metric {
    /// The value with the greatest step; of several, the one with the latest time, then the
    /// greatest value. MLflow uses this rule, independent of the order of logging.
    pub fn latest(&self) -> Option<f64> {
        // MLflow treats NaN as zero here.
        let size = |value: f64| if value.is_nan() { 0.0 } else { value };
        let order = |a: &&Point, b: &&Point| {
            (a.step, a.time)
                .cmp(&(b.step, b.time))
                .then(size(a.value).total_cmp(&size(b.value)))
        };
        self.points.iter().max_by(order).map(|point| point.value)
    }

    /// The values without steps and times.
    pub fn values(&self) -> Vec<f64> {
        self.points.iter().map(|point| point.value).collect()
    }
}

/// The metrics of a run; displayed as a table and, for metrics with more than one value, as charts.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Metrics {
    metrics: Vec<Metric>,
}

impl Metrics {
    pub(crate) fn new(mut metrics: Vec<Metric>) -> Self {
        metrics.sort_by(|a, b| a.name.cmp(&b.name));
        Self { metrics }
    }

    /// The latest value of a metric, as defined by [`Metric::latest`].
    pub fn latest(&self, name: &str) -> Option<f64> {
        self.get(name)?.latest()
    }

    /// All values of a metric, in the order of logging; empty for an unknown metric.
    pub fn history(&self, name: &str) -> &[Point] {
        self.get(name).map_or(&[], |metric| &metric.points)
    }

    /// One metric.
    pub fn get(&self, name: &str) -> Option<&Metric> {
        self.metrics.iter().find(|metric| metric.name == name)
    }

    /// The metrics, sorted by name.
    pub fn iter(&self) -> std::slice::Iter<'_, Metric> {
        self.metrics.iter()
    }

    /// The names.
    pub fn names(&self) -> Vec<&str> {
        self.metrics
            .iter()
            .map(|metric| metric.name.as_str())
            .collect()
    }

    /// Whether the run has no metrics.
    pub fn is_empty(&self) -> bool {
        self.metrics.is_empty()
    }

    fn table(&self) -> Table {
        let rows = self.metrics.iter().map(|metric| {
            let finite = || {
                metric
                    .points
                    .iter()
                    .map(|point| point.value)
                    .filter(|value| value.is_finite())
            };
            let cell =
                |value: Option<f64>| Cell::Number(value.map(show::number).unwrap_or_default());
            vec![
                Cell::text(&metric.name),
                cell(metric.latest()),
                cell(finite().reduce(f64::min)),
                cell(finite().reduce(f64::max)),
                Cell::Number(metric.points.len().to_string()),
            ]
        });
        show::table(&["Metric", "Last", "Min", "Max", "Values"], rows)
    }
}

impl<'a> IntoIterator for &'a Metrics {
    type Item = &'a Metric;
    type IntoIter = std::slice::Iter<'a, Metric>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl Display for Metrics {
    fn mime_bundle(&self) -> MimeBundle {
        if self.metrics.is_empty() {
            return MimeBundle::new()
                .text("no metrics yet")
                .html("<i>no metrics yet</i>");
        }
        let table = self.table();
        let mut html = table.to_html();
        html.push_str(r#"<div style="display:flex;flex-wrap:wrap;gap:12px;margin-top:8px">"#);
        for metric in &self.metrics {
            if let Some(chart) = chart(metric) {
                html.push_str(&chart.to_svg());
            }
        }
        html.push_str("</div>");
        MimeBundle::new().text(table.to_text()).html(html)
    }
}

notebook::evcxr_display!(Metrics);

/// A line chart of a metric; `None` for fewer than two points.
fn chart(metric: &Metric) -> Option<Chart> {
    let points = places(&metric.points);
    (points.len() > 1).then(|| {
        Chart::new()
            .title(&metric.name)
            .size(320, 180)
            .line("", points)
    })
}

/// The points to draw, by step if the steps are unique, else by index from 1.
pub(super) fn places(points: &[Point]) -> Vec<(f64, f64)> {
    let mut steps: Vec<i64> = points.iter().map(|point| point.step).collect();
    steps.sort_unstable();
    steps.dedup();
    let by_step = steps.len() == points.len();
    let mut values: Vec<(f64, f64)> = points
        .iter()
        .zip(1_i64..)
        .map(|(point, nth)| (if by_step { point.step } else { nth } as f64, point.value))
        .filter(|(_, value)| value.is_finite())
        .collect();
    values.sort_by(|a, b| a.0.total_cmp(&b.0));
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metric(name: &str, values: &[(i64, f64)]) -> Metric {
        let points = values
            .iter()
            .map(|&(step, value)| Point {
                step,
                value,
                time: DateTime::UNIX_EPOCH,
            })
            .collect();
        Metric {
            name: name.into(),
            points,
        }
    }

    #[test]
    fn metrics_show_as_a_table_and_charts() {
        let metrics = Metrics::new(vec![
            metric("Test loss", &[(1, 0.051_23), (2, 0.034_567)]),
            metric("Accuracy", &[(1, 98.3), (2, 98.86)]),
            metric("once", &[(0, 1.0)]),
        ]);
        let bundle = metrics.mime_bundle();
        insta::assert_snapshot!(bundle.plain_text().unwrap());
        let html = bundle.get("text/html").unwrap().as_str().unwrap();
        assert_eq!(html.matches("<svg").count(), 2, "a single value is no line");
        assert_eq!(metrics.latest("Accuracy"), Some(98.86));
        assert_eq!(metrics.history("nothing"), []);
    }

    #[test]
    fn the_latest_value_is_that_of_the_greatest_step_then_time_then_value() {
        let point = |step, second, value| Point {
            step,
            value,
            time: DateTime::from_timestamp(second, 0).unwrap(),
        };
        let mut points = vec![
            point(4, 10, 1.0),
            point(4, 20, 3.0),
            point(4, 20, 5.0),
            point(4, 20, 4.0),
            point(4, 20, f64::NAN),
            point(2, 90, 9.0),
        ];
        for _ in 0..points.len() {
            points.rotate_left(1);
            let metric = Metric {
                name: "loss".into(),
                points: points.clone(),
            };
            assert_eq!(metric.latest(), Some(5.0), "{:?}", metric.points);
        }
        assert_eq!(metric("none", &[]).latest(), None);
    }

    #[test]
    fn a_chart_is_drawn_whatever_the_values() {
        for values in [
            vec![(0, 1.0), (1, 1.0)],
            vec![(0, 0.0), (1, 0.0)],
            vec![(0, f64::NAN), (1, 1.0), (2, f64::INFINITY), (3, 2.0)],
            vec![(0, 1.0), (0, 2.0), (0, 3.0)],
            (0..5000).map(|step| (step, step as f64)).collect(),
        ] {
            let svg = chart(&metric("<m>", &values)).unwrap().to_svg();
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
            assert!(svg.contains("&lt;m&gt;") && svg.len() < 40_000);
        }
        assert_eq!(chart(&metric("m", &[(0, f64::NAN), (1, 2.0)])), None);
    }

    #[test]
    fn a_chart_looks_like_this() {
        insta::assert_snapshot!(
            chart(&metric("loss", &[(1, 0.5), (2, 0.25)]))
                .unwrap()
                .to_svg()
        );
    }
}
