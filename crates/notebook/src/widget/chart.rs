//! A chart that grows.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde_json::{Map, Value, json};

use super::throttle::Throttle;
use super::{Widget, lock};

/// Lines to which points are added while they are shown.
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
    /// The series with points that no front end knows yet, and where those begin.
    new: Mutex<BTreeMap<String, usize>>,
    throttle: Throttle,
}

impl LiveChart {
    /// A chart without points.
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

    /// Adds a point to a series, which begins with its first point. A number that is not finite is a gap in the line.
    pub fn push(&self, series: &str, x: f64, y: f64) {
        let length = self
            .widget
            .keep(|state| append(state, series, json!([x, y])));
        let mut new = lock(&self.inner.new);
        new.entry(series.to_owned()).or_insert(length);
        drop(new);
        Throttle::soon(&self.inner, |inner| &inner.throttle, Inner::send_new);
    }

    /// Takes all points away.
    pub fn clear(&self) {
        lock(&self.inner.new).clear();
        self.widget.set("series", json!({}));
    }
}

/// Adds a point; gives how many there were before.
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
    /// Tells front ends of the new points, with the place at which they begin: a page that was just loaded has some of them already.
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
