//! The result of a cell's function, as the cell process reports it.

use crate::MimeBundle;

/// A panic on the cell thread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Panic {
    /// `file:line:column`.
    pub place: String,
    /// The panic's message.
    pub message: String,
}

impl Panic {
    /// The text that the standard panic handler would print, without the name of a generated file.
    pub(super) fn text(&self) -> String {
        // Names of generated files are meaningless to the user.
        let file = self.place.split(':').next().unwrap_or_default();
        let number = file.strip_prefix("cell_").or(file.strip_prefix("session_"));
        let is_generated =
            number.is_some_and(|rest| rest.trim_end_matches(".rs").parse::<u64>().is_ok());
        let place = if is_generated {
            String::new()
        } else {
            format!(" at {}", self.place)
        };
        format!("thread 'main' panicked{place}:\n{}\n", self.message)
    }
}

/// The result of a cell's function.
#[derive(Debug, Default)]
pub struct RunEnd {
    /// The lines to forward to the engine.
    pub for_engine: String,
    /// The panic that ended it, if any.
    pub panic: Option<Panic>,
    /// The error text of a failed `?`.
    pub error: Option<String>,
    /// The displayed value of its last expression.
    pub value: Option<MimeBundle>,
}
