//! A button.

use serde_json::json;

use super::Widget;

/// A button.
#[derive(Clone)]
pub struct Button {
    pub(super) widget: Widget,
}

impl Button {
    /// Creates a button with this text.
    pub fn new(label: &str) -> Self {
        Self {
            widget: Widget::ready(
                "Button",
                include_str!("button.js"),
                json!({ "label": label, "disabled": false }),
            ),
        }
    }

    /// Registers a callback for each click.
    pub fn on_click(&self, mut callback: impl FnMut() + Send + 'static) {
        self.widget.on_message(move |message| {
            if message["event"] == "click" {
                callback();
            }
        });
    }

    /// Sets the text.
    pub fn set_label(&self, label: &str) {
        self.widget.set("label", label);
    }

    /// Enables or disables the button.
    pub fn set_enabled(&self, enabled: bool) {
        self.widget.set("disabled", !enabled);
    }
}
