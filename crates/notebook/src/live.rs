//! A display that can be replaced.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::channel::{self, Message};
use crate::{Display, MimeBundle, in_notebook};

/// A displayed value that can be replaced in place, also by later cells.
#[derive(Debug)]
pub struct Live {
    id: String,
    /// The last text that was printed in a terminal; equal updates are not printed again.
    printed: Mutex<Option<String>>,
}

impl Live {
    pub(crate) fn show(data: MimeBundle) -> Self {
        let live = Self {
            id: unique_id("live"),
            printed: Mutex::new(None),
        };
        if in_notebook() {
            channel::send_or_print(&Message::Display {
                data,
                id: Some(&live.id),
            });
        } else {
            live.print_if_new(&data);
        }
        live
    }

    /// Replaces the displayed value.
    pub fn update(&self, value: &(impl Display + ?Sized)) {
        let data = value.mime_bundle();
        if in_notebook() {
            channel::send_or_print(&Message::Update { data, id: &self.id });
        } else {
            self.print_if_new(&data);
        }
    }

    /// The `display_id` by which the front end knows this display.
    pub fn id(&self) -> &str {
        &self.id
    }

    fn print_if_new(&self, data: &MimeBundle) {
        let text = data.for_terminal();
        let mut printed = self.printed.lock().unwrap_or_else(PoisonError::into_inner);
        if printed.as_deref() != Some(&text) {
            println!("{text}");
            *printed = Some(text);
        }
    }
}

/// An id that no other display or comm of this notebook has, even when each cell has a separate
/// copy of this crate.
pub(crate) fn unique_id(kind: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    format!(
        "{kind}-{:x}-{:x}-{:x}",
        std::process::id(),
        since_epoch.as_nanos(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_differ() {
        assert_ne!(unique_id("live"), unique_id("live"));
    }

    #[test]
    fn outside_a_notebook_the_last_printed_text_is_remembered() {
        let live = Live::show(MimeBundle::new().text("1"));
        live.update(&MimeBundle::new().text("2"));
        assert_eq!(
            live.printed.lock().expect("nothing panics here").as_deref(),
            Some("2")
        );
    }
}
