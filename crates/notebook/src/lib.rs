//! What a notebook cell shows.
//!
//! A value that can show itself implements [`Display`]: it gives a [`MimeBundle`], the same thing as text, HTML or an image, and
//! whoever shows it takes the richest form that fits.
//!
//! ```
//! use notebook::{Display, MimeBundle};
//!
//! struct Percent(u8);
//!
//! impl Display for Percent {
//!     fn mime_bundle(&self) -> MimeBundle {
//!         MimeBundle::new()
//!             .text(format!("{} %", self.0))
//!             .html(format!("<progress max=100 value={}></progress>", self.0))
//!     }
//! }
//! // As the last expression of a cell, a `Percent` is now the cell's value.
//! notebook::evcxr_display!(Percent);
//!
//! notebook::display(&Percent(10)); // shown at once
//! let live = notebook::display_live(&Percent(20)); // shown at once,
//! live.update(&Percent(90)); // and replaced where it stands
//! ```
//!
//! A [`Table`] shows rows and a [`Chart`] shows lines, points or bars, both in the colours of the notebook's theme.
//!
//! ```
//! use notebook::{Chart, Table, display, display_live};
//!
//! display(&Table::new(["City", "People"], [("Seoul", 9_411_000), ("Busan", 3_343_000)]));
//!
//! let mut losses = Vec::new();
//! let live = display_live(&Chart::new());
//! for epoch in 1..=3 {
//!     losses.push((epoch, 1.0 / f64::from(epoch)));
//!     live.update(&Chart::new().line("train", &losses).axes("epoch", "loss"));
//! }
//! ```
//!
//! [`progress`] shows how far a loop is; [`widget`] has sliders, buttons and charts that a person can use while and after a cell runs;
//! [`comm`] is what those are made of.
//!
//! In a cell of the kernel these calls are messages on the file descriptor named in the environment variable
//! `NOTEBOOK_DISPLAY_FD`, one JSON object a line, and arrive in order with what the cell prints; what front ends say to comms comes on
//! that of `NOTEBOOK_COMM_FD`. Anywhere else, in a terminal
//! or in a log, the plain text is printed.

mod bundle;
mod channel;
pub mod chart;
pub mod comm;
mod html;
mod input;
mod live;
mod progress;
mod stop;
pub mod table;
pub mod text;
pub mod widget;

pub use bundle::MimeBundle;
pub use chart::Chart;
pub use html::escape;
pub use input::{input, password};
pub use live::Live;
pub use progress::{Progress, progress};
pub use stop::interrupted;
pub use table::Table;

use channel::{Channel, Message};

/// A value that can show itself.
pub trait Display {
    /// The value in every form it has; plain text should be among them, it is what a terminal shows.
    fn mime_bundle(&self) -> MimeBundle;
}

/// Whether this runs in a cell of a notebook, so that more than plain text can be shown.
pub fn in_notebook() -> bool {
    Channel::get().is_some()
}

/// Shows a value now, below what the cell has shown so far; elsewhere prints its plain text.
pub fn display(value: &(impl Display + ?Sized)) {
    channel::send_or_print(&Message::Display {
        data: value.mime_bundle(),
        id: None,
    });
}

/// Shows a value now and gives a handle by which it can be replaced later.
///
/// Elsewhere every update is printed when its plain text differs from the one before.
pub fn display_live(value: &(impl Display + ?Sized)) -> Live {
    Live::show(value.mime_bundle())
}

/// Makes a value the value of the running cell; elsewhere prints its plain text.
///
/// [`evcxr_display!`] calls this for the last expression of a cell.
pub fn result(value: &(impl Display + ?Sized)) {
    channel::send_or_print(&Message::Result {
        data: value.mime_bundle(),
    });
}

/// Clears what the cell has shown so far; with `wait` only once something new is shown. Does nothing elsewhere.
pub fn clear(wait: bool) {
    if let Some(channel) = Channel::get() {
        channel.send(&Message::Clear { wait });
    }
}

/// Gives each type an inherent `evcxr_display`, so that a last expression of that type is the cell's value in its rich form.
///
/// The types must implement [`Display`].
#[macro_export]
macro_rules! evcxr_display {
    ($($type:ty),+ $(,)?) => {
        $(
            impl $type {
                /// Shows this as the value of the running cell.
                #[doc(hidden)]
                pub fn evcxr_display(&self) {
                    $crate::result(self);
                }
            }
        )+
    };
}
