//! Charts as SVG.

use std::error::Error;
use std::fmt::Write as _;
use std::ops::Range;

use plotters::coord::Shift;
use plotters::coord::ranged1d::{BoldPoints, Ranged};
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::{Chart, Series, Shape, bounds, span};
use crate::escape;
use crate::text::{number, shortened, width};

/// Drawing units per pixel. The drawing crate uses whole numbers, and with one unit per pixel lines
/// would have visible steps.
const FINE: i32 = 10;

/// Colours that are legible on light and dark.
const COLOURS: [RGBColor; 6] = [
    RGBColor(38, 120, 206),
    RGBColor(214, 98, 36),
    RGBColor(38, 150, 70),
    RGBColor(140, 90, 220),
    RGBColor(200, 70, 140),
    RGBColor(150, 125, 20),
];
const GREY: RGBColor = RGBColor(128, 128, 140);

/// A placeholder for the colour of the text of the page, which the drawing crate cannot express.
const TEXT: RGBColor = RGBColor(1, 2, 3);
const TEXT_FILL: &str = r##"fill="#010203""##;

/// Uses the colour of the page's text in JupyterLab and in VS Code. Elsewhere, and in a separate
/// image, the colour is legible on light and dark.
const STYLE: &str =
    "max-width:100%;height:auto;color:var(--jp-ui-font-color1,var(--vscode-foreground,#808080))";

/// The height and the usual width of a letter, in pixels.
const LETTER: (i32, i32) = (11, 7);
/// The height of a line of text, in pixels.
const LINE: i32 = 18;

/// The most points of a series that get a tooltip with their value.
const POINTED_AT: usize = 60;

type Drawn<T> = Result<T, Box<dyn Error>>;
type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

pub(super) fn svg(chart: &Chart) -> String {
    let (width, height) = chart.size;
    let (fine_width, fine_height) = (width * FINE as u32, height * FINE as u32);
    let mut svg = String::new();
    let values = draw(&mut svg, chart, (fine_width, fine_height)).unwrap_or_else(|error| {
        let error = escape(&format!("this chart could not be drawn: {error}"));
        svg = format!(r#"<svg><text y="200" font-size="120" {TEXT_FILL}>{error}</text></svg>"#);
        String::new()
    });
    let inside = svg.split_once('>').map_or("", |(_, inside)| inside);
    let inside = inside.trim_end().trim_end_matches("</svg>");
    let name = match chart.title.as_str() {
        "" => "chart".to_owned(),
        title => escape(title),
    };
    format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{name}" width="{width}" height="{height}" viewBox="0 0 {fine_width} {fine_height}" style="{STYLE}">{}{values}</svg>"#,
        inside.replace(TEXT_FILL, r#"fill="currentColor""#)
    )
}

fn fine(pixels: i32) -> i32 {
    pixels * FINE
}

/// The text style. The factor corrects the font size of the drawing crate, whose pixel is larger
/// than one of the picture.
fn font() -> TextStyle<'static> {
    TextStyle::from(("sans-serif", f64::from(fine(LETTER.0)) * 1.24)).color(&TEXT)
}

