//! The metrics of a run: every value, as a table and as charts.

use crate::show::{self, Cell, Table, escape};
use chrono::{DateTime, Utc};
use notebook::{Display, MimeBundle};
use std::fmt::Write;

/// One value of a metric.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Point {
    /// The step, e.g. the epoch.
    pub step: i64,
    /// The value.
    pub value: f64,
    /// When it was logged.
    pub time: DateTime<Utc>,
}

/// All values of one metric, in the order of logging.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Metric {
    /// Its name.
    pub name: String,
    /// Its values.
    pub points: Vec<Point>,
}

impl Metric {
    /// The value that was logged last.
    pub fn latest(&self) -> Option<f64> {
        self.points.last().map(|point| point.value)
    }

    /// The values alone.
    pub fn values(&self) -> Vec<f64> {
        self.points.iter().map(|point| point.value).collect()
    }
}

/// The metrics of a run; shows as a table and, where a metric has more than one value, as charts.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Metrics {
    metrics: Vec<Metric>,
}

impl Metrics {
    pub(crate) fn new(mut metrics: Vec<Metric>) -> Self {
        metrics.sort_by(|a, b| a.name.cmp(&b.name));
        Self { metrics }
    }

    /// The last value of a metric.
    pub fn latest(&self, name: &str) -> Option<f64> {
        self.get(name)?.latest()
    }

    /// All values of a metric, in the order of logging; empty when there is no such metric.
    pub fn history(&self, name: &str) -> &[Point] {
        self.get(name).map_or(&[], |metric| &metric.points)
    }

    /// One metric.
    pub fn get(&self, name: &str) -> Option<&Metric> {
        self.metrics.iter().find(|metric| metric.name == name)
    }

    /// The metrics, by name.
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

    /// Whether nothing was logged.
    pub fn is_empty(&self) -> bool {
        self.metrics.is_empty()
    }

