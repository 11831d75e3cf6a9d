//! A slider.

use std::marker::PhantomData;
use std::ops::RangeInclusive;

use serde_json::{Value, json};

use super::Widget;

/// A number type for a [`Slider`].
pub trait Number: Copy + Send + 'static {
    /// The default step; `None` for a hundredth of the range.
    const STEP: Option<f64>;

    /// Converts to a JavaScript number.
    fn to_f64(self) -> f64;

    /// Converts to the nearest number of this type.
    fn from_f64(value: f64) -> Self;
}

macro_rules! numbers {
    ($step:expr; $($type:ty),+) => {
        $(
            // JavaScript has only `f64`, and slider values are small enough for it.
            #[allow(
                clippy::cast_precision_loss,
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                clippy::cast_lossless
            )]
            impl Number for $type {
                const STEP: Option<f64> = $step;

                fn to_f64(self) -> f64 {
                    self as f64
                }

                fn from_f64(value: f64) -> Self {
                    value as Self
                }
            }
        )+
    };
}

numbers!(Some(1.0); i32, i64, u32, u64, usize);
numbers!(None; f32, f64);

/// A slider for a number in a range.
///
/// ```
/// use notebook::widget::Slider;
///
/// let epochs = Slider::new("epochs", 1..=20).at(5);
/// assert_eq!(epochs.value(), 5);
/// ```
#[derive(Clone)]
pub struct Slider<T: Number> {
    pub(super) widget: Widget,
    number: PhantomData<fn() -> T>,
}

impl<T: Number> Slider<T> {
    /// Creates a slider at the start of its range.
    pub fn new(label: &str, range: RangeInclusive<T>) -> Self {
        let (min, max) = (range.start().to_f64(), range.end().to_f64());
        Self {
            widget: Widget::ready(
                "Slider",
                include_str!("slider.js"),
                json!({
                    "label": label,
                    "min": min,
                    "max": max,
                    "step": T::STEP.unwrap_or((max - min) / 100.0),
                    "value": min,
                }),
            ),
            number: PhantomData,
        }
    }

    /// Sets the step.
    #[must_use]
    pub fn step(self, step: T) -> Self {
        self.widget.set("step", step.to_f64());
        self
    }

    /// Sets the value.
    #[must_use]
    pub fn at(self, value: T) -> Self {
        self.set(value);
        self
    }

    /// The current value.
    pub fn value(&self) -> T {
        let value = self.widget.get("value").as_f64();
        T::from_f64(value.unwrap_or_else(|| self.bound("min")))
    }

    /// Moves the slider; the value is clamped to the range.
    pub fn set(&self, value: T) {
        let value = value.to_f64().max(self.bound("min"));
        self.widget.set("value", value.min(self.bound("max")));
    }

    /// Registers a callback for moves by the user; it receives the new value.
    pub fn on_change(&self, mut callback: impl FnMut(T) + Send + 'static) {
        self.widget.on_change("value", move |value: &Value| {
            if let Some(value) = value.as_f64() {
                callback(T::from_f64(value));
            }
        });
    }

    fn bound(&self, name: &str) -> f64 {
        self.widget.get(name).as_f64().unwrap_or_default()
    }
}
