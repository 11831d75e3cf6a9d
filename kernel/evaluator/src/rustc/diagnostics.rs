//! Converts the compiler's JSON messages to the coordinates of the cell.

use serde::Deserialize;
use serde_json::Value;

use super::session::Blame;
use super::source::{Cells, Origin, Source, line_and_column};
use super::versions::without_versions;
use crate::report::{Diagnostic, Label};

/// A message of the compiler.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Message {
    #[serde(rename = "message")]
    text: String,
    code: Option<Code>,
    level: String,
    spans: Vec<Span>,
    #[serde(default)]
    children: Value,
    rendered: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
struct Code {
    code: String,
}

#[derive(Debug, Clone, Deserialize)]
struct Span {
    file_name: String,
    byte_start: usize,
    byte_end: usize,
    is_primary: bool,
    label: Option<String>,
    expansion: Option<Box<Expansion>>,
}

#[derive(Debug, Clone, Deserialize)]
struct Expansion {
    span: Span,
}

impl Message {
    /// Parses the messages in the compiler's output.
    pub(super) fn read(output: &str) -> Vec<Self> {
        output
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .filter(|message: &Self| !message.is_summary())
            .collect()
    }

    /// Returns whether the message is a summary such as `aborting due to 2 previous errors`.
    fn is_summary(&self) -> bool {
        self.spans.is_empty()
            && (self.text.starts_with("aborting due to")
                || self.text.starts_with("For more information about")
                || self.text.starts_with("Some errors have detailed")
                || self.text.ends_with("warning emitted")
                || self.text.ends_with("warnings emitted"))
    }

    pub(super) fn is_error(&self) -> bool {
        self.level.starts_with("error")
    }

    pub(super) fn is_warning(&self) -> bool {
        self.level == "warning"
    }

    pub(super) fn code(&self) -> &str {
        self.code.as_ref().map_or("", |code| code.code.as_str())
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Returns the places in cells to which the error refers. For a duplicate definition, these
    /// include both definitions.
    pub(super) fn blamed(&self, source: &Source, file: &str) -> Vec<Blame> {
        let is_double = matches!(self.code(), "E0119" | "E0592" | "E0201");
        let spans = self
            .spans
            .iter()
            .filter(|span| span.is_primary || is_double);
        spans
            .filter_map(|span| span.inside(file))
            .filter_map(|span| source.in_cell(span.byte_start))
            .map(|place| Blame {
                place,
                message: self.text.clone(),
                is_double,
            })
            .collect()
    }

    /// Returns the origins of the spans of the message and of its notes.
    pub(super) fn all_origins<'a>(&self, source: &'a Source, file: &str) -> Vec<&'a Origin> {
        let mut origins = self.origins(source, file);
        for child in self.children.as_array().into_iter().flatten() {
            let spans: Vec<Span> =
                serde_json::from_value(child["spans"].clone()).unwrap_or_default();
            let spans = spans.iter().filter_map(|span| span.inside(file));
            origins.extend(spans.filter_map(|span| Some(source.origin(span.byte_start)?.0)));
        }
        origins
    }

    /// Returns whether `?` is applied to an `Option` in a function that returns a `Result`.
    pub(super) fn is_about_option(&self) -> bool {
        self.code() == "E0277"
            && self.text.starts_with("the `?` operator")
            && self.text.contains("not `Option`s")
    }

    /// Returns the last byte of each primary span in a cell.
    pub(super) fn ends_in_cell(&self, source: &Source, file: &str) -> Vec<usize> {
        let spans = self.spans.iter().filter(|span| span.is_primary);
        spans
            .filter_map(|span| span.inside(file))
            .filter_map(|span| source.in_cell(span.byte_end - 1))
            .map(|(_, place)| place)
            .collect()
    }

    /// Returns the name of a value that does not exist.
    pub(super) fn unknown_value(&self) -> Option<&str> {
        if self.code() != "E0425" {
            return None;
        }
        let rest = self.text.strip_prefix("cannot find value `")?;
        rest.split('`').next()
    }

    /// Returns the name of a foreign static that a constant reads.
    pub(super) fn foreign_static(&self) -> Option<&str> {
        let rest = self.text.strip_prefix("cannot access extern static `")?;
        let path = rest.split('`').next()?;
        path.rsplit("::").next()
    }

    /// Returns the origins of the message's spans in this source.
    pub(super) fn origins<'a>(&self, source: &'a Source, file: &str) -> Vec<&'a Origin> {
        self.spans
            .iter()
            .filter_map(|span| span.inside(file))
            .filter_map(|span| Some(source.origin(span.byte_start)?.0))
            .collect()
    }

    /// Returns the rendered message without lines of the generated file.
    fn without_lines(&self) -> String {
        let rendered = self.rendered.as_deref().unwrap_or_default();
        let is_about_code = |line: &str| {
            let rest = line.trim_start_matches(|character: char| {
                character.is_ascii_digit() || character.is_whitespace()
            });
            rest.is_empty()
                || ["|", "-->", ":::", "..."]
                    .iter()
                    .any(|it| rest.starts_with(it))
        };
        let lines = rendered.lines().filter(|line| !is_about_code(line));
        lines.collect::<Vec<_>>().join("\n")
    }

    /// Converts the message to the coordinates of the cell.
    pub(super) fn in_cell(
        &self,
        source: &Source,
        file: &str,
        cells: &Cells,
        number: u64,
    ) -> Diagnostic {
        let code = cells.code(number);
        let mut labels = Vec::new();
        let mut notes = Vec::new();
        let mut text = self.text.clone();
        for span in &self.spans {
            let Some(inside) = span.inside(file) else {
                continue;
            };
            match source.in_cell(inside.byte_start) {
                Some((cell, start)) if cell == number => {
                    let end = source
                        .in_cell(inside.byte_end)
                        .filter(|(cell, _)| *cell == number)
                        .map_or(start, |(_, end)| end);
                    labels.push(Label {
                        start: line_and_column(code, start),
                        end: line_and_column(code, end),
                        text: span.label.clone().unwrap_or_default(),
                        primary: span.is_primary,
                    });
                }
                Some((cell, start)) => {
                    let text = cells.line(cell, start).trim();
                    let what = span.label.clone().unwrap_or_default();
                    let colon = if what.is_empty() { "" } else { ": " };
                    notes.push(format!("in an earlier cell: `{text}`{colon}{what}"));
                }
                None => {
                    // The value of a cell with the generated code that shows it, or a syntax error
                    // after its end.
                    let whole = source.wrapped(&(inside.byte_start..inside.byte_end));
                    let end =
                        || Some(source.before(inside.byte_start)?).filter(|_| self.code.is_none());
                    if whole.is_none() && span.is_primary && end().is_some() {
                        // The token that the compiler found there is generated.
                        text = text.replace("found `}`", "found the end of the cell");
                    }
                    if let Some((cell, range)) = whole.or_else(end)
                        && cell == number
                    {
                        labels.push(Label {
                            start: line_and_column(code, range.start),
                            end: line_and_column(code, range.end),
                            text: span.label.clone().unwrap_or_default(),
                            primary: span.is_primary,
                        });
                    }
                }
            }
        }
        notes.extend(Diagnostic::notes_of(&self.children));
        for text in labels
            .iter_mut()
            .map(|label| &mut label.text)
            .chain(&mut notes)
        {
            *text = without_places(text);
        }
        Diagnostic {
            level: if self.is_error() { "error" } else { "warning" }.to_owned(),
            code: self.code.as_ref().map(|code| code.code.clone()),
            message: without_places(&text),
            labels,
            notes,
            rendered: self.without_lines(),
        }
    }
}

