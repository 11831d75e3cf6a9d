//! Adapts compiler errors to a notebook: removes notes about generated code and adds hints that
//! need the state of the session.

use crate::report::{Diagnostic, Label};

/// Rewrites the notes of an error, and messages that refer to the generated code around the cell.
/// `gone` returns why a name is not, or not any more, a variable at a position.
pub(super) fn advise(
    error: &mut Diagnostic,
    gone: impl Fn(&str, (usize, usize)) -> Option<String>,
) {
    match error.code.as_deref() {
        Some("E0425") => {
            let primary = error.labels.iter().find(|label| label.primary);
            let place = primary.map_or((0, 0), |label| label.start);
            let Some(words) = quoted(&error.message)
                .filter(|_| error.message.starts_with("cannot find value"))
                .and_then(|name| gone(name, place))
            else {
                return;
            };
            // Suggestions of similar names.
            error.notes.retain(|note| !note.starts_with("help: "));
            error.notes.push(format!("hint: {words}"));
        }
        Some("E0432" | "E0433" | "E0463") => {
            let missing = "you might be missing a crate named ";
            let found = error.notes.iter().position(|note| note.contains(missing));
            if let Some(at) = found
                && let Some(name) = quoted(&error.notes[at])
            {
                error.notes[at] =
                    format!("hint: if `{name}` is a crate, a line `:dep {name}` above it adds it");
            }
        }
        // The explanatory compilation passes variables of earlier cells as function arguments.
        Some("E0384") => {
            let variable = |text: &mut String| {
                *text = text.replace("immutable argument", "immutable variable");
            };
            variable(&mut error.message);
            error
                .labels
                .iter_mut()
                .for_each(|label| variable(&mut label.text));
            error
                .notes
                .retain(|note| !note.starts_with("help: consider making this binding mutable"));
        }
        Some("E0277") if error.message.ends_with("doesn't implement `Debug`") => {
            // Keeps only the note on how to derive the trait. The others repeat the message and
            // refer to generated code.
            error.notes.retain(|note| note.contains("note: add "));
            error
                .notes
                .push("hint: a cell that ends with `;` shows no value".to_owned());
        }
        None if error.message == "expected expression, found `:`" => {
            let begins_line = |label: &Label| label.primary && label.start.1 == 1;
            if error.labels.iter().any(begins_line) {
                error.notes.retain(|note| !note.starts_with("help: "));
                let words =
                    "hint: a command such as `:dep` stands before the Rust code of its cell";
                error.notes.push(words.to_owned());
            }
        }
        None if error.message.starts_with("mismatched closing delimiter") => {
            // rustc pairs the open delimiter with a delimiter of the generated code after the cell.
            if let [label] = &mut error.labels[..]
                && label.text == "unclosed delimiter"
            {
                "nothing in this cell closes it".clone_into(&mut label.text);
                "unclosed delimiter".clone_into(&mut error.message);
            }
        }
        _ => {}
    }
}

/// Returns the text between the first two backticks.
fn quoted(text: &str) -> Option<&str> {
    text.split('`').nth(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_variable_that_is_gone_gets_the_hint() {
        let error = |message: &str| Diagnostic {
            code: Some("E0425".to_owned()),
            message: message.to_owned(),
            notes: vec!["help: a local variable with a similar name exists: `on`".to_owned()],
            ..Diagnostic::default()
        };
        let gone = |name: &str, _| (name == "gone").then(|| "let taken = gone;".to_owned());
        for (message, hinted) in [
            ("cannot find value `gone` in this scope", true),
            ("cannot find value `other` in this scope", false),
            ("cannot find function `gone` in this scope", false),
        ] {
            let mut error = error(message);
            advise(&mut error, gone);
            assert_eq!(error.notes[0].starts_with("hint: "), hinted, "{message}");
        }
    }
}