/// Draws everything and returns the SVG of the tooltips, which the drawing crate does not support.
fn draw(svg: &mut String, chart: &Chart, size: (u32, u32)) -> Drawn<String> {
    let root = SVGBackend::with_string(svg, size).into_drawing_area();
    let top = head(&root, chart)?;
    let (x, y) = ranges(chart);
    let y_marks = (chart.size.1 as usize / 45).clamp(2, 12);
    let y_letters = RangedCoordf64::from(y.clone())
        .key_points(BoldPoints(y_marks))
        .into_iter()
        .map(|mark| width(&number(mark)))
        .max()
        .unwrap_or(1) as i32;
    let named = |name: &str| if name.is_empty() { 0 } else { LINE };
    let left = y_letters * LETTER.1 + 10 + named(&chart.y_name);
    let bottom = LINE + 4 + named(&chart.x_name);
    let mut plot = ChartBuilder::on(&root)
        .margin_top(fine(top + 6))
        .margin_right(fine(14))
        .margin_left(fine(4))
        .margin_bottom(fine(2))
        .x_label_area_size(fine(bottom))
        .y_label_area_size(fine(left))
        .build_cartesian_2d(x, y)?;
    let wide = chart.size.0 as i32 - left - LETTER.1 * 2;
    let letters = (wide / LETTER.1) as usize / chart.categories.len().max(1);
    let x_text = |place: &f64| {
        if chart.categories.is_empty() {
            return number(*place);
        }
        let category = (place.fract() == 0.0 && *place >= 0.0)
            .then(|| chart.categories.get(*place as usize))
            .flatten();
        category.map_or(String::new(), |name| shortened(name, letters.max(3)))
    };
    let x_marks = match chart.categories.len() {
        0 => (wide as usize / 60).clamp(2, 16),
        // One label for each category and one on both sides, if the width allows.
        count => (count + 2).min(wide as usize / 30),
    };
    plot.configure_mesh()
        .axis_style(GREY.stroke_width(FINE as u32))
        .bold_line_style(GREY.mix(0.3).stroke_width(FINE as u32))
        .light_line_style(TRANSPARENT)
        .set_all_tick_mark_size(fine(4))
        .label_style(font())
        .axis_desc_style(font())
        .x_desc(&chart.x_name)
        .y_desc(&chart.y_name)
        .x_labels(x_marks)
        .y_labels(y_marks)
        .x_label_formatter(&x_text)
        .y_label_formatter(&|value| number(*value))
        .draw()?;
    let bars = Bars::of(chart);
    let mut values = String::new();
    for (index, series) in chart.series.iter().enumerate() {
        let colour = COLOURS[index % COLOURS.len()];
        match series.shape {
            Shape::Line => {
                // A value that is not finite is a gap.
                let lines = series.points.split(|point| !super::is_drawn(point));
                for line in lines.filter(|line| !line.is_empty()) {
                    let style = colour.stroke_width(2 * FINE as u32);
                    plot.draw_series(LineSeries::new(line.iter().copied(), style))?;
                    if line.len() == 1 {
                        plot.draw_series([Circle::new(line[0], fine(3), colour.filled())])?;
                    }
                }
                if series.points.len() <= POINTED_AT / 2 {
                    let points = series.points.iter().copied().filter(super::is_drawn);
                    let dot = |point| Circle::new(point, 5 * FINE / 2, colour.filled());
                    plot.draw_series(points.map(dot))?;
                }
            }
            Shape::Points => {
                let points = series.points.iter().copied();
                let dot = |point| Circle::new(point, fine(3), colour.mix(0.8).filled());
                plot.draw_series(points.map(dot))?;
            }
            Shape::Bars => {
                let bar = |&(place, value): &(f64, f64)| {
                    let (from, to) = bars.sides(index, place);
                    Rectangle::new([(from, 0.0), (to, value)], colour.filled())
                };
                plot.draw_series(series.points.iter().map(bar))?;
            }
        }
        if series.points.len() <= POINTED_AT {
            for &(place, value) in series.points.iter().filter(|point| super::is_drawn(point)) {
                let middle = match series.shape {
                    Shape::Bars => bars.middle(index, place),
                    Shape::Line | Shape::Points => place,
                };
                let at = plot.backend_coord(&(middle, value));
                tell(&mut values, at, &words(chart, series, place, value));
            }
        }
    }
    root.present()?;
    Ok(values)
}

