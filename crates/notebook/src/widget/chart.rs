//! A chart with points added over time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde_json::{Map, Value, json};

use super::throttle::Throttle;
use super::{Widget, lock};

/// A line chart to which points are added while it is shown.
///
/// ```
/// use notebook::widget::LiveChart;
///
/// let chart = LiveChart::new("loss");
/// for epoch in 1..=3 {
///     chart.push("train", f64::from(epoch), 1.0 / f64::from(epoch));
/// }
/// ```
#[derive(Clone)]
pub struct LiveChart {
    pub(super) widget: Widget,
    inner: Arc<Inner>,
}

struct Inner {
    widget: Widget,
    /// The series with points that have not been sent to front ends, and the index of the first
    /// such point.
    new: Mutex<BTreeMap<String, usize>>,
    throttle: Throttle,
}

impl LiveChart {
    /// Creates a chart without points.
    pub fn new(label: &str) -> Self {
        let widget = Widget::ready(
            "LiveChart",
            include_str!("chart.js"),
            json!({ "label": label, "series": {} }),
        );
        Self {
            inner: Arc::new(Inner {
                widget: widget.clone(),
                new: Mutex::default(),
                throttle: Throttle::default(),
            }),
            widget,
        }
    }

    /// Adds a point to a series; the first point creates the series. A value that is not finite is
    /// a gap in the line.
    pub fn push(&self, series: &str, x: f64, y: f64) {
        let length = self
            .widget
            .keep(|state| append(state, series, json!([x, y])));
        let mut new = lock(&self.inner.new);
        new.entry(series.to_owned()).or_insert(length);
        drop(new);
        Throttle::soon(&self.inner, |inner| &inner.throttle, Inner::send_new);
    }

    /// Removes all points.
    pub fn clear(&self) {
        lock(&self.inner.new).clear();
        self.widget.set("series", json!({}));
    }
}

/// Adds a point and returns how many points the series had before.
fn append(state: &mut Map<String, Value>, series: &str, point: Value) -> usize {
    let all = state.entry("series").or_insert_with(|| json!({}));
    let Value::Array(points) = &mut all[series] else {
        all[series] = json!([point]);
        return 0;
    };
    points.push(point);
    points.len() - 1
}

impl Inner {
    /// Sends the new points with the index of the first one, because a page that was just loaded
    /// has some of them already.
    fn send_new(&self) {
        let new = std::mem::take(&mut *lock(&self.new));
        let all = self.widget.get("series");
        let parts: Map<String, Value> = new
            .into_iter()
            .filter_map(|(name, from)| {
                let points = all[&name].as_array()?.get(from..)?;
                Some((name, json!({ "from": from, "points": points })))
            })
            .collect();
        if !parts.is_empty() {
            self.widget
                .send(json!({ "event": "points", "series": parts }));
        }
    }
}
