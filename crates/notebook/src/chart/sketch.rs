//! Charts as text.

use super::{Chart, Shape, bounds, is_drawn, span};
use crate::text::{number, pad, shortened, width};

/// The size of the plot area in columns and lines.
const WIDTH: usize = 64;
const HEIGHT: usize = 12;

/// The length of the longest bar, in columns.
const BAR: usize = 40;

/// The characters of the series.
const MARKS: [char; 6] = ['*', 'o', '+', 'x', '#', '@'];

pub(super) fn text(chart: &Chart) -> String {
    let mut lines = Vec::new();
    if !chart.title.is_empty() {
        lines.push(chart.title.clone());
    }
    if chart.has_bars() {
        bars(chart, &mut lines);
    }
    let rest = || {
        let all = chart.series.iter().enumerate();
        all.filter(|(_, series)| series.shape != Shape::Bars)
    };
    if rest().any(|(_, series)| series.points.iter().any(is_drawn)) {
        grid(chart, &mut lines);
    } else if !chart.has_bars() {
        lines.push("no points yet".to_owned());
    }
    let legend: Vec<String> = rest()
        .filter(|(_, series)| !series.name.is_empty())
        .map(|(index, series)| format!("{} {}", MARKS[index % MARKS.len()], series.name))
        .collect();
    if !legend.is_empty() {
        lines.push(legend.join("   "));
    }
    lines.join("\n")
}

/// Draws one line for each bar.
fn bars(chart: &Chart, lines: &mut Vec<String>) {
    let all = || {
        chart
            .series
            .iter()
            .filter(|series| series.shape == Shape::Bars)
    };
    let longest = bounds(
        all()
            .flat_map(|series| &series.points)
            .map(|(_, y)| y.abs()),
    );
    let longest = longest.map_or(0.0, |(_, most)| most);
    let mut rows = Vec::new();
    for (place, category) in chart.categories.iter().enumerate() {
        for series in all() {
            let values = series.points.iter();
            for (_, value) in values.filter(|(x, _)| *x as usize == place) {
                let name = match series.name.as_str() {
                    "" => category.clone(),
                    name => format!("{category} {name}"),
                };
                let part = if longest > 0.0 {
                    value.abs() / longest
                } else {
                    0.0
                };
                let sign = if *value < 0.0 { "░" } else { "█" };
                let bar = sign.repeat((part * BAR as f64).round() as usize);
                rows.push((shortened(&name, 30), bar, number(*value)));
            }
        }
    }
    let widest = rows.iter().map(|(name, ..)| width(name)).max().unwrap_or(0);
    lines.extend(rows.into_iter().map(|(name, bar, value)| {
        let gap = if bar.is_empty() { "" } else { " " };
        format!("{}  {bar}{gap}{value}", pad(&name, widest, false))
    }));
}

/// Draws lines and points over axes.
fn grid(chart: &Chart, lines: &mut Vec<String>) {
    let rest = || {
        let all = chart.series.iter().enumerate();
        all.filter(|(_, series)| series.shape != Shape::Bars)
    };
    let drawn = || {
        let points = rest().flat_map(|(_, series)| &series.points);
        points.filter(|point| is_drawn(point))
    };
    let (Some(x), Some(y)) = (
        bounds(drawn().map(|(x, _)| *x)),
        bounds(drawn().map(|(_, y)| *y)),
    ) else {
        return;
    };
    let place = |value: f64, (least, most): (f64, f64), count: usize| {
        let (from, to) = if most > least {
            (least, most)
        } else {
            span(Some((least, most)))
        };
        ((value - from) / (to - from) * (count - 1) as f64).round() as usize
    };
    let mut cells = vec![[' '; WIDTH]; HEIGHT];
    for (index, series) in rest() {
        let mark = MARKS[index % MARKS.len()];
        let mut before: Option<(usize, usize)> = None;
        for point in &series.points {
            if !is_drawn(point) {
                before = None;
                continue;
            }
            let here = (place(point.0, x, WIDTH), place(point.1, y, HEIGHT));
            let mut set = |(column, row): (usize, usize)| cells[HEIGHT - 1 - row][column] = mark;
            set(here);
            if let Some(before) = before.filter(|_| series.shape == Shape::Line) {
                let (left, right) = (before.min(here), before.max(here));
                for column in left.0 + 1..right.0 {
                    let part = (column - left.0) as f64 / (right.0 - left.0) as f64;
                    let row = left.1 as f64 + part * (right.1 as f64 - left.1 as f64);
                    set((column, row.round() as usize));
                }
            }
            before = Some(here);
        }
    }
    let (top, bottom) = if y.1 > y.0 {
        (number(y.1), number(y.0))
    } else {
        let (from, to) = span(Some(y));
        (number(to), number(from))
    };
    let margin = width(&top).max(width(&bottom));
    if !chart.y_name.is_empty() {
        lines.push(format!("{} {}", " ".repeat(margin), chart.y_name));
    }
    for (index, row) in cells.iter().enumerate() {
        let label = match index {
            0 => top.as_str(),
            _ if index == HEIGHT - 1 => bottom.as_str(),
            _ => "",
        };
        let row: String = row.iter().collect();
        lines.push(format!("{} |{}", pad(label, margin, true), row.trim_end()));
    }
    let indent = " ".repeat(margin);
    lines.push(format!("{indent} +{}", "-".repeat(WIDTH)));
    let (least, most) = (number(x.0), number(x.1));
    let between = WIDTH.saturating_sub(least.len() + most.len());
    let name = shortened(&chart.x_name, between.saturating_sub(2));
    let left = (between - width(&name)) / 2;
    let right = between - width(&name) - left;
    let most = if x.1 > x.0 { most.as_str() } else { "" };
    let axis = format!(
        "{indent}  {least}{}{name}{}{most}",
        " ".repeat(left),
        " ".repeat(right)
    );
    lines.push(axis.trim_end().to_owned());
}
