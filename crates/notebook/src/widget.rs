//! Widgets: values that a front end shows live and that a user can change.
//!
//! ```
//! use notebook::widget::Slider;
//!
//! let rate = Slider::new("learning rate", 0.0..=1.0).step(0.01).at(0.1);
//! rate.on_change(|rate| println!("now {rate}"));
//! assert_eq!(rate.value(), 0.1);
//! rate // the last expression of a cell shows it
//! # ;
//! ```
//!
//! The front end needs the package `anywidget`, which is installed into JupyterLab by
//! `pip install anywidget`. Without it, and in a terminal, a line of text is shown instead.
//!
//! Callbacks run on the thread of [`comm`](crate::comm), also between cells. Their printed output
//! appears in JupyterLab's log console; a display that they [update](crate::Live::update) is
//! replaced in place. Callbacks run for changes by the user, not for changes by `set`.
//!
//! [`Widget`] is the base of the ready-made ones: a state of JSON values and a JavaScript module
//! that draws it.

mod button;
mod chart;
mod progress;
mod select;
mod slider;
mod throttle;

pub use button::Button;
pub use chart::LiveChart;
pub use progress::Progress;
pub use select::Select;
pub use slider::{Number, Slider};

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};

use serde_json::{Map, Value, json};

use crate::comm::{self, Comm, Message};
use crate::{Display, MimeBundle, html};

/// The version of the Jupyter widget messaging protocol.
const PROTOCOL: &str = "2.1.0";

/// The style sheet that all ready-made widgets share.
const CSS: &str = include_str!("widget/widget.css");

type OnChange = Arc<Mutex<dyn FnMut(&Value) + Send>>;

/// A state that front ends show by a JavaScript module and can change.
///
/// ```
/// use notebook::widget::Widget;
/// use serde_json::json;
///
/// let counter = Widget::new(
///     "export default { render({ model, el }) {
///         el.textContent = model.get('count');
///         el.onclick = () => {
///             model.set('count', model.get('count') + 1);
///             model.save_changes();
///         };
///     } }",
///     json!({ "count": 0 }),
/// );
/// counter.on_change("count", |count| println!("{count} clicks"));
/// ```
#[derive(Clone)]
pub struct Widget {
    inner: Arc<Inner>,
}

struct Inner {
    comm: Comm,
    state: Mutex<Map<String, Value>>,
    on_change: Mutex<Vec<(String, OnChange)>>,
    on_custom: Mutex<Vec<OnChange>>,
}

