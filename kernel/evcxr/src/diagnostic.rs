//! Converts compiler errors of `evcxr`.

use azureml_kernel_evaluator::engine::report::{Diagnostic, Label};
use evcxr::CompilationError;

/// Converts an error to the type of [`report`](crate::report).
pub(super) fn diagnostic(error: &CompilationError) -> Diagnostic {
    let labels = error.spanned_messages().iter().filter_map(|message| {
        let span = message.span.as_ref()?;
        Some(Label {
            start: (span.start_line, span.start_column),
            end: (span.end_line, span.end_column),
            text: message.label.clone(),
            primary: message.is_primary,
        })
    });
    let mut notes = Diagnostic::notes_of(&error.json["children"]);
    notes.extend(error.evcxr_extra_hint().map(|hint| format!("note: {hint}")));
    Diagnostic {
        level: "error".to_owned(),
        code: error.code().map(str::to_owned),
        message: error.message(),
        labels: labels.collect(),
        notes,
        rendered: if error.is_from_user_code() {
            String::new()
        } else {
            error.rendered()
        },
    }
}
