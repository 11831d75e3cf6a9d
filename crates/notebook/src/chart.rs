//! Charts of lines, points and bars.

mod picture;
mod sketch;

use crate::{Display, MimeBundle};

/// Values beyond this are omitted like values that are not finite: differences of larger ones may
/// not be finite.
const LARGEST: f64 = 1e300;

/// Lines are thinned to about this many points; more cannot be distinguished.
const POINTS: usize = 1200;

/// A chart of any number of series of lines, points and bars.
///
/// Notebooks show it as SVG in the colours of the theme, with the value at the pointer. Terminals
/// show a sketch of characters. A value that is not finite is a gap in a line; among points and
/// bars it is omitted.
///
/// ```
/// use notebook::Chart;
///
/// let losses = vec![(1, 0.41), (2, 0.17), (3, 0.12)];
/// let chart = Chart::new()
///     .title("Loss")
///     .axes("epoch", "loss")
///     .line("train", &losses)
///     .scatter("best", [(3, 0.12)]);
/// notebook::display(&chart);
///
/// // Without an x, points are numbered from 0; bars have names.
/// notebook::display(&Chart::new().line("", [0.5, 0.3, 0.2]));
/// notebook::display(&Chart::new().bars("in stock", [("apples", 3), ("pears", 5)]));
/// ```
///
/// The chart changes in place when a [`Live`](crate::Live) display is updated with a new one:
///
/// ```
/// use notebook::Chart;
///
/// let mut losses = Vec::new();
/// let live = notebook::display_live(&Chart::new());
/// for epoch in 1..=3 {
///     losses.push((epoch, 1.0 / f64::from(epoch)));
///     live.update(&Chart::new().line("train", &losses));
/// }
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Chart {
    title: String,
    x_name: String,
    y_name: String,
    /// In pixels.
    size: (u32, u32),
    series: Vec<Series>,
    /// The names under the bars; the k-th is at x = k.
    categories: Vec<String>,
}

#[derive(Debug, Clone, PartialEq)]
struct Series {
    name: String,
    shape: Shape,
    /// The given points; only lines keep values that are not finite, as gaps.
    points: Vec<(f64, f64)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Line,
    Points,
    Bars,
}

impl Default for Chart {
    fn default() -> Self {
        Self {
            title: String::new(),
            x_name: String::new(),
            y_name: String::new(),
            size: (600, 300),
            series: Vec::new(),
            categories: Vec::new(),
        }
    }
}

impl Chart {
    /// Creates an empty chart.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the title.
    #[must_use]
    pub fn title(mut self, title: impl Into<String>) -> Self {
        self.title = title.into();
        self
    }

    /// Sets the names of the axes; an empty name is not shown.
    #[must_use]
    pub fn axes(mut self, x: impl Into<String>, y: impl Into<String>) -> Self {
        self.x_name = x.into();
        self.y_name = y.into();
        self
    }

    /// Sets the size in pixels: 600 by 300 by default, at least 160 by 100 and at most 4000 by
    /// 4000.
    #[must_use]
    pub fn size(mut self, width: u32, height: u32) -> Self {
        self.size = (width.clamp(160, 4000), height.clamp(100, 4000));
        self
    }

    /// Adds a line through points in the given order.
    ///
    /// A point is a pair of numbers, or one number, whose x is its index, from 0. A series with an
    /// empty name is not in the legend.
    #[must_use]
    pub fn line<P: Point>(
        self,
        name: impl Into<String>,
        points: impl IntoIterator<Item = P>,
    ) -> Self {
        let points = places(points);
        self.with(name.into(), Shape::Line, points)
    }

    /// Adds separate points.
    #[must_use]
    pub fn scatter<P: Point>(
        self,
        name: impl Into<String>,
        points: impl IntoIterator<Item = P>,
    ) -> Self {
        let points = places(points);
        self.with(name.into(), Shape::Points, points)
    }

    /// Adds a bar for each name; bars of several series with the same name are side by side.
    ///
    /// For lines in the same chart, the first name is at x = 0, the next at 1, and so on.
    #[must_use]
    pub fn bars<K: std::fmt::Display, Y: Number>(
        mut self,
        name: impl Into<String>,
        bars: impl IntoIterator<Item = (K, Y)>,
    ) -> Self {
        let mut points = Vec::new();
        for (category, value) in bars {
            let category = category.to_string();
            let known = self.categories.iter().position(|known| *known == category);
            let place = known.unwrap_or_else(|| {
                self.categories.push(category);
                self.categories.len() - 1
            });
            points.push((place as f64, value.to_f64()));
        }
        self.with(name.into(), Shape::Bars, points)
    }

    fn with(mut self, name: String, shape: Shape, mut points: Vec<(f64, f64)>) -> Self {
        match shape {
            Shape::Line => points = thinned(points),
            Shape::Points | Shape::Bars => points.retain(is_drawn),
        }
        self.series.push(Series {
            name,
            shape,
            points,
        });
        self
    }

