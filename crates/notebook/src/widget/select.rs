//! A choice.

use serde_json::{Value, json};

use super::Widget;

/// One of several texts.
#[derive(Clone)]
pub struct Select {
    pub(super) widget: Widget,
}

impl Select {
    /// A choice between `options`, of which the first is chosen.
    pub fn new<S: Into<String>>(label: &str, options: impl IntoIterator<Item = S>) -> Self {
        let options: Vec<String> = options.into_iter().map(Into::into).collect();
        let value = options.first().cloned().unwrap_or_default();
        Self {
            widget: Widget::ready(
                "Select",
                include_str!("select.js"),
                json!({ "label": label, "options": options, "value": value }),
            ),
        }
    }

    /// What is chosen; empty when there are no options.
    pub fn value(&self) -> String {
        let value = self.widget.get("value");
        value.as_str().unwrap_or_default().to_owned()
    }

    /// Chooses; does nothing when there is no such option.
    pub fn set(&self, option: &str) {
        let options = self.widget.get("options");
        let known = options
            .as_array()
            .is_some_and(|options| options.iter().any(|known| known == option));
        if known {
            self.widget.set("value", option);
        }
    }

    /// Calls this with the option that a person has chosen.
    pub fn on_change(&self, mut callback: impl FnMut(&str) + Send + 'static) {
        self.widget.on_change("value", move |value: &Value| {
            callback(value.as_str().unwrap_or_default());
        });
    }
}