    fn table(&self) -> Table {
        let mut table = Table::new(&["Metric", "Last", "Min", "Max", "Values"]);
        for metric in &self.metrics {
            let finite = || {
                metric
                    .points
                    .iter()
                    .map(|point| point.value)
                    .filter(|value| value.is_finite())
            };
            let cell =
                |value: Option<f64>| Cell::Number(value.map(show::number).unwrap_or_default());
            table.push(vec![
                Cell::text(&metric.name),
                cell(metric.latest()),
                cell(finite().reduce(f64::min)),
                cell(finite().reduce(f64::max)),
                Cell::Number(metric.points.len().to_string()),
            ]);
        }
        table
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
        let mut html = table.html();
        html.push_str(r#"<div style="display:flex;flex-wrap:wrap;gap:12px;margin-top:8px">"#);
        for metric in &self.metrics {
            if let Some(chart) = chart(metric) {
                html.push_str(&chart);
            }
        }
        html.push_str("</div>");
        MimeBundle::new().text(table.text()).html(html)
    }
}

notebook::evcxr_display!(Metrics);

const WIDTH: f64 = 320.0;
const HEIGHT: f64 = 180.0;
/// Room for a number of six significant digits and a sign.
const LEFT: f64 = 66.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 24.0;
const BOTTOM: f64 = 24.0;
/// More points than this are no longer told apart on the screen.
const POINTS: usize = 600;

/// A line chart of a metric; `None` when there is no line to draw. Text and axes have the page's own colour.
fn chart(metric: &Metric) -> Option<String> {
    let values: Vec<(f64, f64)> = places(&metric.points);
    if values.len() < 2 {
        return None;
    }
    let (x_min, x_max) = bounds(values.iter().map(|(x, _)| *x))?;
    let (y_min, y_max) = bounds(values.iter().map(|(_, y)| *y))?;
    // A flat line stands in the middle.
    let pad = if y_max > y_min {
        0.05 * (y_max - y_min)
    } else {
        y_max.abs().max(1.0) * 0.5
    };
    let (bottom, top) = (y_min - pad, y_max + pad);
    let x = |value: f64| {
        LEFT + (value - x_min) / (x_max - x_min).max(f64::MIN_POSITIVE) * (WIDTH - LEFT - RIGHT)
    };
    let y = |value: f64| TOP + (top - value) / (top - bottom) * (HEIGHT - TOP - BOTTOM);
    let mut svg = format!(
        r#"<svg role="img" width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" style="color:var(--jp-ui-font-color1,inherit);font:11px sans-serif"><title>{name}</title><text x="{LEFT}" y="14" fill="currentColor" font-weight="bold">{name}</text>"#,
        name = escape(&metric.name)
    );
    let mut marks = vec![y_min];
    if y_max > y_min {
        marks.push(y_max);
    }
    for value in marks {
        // Writing to a String cannot fail.
        let _ = write!(
            svg,
            r#"<line x1="{LEFT}" x2="{}" y1="{:.1}" y2="{:.1}" stroke="currentColor" opacity=".2"/><text x="{}" y="{:.1}" fill="currentColor" text-anchor="end">{}</text>"#,
            WIDTH - RIGHT,
            y(value),
            y(value),
            LEFT - 6.0,
            y(value) + 4.0,
            show::number(value)
        );
    }
    for (value, anchor) in [(x_min, "start"), (x_max, "end")] {
        let _ = write!(
            svg,
            r#"<text x="{:.1}" y="{}" fill="currentColor" text-anchor="{anchor}">{}</text>"#,
            x(value),
            HEIGHT - 8.0,
            show::number(value)
        );
    }
    let line: Vec<String> = values
        .iter()
        .map(|(px, py)| format!("{:.1},{:.1}", x(*px), y(*py)))
        .collect();
    let _ = write!(
        svg,
        r#"<polyline points="{}" fill="none" stroke="var(--jp-brand-color1,#1976d2)" stroke-width="1.8" stroke-linejoin="round"/>"#,
        line.join(" ")
    );
    if values.len() <= 30 {
        for (px, py) in &values {
            let _ = write!(
                svg,
                r#"<circle cx="{:.1}" cy="{:.1}" r="2.5" fill="var(--jp-brand-color1,#1976d2)"><title>{}: {}</title></circle>"#,
                x(*px),
                y(*py),
                show::number(*px),
                show::number(*py)
            );
        }
    }
    svg.push_str("</svg>");
    Some(svg)
}

/// The points to draw: by step where steps tell them apart, else one after the other; thinned when they are many.
fn places(points: &[Point]) -> Vec<(f64, f64)> {
    let mut steps: Vec<i64> = points.iter().map(|point| point.step).collect();
    steps.sort_unstable();
    steps.dedup();
    let by_step = steps.len() == points.len();
    let mut values: Vec<(f64, f64)> = points
        .iter()
        .enumerate()
        .map(|(index, point)| {
            (
                if by_step {
                    point.step as f64
                } else {
                    (index + 1) as f64
                },
                point.value,
            )
        })
        .filter(|(_, value)| value.is_finite())
        .collect();
    values.sort_by(|a, b| a.0.total_cmp(&b.0));
    let every = values.len().div_ceil(POINTS).max(1);
    let last = values.len().saturating_sub(1);
    values
        .into_iter()
        .enumerate()
        .filter(|(index, _)| index % every == 0 || *index == last)
        .map(|(_, value)| value)
        .collect()
}

fn bounds(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values.fold(None, |bounds, value| match bounds {
        None => Some((value, value)),
        Some((min, max)) => Some((min.min(value), max.max(value))),
    })
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
    fn a_chart_is_drawn_whatever_the_values() {
        for values in [
            vec![(0, 1.0), (1, 1.0)],
            vec![(0, 0.0), (1, 0.0)],
            vec![(0, f64::NAN), (1, 1.0), (2, f64::INFINITY), (3, 2.0)],
            vec![(0, 1.0), (0, 2.0), (0, 3.0)],
            (0..5000).map(|step| (step, step as f64)).collect(),
        ] {
            let svg = chart(&metric("<m>", &values)).unwrap();
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
            assert!(svg.contains("&lt;m&gt;") && svg.len() < 20_000);
        }
        assert_eq!(chart(&metric("m", &[(0, f64::NAN), (1, 2.0)])), None);
    }

    #[test]
    fn a_chart_looks_like_this() {
        insta::assert_snapshot!(chart(&metric("loss", &[(1, 0.5), (2, 0.25)])).unwrap());
    }
}