/// The widgets that are not closed. A front end requests the state of all of them when its page is
/// reloaded.
static OPEN: Mutex<BTreeMap<String, Widget>> = Mutex::new(BTreeMap::new());

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Widget {
    /// Creates a widget that is drawn by an ECMAScript module in the format of
    /// [anywidget](https://anywidget.dev/en/afm/). `state` is a JSON object whose members become
    /// the members of the model; the member `_css` is a style sheet. The widget is shown by
    /// [`display`](crate::display) or as the value of a cell.
    pub fn new(esm: &str, state: Value) -> Self {
        answer_pages_that_are_loaded_again();
        let mut all = json!({
            "_model_module": "anywidget",
            "_model_module_version": "*",
            "_model_name": "AnyModel",
            "_view_module": "anywidget",
            "_view_module_version": "*",
            "_view_name": "AnyView",
            "_view_count": null,
            "_esm": esm,
            "_css": "",
            "_anywidget_id": "notebook.Widget",
            "layout": null,
            "tabbable": null,
            "tooltip": null,
        });
        if let (Value::Object(all), Value::Object(state)) = (&mut all, state) {
            all.extend(state);
        }
        let comm = Comm::prepare();
        let Value::Object(state) = all else {
            // Built as an object above.
            unreachable!()
        };
        let widget = Self {
            inner: Arc::new(Inner {
                comm: comm.clone(),
                state: Mutex::new(state),
                on_change: Mutex::default(),
                on_custom: Mutex::default(),
            }),
        };
        comm.on_message({
            let widget = Arc::downgrade(&widget.inner);
            move |message| {
                if let Some(inner) = widget.upgrade() {
                    Self { inner }.handle(message);
                }
            }
        });
        comm.on_close({
            let id = comm.id().to_owned();
            move || {
                let closed = lock(&OPEN).remove(&id);
                drop(closed);
            }
        });
        lock(&OPEN).insert(comm.id().to_owned(), widget.clone());
        comm.announce(
            "jupyter.widget",
            json!({ "state": *lock(&widget.inner.state), "buffer_paths": [] }),
            json!({ "version": PROTOCOL }),
        );
        widget
    }

    /// Creates one of the ready-made widgets.
    fn ready(name: &str, esm: &str, mut state: Value) -> Self {
        state["_css"] = CSS.into();
        // Front ends identify a style sheet by this id, and all ready-made widgets share one.
        state["_anywidget_id"] = "notebook.widget".into();
        state["_kind"] = name.into();
        Self::new(esm, state)
    }

    /// The id under which front ends know this widget.
    pub fn id(&self) -> &str {
        self.inner.comm.id()
    }

    /// A member of the state; null when the state has no member of this name.
    pub fn get(&self, name: &str) -> Value {
        lock(&self.inner.state)
            .get(name)
            .cloned()
            .unwrap_or_default()
    }

    /// Sets a member of the state in this process and in all front ends.
    pub fn set(&self, name: &str, value: impl Into<Value>) {
        self.set_value(name, value.into());
    }

    fn set_value(&self, name: &str, value: Value) {
        // The lock is held until the message is sent, so that front ends receive changes in the
        // order in which they were made.
        let mut state = lock(&self.inner.state);
        if state.get(name) == Some(&value) {
            return;
        }
        let sent = json!({ "method": "update", "state": { name: value }, "buffer_paths": [] });
        state.insert(name.to_owned(), value);
        self.inner.comm.send(sent);
    }

    /// Changes the state without a message to the front ends; the caller informs them in another
    /// way.
    fn keep<T>(&self, change: impl FnOnce(&mut Map<String, Value>) -> T) -> T {
        change(&mut lock(&self.inner.state))
    }

    /// Registers a callback for changes of this member by the user; it receives the new value.
    pub fn on_change(&self, name: &str, callback: impl FnMut(&Value) + Send + 'static) {
        let callback: OnChange = Arc::new(Mutex::new(callback));
        lock(&self.inner.on_change).push((name.to_owned(), callback));
    }

    /// Registers a callback for each message that the module sends by `model.send`.
    pub fn on_message(&self, callback: impl FnMut(&Value) + Send + 'static) {
        lock(&self.inner.on_custom).push(Arc::new(Mutex::new(callback)));
    }

    /// Sends a message, which the module receives by `model.on("msg:custom", …)`.
    pub fn send(&self, content: Value) {
        let mut message = json!({ "method": "custom" });
        message["content"] = content;
        self.inner.comm.send(message);
    }

    /// Removes the widget from all front ends for good.
    pub fn close(&self) {
        let closed = lock(&OPEN).remove(self.id());
        drop(closed);
        self.inner.comm.close();
    }

    fn handle(&self, message: &Message) {
        match message.data["method"].as_str() {
            Some("update") => {
                if let Value::Object(changes) = &message.data["state"] {
                    self.changed(changes);
                }
            }
            Some("request_state") => {
                let state = lock(&self.inner.state);
                self.inner
                    .comm
                    .send(json!({ "method": "update", "state": *state, "buffer_paths": [] }));
            }
            Some("custom") => {
                let callbacks = lock(&self.inner.on_custom).clone();
                for callback in callbacks {
                    lock(&callback)(&message.data["content"]);
                }
            }
            _ => {}
        }
    }

    /// Handles changes by a user: echoes them to all front ends, then calls the callbacks of the
    /// members with a new value.
    fn changed(&self, changes: &Map<String, Value>) {
        let mut state = lock(&self.inner.state);
        self.inner
            .comm
            .send(json!({ "method": "echo_update", "state": changes, "buffer_paths": [] }));
        let mut new = Vec::new();
        for (name, value) in changes {
            if state.get(name) != Some(value) {
                state.insert(name.clone(), value.clone());
                new.push((name, value));
            }
        }
        drop(state);
        let listening = lock(&self.inner.on_change).clone();
        for (name, value) in new {
            for (_, callback) in listening.iter().filter(|(of, _)| of == name) {
                lock(callback)(value);
            }
        }
    }

    /// The text that replaces the widget where it cannot be shown.
    fn fallback(&self) -> String {
        let state = lock(&self.inner.state);
        let text = |name: &str| match state.get(name) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Null) | None => String::new(),
            Some(value) => value.to_string(),
        };
        let kind = text("_kind");
        let kind = if kind.is_empty() { "Widget" } else { &kind };
        let parts = [text("label"), text("value")];
        let parts: Vec<&str> = parts
            .iter()
            .map(String::as_str)
            .filter(|part| !part.is_empty())
            .collect();
        format!("{kind}({})", parts.join(": "))
    }
}

