//! Charts of metrics.

use super::text;
use crate::error::{Error, Result};
use crate::store::series;
use crate::workspace::{Workspace, blocking};
use plotters::prelude::*;
use rusqlite::Connection;
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;

/// A chart of one metric of a run, and its caption.
pub struct Chart {
    /// The metric's id.
    pub id: i64,
    /// The position of its newest value in the order of logging.
    pub newest: i64,
    /// The metric's name.
    pub name: String,
    /// Its last value.
    pub last: String,
    /// The chart as SVG. Text from users is escaped.
    pub svg: String,
}

/// One line of a chart: its name, which is empty for a single line, and its points by step.
pub struct Series {
    /// The run's name.
    pub name: String,
    /// Step and value.
    pub points: Vec<(f64, f64)>,
}

const WIDTH: u32 = 600;
const HEIGHT: u32 = 300;

const COLOURS: [RGBColor; 6] = [
    RGBColor(38, 120, 206),
    RGBColor(214, 98, 36),
    RGBColor(38, 150, 70),
    RGBColor(140, 90, 220),
    RGBColor(200, 70, 140),
    RGBColor(150, 125, 20),
];

/// The charts of a run, by name. Unchanged charts of `known` are reused.
pub async fn of_run(app: &Workspace, run: &str, known: &[Arc<Chart>]) -> Result<Vec<Arc<Chart>>> {
    let run = run.to_owned();
    let known: HashMap<i64, Arc<Chart>> = known
        .iter()
        .map(|chart| (chart.id, Arc::clone(chart)))
        .collect();
    let series = app
        .db(move |store| {
            let mut found = Vec::new();
            for series in series::of_run(store, &run)? {
                let old = known
                    .get(&series.id)
                    .filter(|chart| chart.newest == series.newest);
                found.push(match old {
                    Some(chart) => Ok(Arc::clone(chart)),
                    None => Err((series::points(store, series.id)?, series)),
                });
            }
            Ok(found)
        })
        .await?;
    // Drawn outside of the store's thread: a job that logs must not wait for charts.
    blocking(move || {
        let draw = |(points, series): (_, series::Series)| {
            Ok(Arc::new(Chart {
                id: series.id,
                newest: series.newest,
                last: text::number(series.last.value),
                svg: draw(&[Series {
                    name: String::new(),
                    points,
                }])?,
                name: series.last.key,
            }))
        };
        series
            .into_iter()
            .map(|found| found.or_else(draw))
            .collect()
    })
    .await
}

/// The lines of several runs, by metric; a run without the metric has an empty line.
pub fn lines(
    store: &Connection,
    runs: &[(String, String)],
) -> Result<BTreeMap<String, Vec<Series>>> {
    let mut lines: BTreeMap<String, Vec<Series>> = BTreeMap::new();
    let empty = || {
        let names = runs.iter().map(|(_, name)| name.clone());
        names
            .map(|name| Series {
                name,
                points: Vec::new(),
            })
            .collect()
    };
    for (number, (run, _)) in runs.iter().enumerate() {
        for series in series::of_run(store, run)? {
            let points = series::points(store, series.id)?;
            lines.entry(series.last.key).or_insert_with(empty)[number].points = points;
        }
    }
    Ok(lines)
}

/// Draws lines over steps as SVG.
pub fn draw(series: &[Series]) -> Result<String> {
    let mut svg = String::new();
    picture(&mut svg, series)
        .map_err(|error| Error::Internal(format!("a chart could not be drawn: {error}")))?;
    Ok(svg)
}

fn picture(
    svg: &mut String,
    series: &[Series],
) -> std::result::Result<(), Box<dyn std::error::Error>> {
    let finite = || {
        series
            .iter()
            .flat_map(|series| &series.points)
            .filter(|(_, value)| value.is_finite())
    };
    let steps = range(finite().map(|(step, _)| *step));
    // With few steps, only whole steps get a label.
    let span = steps.end - steps.start;
    let few = span < 12.0;
    let values = range(finite().map(|(_, value)| *value));
    let root = SVGBackend::with_string(svg, (WIDTH, HEIGHT)).into_drawing_area();
    let mut chart = ChartBuilder::on(&root)
        .margin(8)
        .x_label_area_size(28)
        .y_label_area_size(64)
        .build_cartesian_2d(steps, values)?;
    let grey = RGBColor(128, 128, 140);
    chart
        .configure_mesh()
        .axis_style(grey)
        .bold_line_style(grey.mix(0.3))
        .light_line_style(TRANSPARENT)
        .label_style(("sans-serif", 14))
        .x_labels(if few { span as usize + 1 } else { 10 })
        .x_label_formatter(&|step| {
            if few && (step - step.round()).abs() > 1e-6 {
                return String::new();
            }
            text::number(*step)
        })
        .y_label_formatter(&|value| text::number(*value))
        .draw()?;
    let named = series.len() > 1;
    for (series, colour) in series.iter().zip(COLOURS.into_iter().cycle()) {
        // A value that is not finite interrupts the line.
        for line in series
            .points
            .split(|(_, value)| !value.is_finite())
            .filter(|line| !line.is_empty())
        {
            chart.draw_series(LineSeries::new(
                line.iter().copied(),
                colour.stroke_width(2),
            ))?;
            if line.len() == 1 {
                chart.draw_series([Circle::new(line[0], 3, colour.filled())])?;
            }
        }
        if named {
            chart
                .draw_series(LineSeries::new([], colour.stroke_width(2)))?
                .label(&series.name)
                .legend(move |(x, y)| {
                    PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(3))
                });
        }
    }
    if named {
        chart
            .configure_series_labels()
            .border_style(grey.mix(0.5))
            .label_font(("sans-serif", 14))
            .draw()?;
    }
    root.present()?;
    Ok(())
}

/// The range of an axis: contains all values and is never empty.
fn range(values: impl Iterator<Item = f64>) -> Range<f64> {
    let (least, most) = values.fold(
        (f64::INFINITY, f64::NEG_INFINITY),
        |(least, most), value| (least.min(value), most.max(value)),
    );
    if least > most {
        return 0.0..1.0;
    }
    let room = ((most - least) * 0.03)
        .max(least.abs().max(most.abs()) * 1e-6)
        .max(1e-9);
    least - room..most + room
}

/// The position of the charts' newest value in the order of logging.
pub fn newest(charts: &[Arc<Chart>]) -> i64 {
    charts.iter().map(|chart| chart.newest).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(name: &str, points: &[(f64, f64)]) -> Series {
        Series {
            name: name.to_owned(),
            points: points.to_vec(),
        }
    }

    #[test]
    fn every_kind_of_line_is_drawn() {
        for points in [
            &[][..],
            &[(0.0, 1.0)],
            &[(0.0, 1.0), (1.0, 1.0)],
            &[(0.0, f64::NAN), (1.0, f64::INFINITY)],
            &[(0.0, 1e300), (1.0, -1e300)],
            &[(0.0, 0.5), (1.0, f64::NAN), (2.0, 0.25)],
        ] {
            let svg = draw(&[series("", points)]).expect("a picture");
            assert!(svg.starts_with("<svg"), "{svg}");
            assert!(!svg.contains("NaN"), "{svg}");
        }
    }

    #[test]
    fn names_are_text() {
        let svg = draw(&[
            series("<script>alert(1)</script>", &[(0.0, 1.0)]),
            series("b", &[(0.0, 2.0)]),
        ])
        .expect("a picture");
        assert!(!svg.contains("<script"), "{svg}");
    }
}