    /// The chart for another HTML page: an `<svg>` element, whose text has the colour of the text
    /// of the page.
    pub fn to_svg(&self) -> String {
        picture::svg(self)
    }

    /// A sketch of characters, without a trailing newline.
    pub fn to_text(&self) -> String {
        sketch::text(self)
    }

    /// All points that are drawn.
    fn drawn(&self) -> impl Iterator<Item = (f64, f64)> {
        let all = self.series.iter().flat_map(|series| &series.points);
        all.copied().filter(is_drawn)
    }

    fn has_bars(&self) -> bool {
        self.series.iter().any(|series| series.shape == Shape::Bars)
    }
}

impl Display for Chart {
    fn mime_bundle(&self) -> MimeBundle {
        let svg = self.to_svg();
        MimeBundle::new()
            .text(self.to_text())
            // HTML first: front ends show SVG as a separate image, which cannot use the colours of
            // the page.
            .html(svg.clone())
            .svg(svg)
    }
}

crate::evcxr_display!(Chart);

/// A type that can be a point of a chart: a pair of numbers, or one number.
pub trait Point {
    /// The coordinates of the point when it has this index in its series.
    fn place(self, index: usize) -> (f64, f64);
}

/// A number type of a chart.
pub trait Number {
    /// The nearest floating-point number.
    fn to_f64(self) -> f64;
}

macro_rules! numbers {
    ($($type:ty),+) => {
        $(
            impl Number for $type {
                #[allow(clippy::cast_lossless)]
                fn to_f64(self) -> f64 {
                    self as f64
                }
            }

            impl Number for &$type {
                fn to_f64(self) -> f64 {
                    (*self).to_f64()
                }
            }

            impl Point for $type {
                fn place(self, index: usize) -> (f64, f64) {
                    (index as f64, self.to_f64())
                }
            }

            impl Point for &$type {
                fn place(self, index: usize) -> (f64, f64) {
                    (*self).place(index)
                }
            }
        )+
    };
}

numbers!(f32, f64, i8, i16, i32, i64, isize, u8, u16, u32, u64, usize);

impl<X: Number, Y: Number> Point for (X, Y) {
    fn place(self, _: usize) -> (f64, f64) {
        (self.0.to_f64(), self.1.to_f64())
    }
}

impl<X: Number + Copy, Y: Number + Copy> Point for &(X, Y) {
    fn place(self, index: usize) -> (f64, f64) {
        (*self).place(index)
    }
}

fn places<P: Point>(points: impl IntoIterator<Item = P>) -> Vec<(f64, f64)> {
    let points = points.into_iter().enumerate();
    points.map(|(index, point)| point.place(index)).collect()
}

fn is_drawn(&(x, y): &(f64, f64)) -> bool {
    x.abs() <= LARGEST && y.abs() <= LARGEST
}

/// Reduces the points of a line so that it looks the same. Min/max downsampling: each bucket of
/// neighbours keeps its minimum and maximum. The ends and gaps are kept, too.
fn thinned(points: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    if points.len() <= POINTS {
        return points;
    }
    let mut kept = Vec::with_capacity(POINTS + 2);
    kept.extend(points.first());
    for neighbours in points.chunks(points.len().div_ceil(POINTS / 2)) {
        let drawn = || {
            let all = neighbours.iter().enumerate();
            all.filter(|(_, point)| is_drawn(point))
        };
        let by_value = |a: &(usize, &(f64, f64)), b: &(usize, &(f64, f64))| a.1.1.total_cmp(&b.1.1);
        let Some((least, greatest)) = drawn().min_by(by_value).zip(drawn().max_by(by_value)) else {
            kept.extend(neighbours.first());
            continue;
        };
        let (first, second) = if least.0 <= greatest.0 {
            (least, greatest)
        } else {
            (greatest, least)
        };
        kept.push(*first.1);
        if first.0 != second.0 {
            kept.push(*second.1);
        }
    }
    kept.extend(points.last());
    kept.dedup();
    kept
}

/// The minimum and maximum; `None` for no values.
fn bounds(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values.fold(None, |bounds, value| match bounds {
        None => Some((value, value)),
        Some((least, most)) => Some((least.min(value), most.max(value))),
    })
}

/// The range of an axis: all values with some margin, and never empty. A constant value is in the
/// middle.
fn span(values: Option<(f64, f64)>) -> (f64, f64) {
    let Some((least, most)) = values else {
        return (0.0, 1.0);
    };
    let largest = least.abs().max(most.abs());
    let room = if most > least {
        // Axis labels have six digits.
        (0.04 * (most - least)).max(largest * 1e-6)
    } else if largest > 0.0 {
        0.5 * largest
    } else {
        1.0
    };
    (least - room, most + room)
}

#[cfg(test)]
mod tests;