/// Removes positions in generated code from the names of closures: `{closure@cell_1.rs:8:28:
/// 8:35}`.
fn without_places(text: &str) -> String {
    let mut shown = String::new();
    let mut rest = text;
    while let Some(start) = rest.find("@cell_") {
        let Some(end) = rest[start..].find('}') else {
            break;
        };
        shown.push_str(&rest[..start]);
        rest = &rest[start + end..];
    }
    without_versions(&(shown + rest))
}

impl Span {
    /// Returns this span, or the outermost macro call in this file from which it was expanded.
    fn inside(&self, file: &str) -> Option<&Self> {
        let mut span = self;
        while let Some(expansion) = &span.expansion {
            if span.file_name == file && !expansion.span.file_name.ends_with(file) {
                break;
            }
            span = &expansion.span;
        }
        (span.file_name == file).then_some(span)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closures_are_called_by_no_file() {
        assert_eq!(
            without_places(
                "`{closure@cell_1.rs:8:28: 8:35}` and `{async block@cell_2.rs:1:1: 1:2}`"
            ),
            "`{closure}` and `{async block}`"
        );
    }

    #[test]
    fn a_message_comes_back_to_its_cell() {
        let code = "let 가 = 1;\nlet b: i32 = \"x\";";
        let mut source = Source::default();
        source
            .generated("fn run() {\n")
            .cell(2, code, 0..code.len());
        let start = source.text.find("\"x\"").expect("it is there");
        let json = serde_json::json!({
            "$message_type": "diagnostic", "message": "mismatched types", "level": "error",
            "code": { "code": "E0308", "explanation": null },
            "spans": [{
                "file_name": "cell.rs", "byte_start": start, "byte_end": start + 3,
                "line_start": 3, "line_end": 3, "column_start": 14, "column_end": 17,
                "is_primary": true, "text": [], "label": "expected `i32`, found `&str`",
                "suggested_replacement": null, "suggestion_applicability": null, "expansion": null
            }],
            "children": [], "rendered": "error"
        });
        let output =
            format!("{json}\n{{\"$message_type\":\"artifact\",\"artifact\":\"x\"}}\nnoise\n");
        let mut cells = Cells::default();
        cells.add(2, code);
        let messages = Message::read(&output);
        assert_eq!(messages.len(), 1);
        let diagnostic = messages[0].in_cell(&source, "cell.rs", &cells, 2);
        assert_eq!(diagnostic.labels[0].start, (2, 14));
        assert_eq!(diagnostic.labels[0].end, (2, 17));
        assert_eq!(diagnostic.code.as_deref(), Some("E0308"));
    }
}
