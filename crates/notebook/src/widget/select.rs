//! A drop-down list.

use serde_json::{Value, json};

use super::Widget;

/// A drop-down list of texts.
#[derive(Clone)]
pub struct Select {
    pub(super) widget: Widget,
}

impl Select {
    /// Creates a list of `options` with the first one selected.
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

    /// The selected option; empty when the list has no options.
    pub fn value(&self) -> String {
        let value = self.widget.get("value");
        value.as_str().unwrap_or_default().to_owned()
    }

    /// Selects an option; does nothing when the list does not contain it.
    pub fn set(&self, option: &str) {
        let options = self.widget.get("options");
        let known = options
            .as_array()
            .is_some_and(|options| options.iter().any(|known| known == option));
        if known {
            self.widget.set("value", option);
        }
    }

    /// Registers a callback for selections by the user; it receives the option.
    pub fn on_change(&self, mut callback: impl FnMut(&str) + Send + 'static) {
        self.widget.on_change("value", move |value: &Value| {
            callback(value.as_str().unwrap_or_default());
        });
    }
}