impl std::fmt::Debug for Widget {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.fallback())
    }
}

impl Display for Widget {
    fn mime_bundle(&self) -> MimeBundle {
        const HINT: &str = "install the Python package `anywidget` where JupyterLab runs, and load the page again, to see the widget";
        let text = self.fallback();
        let escaped = html::escape(&text);
        MimeBundle::new()
            .html(format!(
                "<code>{escaped}</code><br><small>hint: {HINT}</small>"
            ))
            .text(format!("{text}\nhint: {HINT}"))
            .with(
                "application/vnd.jupyter.widget-view+json",
                json!({ "version_major": 2, "version_minor": 0, "model_id": self.id() }),
            )
    }
}

crate::evcxr_display!(Widget);

/// Implements display for ready-made widgets by the [`Widget`] in each.
macro_rules! shows_its_widget {
    ($($type:ident $(<$parameter:ident: $bound:ident>)?),+) => {
        $(
            impl $(<$parameter: $bound>)? $type $(<$parameter>)? {
                /// The widget that draws this one.
                pub fn widget(&self) -> &Widget {
                    &self.widget
                }

                /// Removes the widget from all front ends for good.
                pub fn close(&self) {
                    self.widget.close();
                }

                /// Shows this as the value of the running cell.
                #[doc(hidden)]
                pub fn evcxr_display(&self) {
                    crate::result(&self.widget);
                }
            }

            impl $(<$parameter: $bound>)? Display for $type $(<$parameter>)? {
                fn mime_bundle(&self) -> MimeBundle {
                    self.widget.mime_bundle()
                }
            }

            impl $(<$parameter: $bound>)? std::fmt::Debug for $type $(<$parameter>)? {
                fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    self.widget.fmt(formatter)
                }
            }
        )+
    };
}

shows_its_widget!(Button, LiveChart, Progress, Select, Slider<T: Number>);

/// Registers the target by which a reloaded page requests the states of all widgets at once.
fn answer_pages_that_are_loaded_again() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        comm::register_target("jupyter.widget.control", |comm, _| {
            let asking = comm.clone();
            comm.on_message(move |message| {
                if message.data["method"] == "request_states" {
                    asking.send(json!({
                        "method": "update_states",
                        "states": states(),
                        "buffer_paths": [],
                    }));
                }
            });
        });
    });
}

