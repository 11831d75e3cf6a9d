//! Rich output and widgets for notebook cells.
//!
//! A displayable type implements [`Display`]. It returns a [`MimeBundle`]: one value as text, HTML
//! or an image. The front end shows the richest representation that it supports.
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
//! A [`Table`] shows rows and a [`Chart`] shows lines, points or bars. Both use the colours of the
//! notebook's theme.
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
//! [`progress`] shows the progress of a loop. [`widget`] has sliders, buttons and charts that a
//! user can operate while and after a cell runs. [`comm`] is the message layer below the widgets.
//!
//! In a cell of the kernel these calls send messages to the file descriptor in the environment
//! variable `NOTEBOOK_DISPLAY_FD`, one JSON object per line. They arrive in order with the printed
//! output of the cell. Comm messages of front ends arrive on the descriptor in `NOTEBOOK_COMM_FD`.
//! Elsewhere, in a terminal or in a log, the plain text is printed.

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

/// A value that can be displayed.
pub trait Display {
    /// Returns the value in every representation it has. Include plain text, which a terminal
    /// shows.
    fn mime_bundle(&self) -> MimeBundle;
}

impl Display for MimeBundle {
    fn mime_bundle(&self) -> MimeBundle {
        self.clone()
    }
}

/// Whether the code runs in a notebook cell, so that more than plain text can be shown.
pub fn in_notebook() -> bool {
    Channel::get().is_some()
}

/// Shows a value now, below the earlier output of the cell. Outside a notebook it prints the plain
/// text.
pub fn display(value: &(impl Display + ?Sized)) {
    channel::send_or_print(&Message::Display {
        data: value.mime_bundle(),
        id: None,
    });
}

/// Shows a value now and returns a handle to replace it later.
///
/// Outside a notebook an update is printed when its plain text differs from the previous one.
pub fn display_live(value: &(impl Display + ?Sized)) -> Live {
    Live::show(value.mime_bundle())
}

/// Sets the value of the running cell. Outside a notebook it prints the plain text.
///
/// [`evcxr_display!`] calls this for the last expression of a cell.
pub fn result(value: &(impl Display + ?Sized)) {
    channel::send_or_print(&Message::Result {
        data: value.mime_bundle(),
    });
}

/// Clears the output of the cell; with `wait`, only once new output arrives. Does nothing outside a
/// notebook.
pub fn clear(wait: bool) {
    if let Some(channel) = Channel::get() {
        channel.send(&Message::Clear { wait });
    }
}

/// Implements an inherent `evcxr_display` for each type, so that a last expression of the type
/// becomes the rich value of the cell.
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

evcxr_display!(MimeBundle);