/// Draws the title and the legend and returns their height in pixels.
fn head(root: &Area<'_>, chart: &Chart) -> Drawn<i32> {
    let middle = Pos::new(HPos::Left, VPos::Center);
    let mut height = 0;
    if !chart.title.is_empty() {
        let style = font().pos(middle);
        let style = TextStyle {
            font: style.font.style(FontStyle::Bold),
            ..style
        };
        let fits = (chart.size.0 as i32 / LETTER.1) as usize;
        let at = (fine(8), fine(LINE / 2 + 2));
        root.draw_text(&shortened(&chart.title, fits), &style, at)?;
        height = LINE + 2;
    }
    let named: Vec<(usize, &Series)> = chart
        .series
        .iter()
        .enumerate()
        .filter(|(_, series)| !series.name.is_empty())
        .collect();
    if named.is_empty() {
        return Ok(height);
    }
    let mut left = 8;
    let mut row = height + LINE / 2 + 2;
    for (index, series) in named {
        let name = shortened(
            &series.name,
            ((chart.size.0 as i32 - 40) / LETTER.1) as usize,
        );
        let needs = 18 + width(&name) as i32 * LETTER.1 + 14;
        if left > 8 && left + needs > chart.size.0 as i32 {
            left = 8;
            row += LINE;
        }
        let colour = COLOURS[index % COLOURS.len()];
        // As thick as the line or bar that it represents.
        let half = if series.shape == Shape::Line { 1 } else { 4 };
        let corners = [
            (fine(left), fine(row - half)),
            (fine(left + 12), fine(row + half)),
        ];
        root.draw(&Rectangle::new(corners, colour.filled()))?;
        root.draw_text(&name, &font().pos(middle), (fine(left + 18), fine(row)))?;
        left += needs;
    }
    Ok(row + LINE / 2)
}

/// The ranges of the axes.
fn ranges(chart: &Chart) -> (Range<f64>, Range<f64>) {
    let mut x = span(bounds(chart.drawn().map(|(x, _)| x)));
    let values = bounds(chart.drawn().map(|(_, y)| y));
    let mut y = span(values);
    if chart.has_bars() {
        let last = chart.categories.len().max(1) as f64 - 0.5;
        x = (x.0.clamp(-1e9, -0.5), x.1.clamp(last, 1e9));
        if let Some((least, most)) = values {
            // Bars start at zero.
            y = span(Some((least.min(0.0), most.max(0.0))));
            y.0 = if least >= 0.0 { 0.0 } else { y.0 };
            y.1 = if most <= 0.0 { 0.0 } else { y.1 };
            if least == 0.0 && most == 0.0 {
                y = (0.0, 1.0);
            }
        }
        if chart
            .series
            .iter()
            .all(|series| series.shape == Shape::Bars)
        {
            x = (-0.5, last);
        }
    }
    (x.0..x.1, y.0..y.1)
}

/// The positions of the bars of several series.
struct Bars {
    /// The indices of the series with bars.
    series: Vec<usize>,
}

impl Bars {
    /// The part of a category's width that its bars take.
    const PART: f64 = 0.8;

    fn of(chart: &Chart) -> Self {
        let all = chart.series.iter().enumerate();
        let series = all.filter(|(_, series)| series.shape == Shape::Bars);
        Self {
            series: series.map(|(index, _)| index).collect(),
        }
    }

    fn sides(&self, series: usize, place: f64) -> (f64, f64) {
        let nth = self.series.iter().position(|one| *one == series);
        let each = Self::PART / self.series.len().max(1) as f64;
        let from = place - Self::PART / 2.0 + each * nth.unwrap_or(0) as f64;
        // A gap separates neighbours.
        (from + 0.04 * each, from + 0.96 * each)
    }

    fn middle(&self, series: usize, place: f64) -> f64 {
        let (from, to) = self.sides(series, place);
        f64::midpoint(from, to)
    }
}

/// The text of a tooltip: `train: (3, 0.12)`, `in stock, pears: 5`.
fn words(chart: &Chart, series: &Series, place: f64, value: f64) -> String {
    let (place, value) = match series.shape {
        Shape::Bars => (chart.categories[place as usize].clone(), number(value)),
        Shape::Line | Shape::Points => (number(place), number(value)),
    };
    match series.name.as_str() {
        "" => format!("{place}: {value}"),
        name => format!("{name}, {place}: {value}"),
    }
}

/// Adds a tooltip at a point.
fn tell(values: &mut String, (x, y): (i32, i32), words: &str) {
    // Writing to a String cannot fail.
    let _ = write!(
        values,
        r#"<circle cx="{x}" cy="{y}" r="{}" fill="transparent"><title>{}</title></circle>"#,
        fine(6),
        escape(words)
    );
}