fn states() -> Value {
    let open = lock(&OPEN).clone();
    let states = open.into_iter().map(|(id, widget)| {
        let state = lock(&widget.inner.state);
        let state = json!({
            "model_name": state.get("_model_name"),
            "model_module": state.get("_model_module"),
            "model_module_version": state.get("_model_module_version"),
            "state": *state,
        });
        (id, state)
    });
    Value::Object(states.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Simulates a message from a front end.
    fn came(widget: &Widget, data: Value) {
        widget.handle(&Message {
            data,
            metadata: json!({}),
            buffers: Vec::new(),
        });
    }

    fn change(widget: &Widget, name: &str, value: &Value) {
        came(
            widget,
            json!({ "method": "update", "state": { name: value }, "buffer_paths": [] }),
        );
    }

    #[test]
    fn a_change_is_kept_and_told_once() {
        let widget = Widget::new("", json!({ "x": 1 }));
        let heard = Arc::new(Mutex::new(Vec::new()));
        widget.on_change("x", {
            let (widget, heard) = (widget.clone(), heard.clone());
            move |value| {
                // A callback is allowed to read and change the widget.
                widget.set("double", value.as_i64().unwrap() * 2);
                lock(&heard).push(value.clone());
            }
        });
        change(&widget, "x", &json!(4));
        change(&widget, "x", &json!(4));
        change(&widget, "y", &json!(5));
        assert_eq!(*lock(&heard), [json!(4)]);
        assert_eq!(
            (widget.get("x"), widget.get("double")),
            (json!(4), json!(8))
        );
        assert_eq!(widget.get("none"), Value::Null);
    }

    #[test]
    fn a_page_that_is_loaded_again_finds_open_widgets_only() {
        let (kept, closed) = (
            Widget::new("", json!({ "x": 7 })),
            Widget::new("", json!({})),
        );
        closed.close();
        let states = states();
        assert_eq!(states[kept.id()]["state"]["x"], 7);
        assert_eq!(states[kept.id()]["model_name"], "AnyModel");
        assert!(states.get(closed.id()).is_none());
    }

    #[test]
    fn without_a_front_end_for_it_a_widget_is_a_line_and_a_hint() {
        let bundle = Slider::new("<rate>", 0.0..=1.0).at(0.5).mime_bundle();
        let (text, hint) = bundle.plain_text().unwrap().split_once('\n').unwrap();
        assert_eq!(text, "Slider(<rate>: 0.5)");
        assert!(hint.starts_with("hint: ") && hint.contains("anywidget"));
        assert!(
            bundle
                .get("text/html")
                .unwrap()
                .as_str()
                .unwrap()
                .contains("&lt;rate&gt;")
        );
        let view = bundle
            .get("application/vnd.jupyter.widget-view+json")
            .unwrap();
        assert_eq!(view["version_major"], 2);
    }

    #[test]
    fn a_slider_stays_in_its_range() {
        let slider = Slider::new("n", 1..=10).at(99);
        assert_eq!(slider.value(), 10);
        let heard = Arc::new(Mutex::new(0));
        slider.on_change({
            let heard = heard.clone();
            move |value: i32| *lock(&heard) = value
        });
        change(slider.widget(), "value", &json!(3));
        assert_eq!((slider.value(), *lock(&heard)), (3, 3));
        // A value of the wrong type, which our own front-end code never sends.
        change(slider.widget(), "value", &json!("three"));
        assert_eq!((slider.value(), *lock(&heard)), (1, 3));
    }

    #[test]
    fn a_choice_is_one_of_the_options() {
        let select = Select::new("optimizer", ["sgd", "adam"]);
        assert_eq!(select.value(), "sgd");
        select.set("adam");
        select.set("lbfgs");
        assert_eq!(select.value(), "adam");
    }

    #[test]
    fn a_button_counts_its_clicks() {
        let button = Button::new("go");
        let clicks = Arc::new(Mutex::new(0));
        button.on_click({
            let clicks = clicks.clone();
            move || *lock(&clicks) += 1
        });
        came(
            button.widget(),
            json!({ "method": "custom", "content": { "event": "click" } }),
        );
        came(
            button.widget(),
            json!({ "method": "custom", "content": { "event": "other" } }),
        );
        assert_eq!(*lock(&clicks), 1);
    }

    #[test]
    fn a_chart_keeps_what_was_pushed() {
        let chart = LiveChart::new("loss");
        chart.push("train", 1.0, 0.5);
        chart.push("train", 2.0, f64::NAN);
        chart.push("test", 1.0, 0.7);
        assert_eq!(
            chart.widget().get("series"),
            json!({ "train": [[1.0, 0.5], [2.0, null]], "test": [[1.0, 0.7]] })
        );
    }

    #[test]
    fn a_bar_is_full_at_its_end() {
        let bar = Progress::new("steps", 3);
        bar.add(1);
        bar.add(5);
        assert_eq!((bar.value(), bar.total()), (3, 3));
        bar.set(2);
        assert_eq!(bar.value(), 2);
    }
}
