//! A progress bar.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::json;

use super::Widget;
use super::throttle::Throttle;

/// A progress bar. Updates are sent at most ten times a second, however often a thread sets the
/// value.
#[derive(Clone)]
pub struct Progress {
    pub(super) widget: Widget,
    inner: Arc<Inner>,
}

struct Inner {
    widget: Widget,
    total: u64,
    value: AtomicU64,
    throttle: Throttle,
}

impl Progress {
    /// Creates a bar of `total` steps with none done.
    pub fn new(label: &str, total: u64) -> Self {
        let widget = Widget::ready(
            "Progress",
            include_str!("progress.js"),
            json!({ "label": label, "total": total, "value": 0 }),
        );
        Self {
            inner: Arc::new(Inner {
                widget: widget.clone(),
                total,
                value: AtomicU64::new(0),
                throttle: Throttle::default(),
            }),
            widget,
        }
    }

    /// The total number of steps.
    pub fn total(&self) -> u64 {
        self.inner.total
    }

    /// The number of steps done.
    pub fn value(&self) -> u64 {
        self.inner.value.load(Ordering::Relaxed)
    }

    /// Sets the number of steps done, at most the total.
    pub fn set(&self, value: u64) {
        let value = value.min(self.inner.total);
        self.inner.value.store(value, Ordering::Relaxed);
        self.changed();
    }

    /// Adds to the number of steps done, up to the total.
    pub fn add(&self, steps: u64) {
        let total = self.inner.total;
        let more = |value: u64| Some(value.saturating_add(steps).min(total));
        // The closure always returns a value.
        let _ = self
            .inner
            .value
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        self.changed();
    }

    fn changed(&self) {
        Throttle::soon(
            &self.inner,
            |inner| &inner.throttle,
            |inner| {
                let value = inner.value.load(Ordering::Relaxed);
                inner.widget.set("value", value);
            },
        );
    }
}
