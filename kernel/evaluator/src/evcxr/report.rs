//! Errors as a reader of a notebook sees them.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;

use ::evcxr::CompilationError;
use unicode_width::UnicodeWidthStr;

use super::assembler::Panic;
use crate::CellError;

const RED: &str = "\x1b[1;31m";
const BLUE: &str = "\x1b[1;34m";
const BOLD: &str = "\x1b[1m";
const PLAIN: &str = "\x1b[0m";

/// What the compiler says about a cell, each error once, in its own block.
pub(super) fn compile_errors(code: &str, errors: &[CompilationError]) -> CellError {
    let mut seen = HashSet::new();
    let blocks: Vec<String> = errors
        .iter()
        .map(|error| compile_error(code, error))
        .filter(|block| seen.insert(block.clone()))
        .collect();
    let evalue = errors.first().map_or_else(
        || "the cell does not compile".to_owned(),
        |error| first_line(&error.message()),
    );
    CellError {
        ename: "CompileError".to_owned(),
        evalue,
        traceback: blocks,
    }
}

/// An error that is a text: its first line names it, all of it is shown.
pub(super) fn message(ename: &str, text: &str) -> CellError {
    let text = text.trim_end();
    CellError {
        ename: ename.to_owned(),
        evalue: first_line(text),
        traceback: vec![format!("{RED}{ename}{PLAIN}{BOLD}: {text}{PLAIN}")],
    }
}

/// A panic, with its place in the cell when it is there. `source` is the crate into which the cell was put.
pub(super) fn panic(code: &str, source: &str, panic: &Panic) -> CellError {
    let mut error = message("Panic", &panic.message);
    let Some(place) = place_in_cell(code, source, &panic.place) else {
        if !panic.place.is_empty() {
            error
                .traceback
                .push(format!("{BLUE} -->{PLAIN} {}", panic.place));
        }
        return error;
    };
    match place {
        Place::Cell { line, column, text } => {
            write!(error.evalue, " (line {line}, column {column})").ok();
            error
                .traceback
                .push(excerpt(&line.to_string(), column, &text, ""));
        }
        Place::Earlier { text } => {
            error.traceback.push(format!(
                "{BLUE} -->{PLAIN} an earlier cell: {}",
                text.trim()
            ));
        }
    }
    error
}

/// Where a panic happened.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    Cell {
        line: usize,
        column: usize,
        text: String,
    },
    Earlier {
        text: String,
    },
}

/// `evcxr` copies the statements of a cell into its crate line by line; this finds the way back.
fn place_in_cell(code: &str, source: &str, place: &str) -> Option<Place> {
    let mut parts = place.rsplitn(3, ':');
    let column: usize = parts.next()?.parse().ok()?;
    let line: usize = parts.next()?.parse().ok()?;
    if parts.next()? != "src/lib.rs" {
        return None;
    }
    let copied = source.lines().nth(line.checked_sub(1)?)?;
    let statement = copied.trim();
    if statement.is_empty() {
        return None;
    }
    let earlier = || Place::Earlier {
        text: copied.to_owned(),
    };
    let found: Vec<_> = code
        .lines()
        .enumerate()
        .filter_map(|(index, text)| Some((index + 1, text, text.find(statement)?)))
        .collect();
    // The same line may stand in the cell several times; then the first ones are in the copy first, too.
    let nth = source
        .lines()
        .take(line)
        .filter(|other| other.trim() == statement)
        .count();
    let Some((line, text, start)) = found.get(nth.saturating_sub(1)).or(found.first()) else {
        return Some(earlier());
    };
    let indent = copied
        .chars()
        .take_while(|character| character.is_whitespace())
        .count();
    let before = text[..*start].chars().count();
    Some(Place::Cell {
        line: *line,
        column: (before + column).saturating_sub(indent).max(1),
        text: (*text).to_owned(),
    })
}

/// A part of a line with a label.
struct Label {
    start: usize,
    end: usize,
    text: String,
    primary: bool,
}

fn compile_error(code: &str, error: &CompilationError) -> String {
    let lines: Vec<&str> = code.lines().collect();
    let mut labels: BTreeMap<usize, Vec<Label>> = BTreeMap::new();
    let mut notes = Vec::new();
    for message in error.spanned_messages() {
        let Some(span) = &message.span else {
            continue;
        };
        let line_length = lines
            .get(span.start_line.saturating_sub(1))
            .map_or(0, |line| line.chars().count());
        let end = if span.end_line == span.start_line {
            span.end_column
        } else {
            line_length + 1
        };
        labels.entry(span.start_line).or_default().push(Label {
            start: span.start_column,
            end: end.max(span.start_column + 1),
            text: message.label.clone(),
            primary: message.is_primary,
        });
    }
    if let serde_json::Value::Array(children) = &error.json["children"] {
        for child in children {
            let (Some(level), Some(text)) = (child["level"].as_str(), child["message"].as_str())
            else {
                continue;
            };
            let mut note = format!("{level}: {text}");
            if let Some(replacement) = child["spans"][0]["suggested_replacement"].as_str() {
                let replacement = replacement.trim_end();
                if !replacement.is_empty() {
                    write!(note, ": `{}`", replacement.trim_start()).ok();
                }
            }
            notes.push(note);
        }
    }
    notes.extend(error.evcxr_extra_hint().map(|hint| format!("note: {hint}")));
    if matches!(error.code(), Some("E0384" | "E0596")) {
        notes.push("hint: an existing variable becomes mutable by `let mut x = x;`".to_owned());
    }

    let code_name = error
        .code()
        .map(|code| format!("[{code}]"))
        .unwrap_or_default();
    let mut block = format!(
        "{RED}error{code_name}{PLAIN}{BOLD}: {}{PLAIN}",
        error.message().trim_end()
    );
    if labels.is_empty() && !error.rendered().is_empty() && !error.is_from_user_code() {
        // Nothing of it stands in the cell: the compiler's own words say most.
        return error.rendered().trim_end().to_owned();
    }
    let primary = labels
        .iter()
        .find_map(|(line, labels)| Some((line, labels.iter().find(|label| label.primary)?)));
    let width = labels
        .keys()
        .next_back()
        .map_or(1, |line| line.to_string().len());
    let margin = " ".repeat(width);
    if let Some((line, label)) = primary {
        write!(
            block,
            "\n{margin}{BLUE}-->{PLAIN} line {line}, column {}",
            label.start
        )
        .ok();
    }
    let mut previous = None;
    for (line, labels) in &mut labels {
        let text = lines.get(line - 1).copied().unwrap_or_default();
        if previous.is_some_and(|previous| previous + 1 < *line) {
            write!(block, "\n{BLUE}...{PLAIN}").ok();
        } else if previous.is_none() {
            write!(block, "\n{margin} {BLUE}|{PLAIN}").ok();
        }
        write!(block, "\n{BLUE}{line:>width$} |{PLAIN} {}", spaced(text)).ok();
        // What is wrong comes first, then what it has to do with.
        labels.sort_by_key(|label| (!label.primary, label.start));
        for label in labels.iter() {
            let (offset, marks) = mark(text, label);
            let colour = if label.primary { RED } else { BLUE };
            write!(
                block,
                "\n{margin} {BLUE}|{PLAIN} {}{colour}{marks} {}{PLAIN}",
                " ".repeat(offset),
                label.text.replace('\n', " ").trim(),
            )
            .ok();
        }
        previous = Some(*line);
    }
    for note in notes {
        let mut note_lines = note.lines();
        let first = note_lines.next().unwrap_or_default();
        write!(block, "\n{margin} {BLUE}={PLAIN} {first}").ok();
        for line in note_lines {
            write!(block, "\n{margin}   {line}").ok();
        }
    }
    block
}

/// A line of the cell with one mark under it.
fn excerpt(number: &str, column: usize, text: &str, label: &str) -> String {
    let margin = " ".repeat(number.len());
    let label = Label {
        start: column,
        end: column + 1,
        text: label.to_owned(),
        primary: true,
    };
    let (offset, marks) = mark(text, &label);
    format!(
        "{margin}{BLUE}-->{PLAIN} line {number}, column {column}\n{margin} {BLUE}|{PLAIN}\n{BLUE}{number} |{PLAIN} {}\n{margin} {BLUE}|{PLAIN} {}{RED}{marks}{PLAIN}{}",
        spaced(text),
        " ".repeat(offset),
        label.text,
    )
}

/// How far a mark is from the left and what it looks like; a Hangul syllable is two columns wide.
fn mark(text: &str, label: &Label) -> (usize, String) {
    let part = |from: usize, to: usize| -> String {
        text.chars()
            .skip(from)
            .take(to.saturating_sub(from))
            .collect()
    };
    let before = spaced(&part(0, label.start.saturating_sub(1)));
    let marked = spaced(&part(
        label.start.saturating_sub(1),
        label.end.saturating_sub(1),
    ));
    let sign = if label.primary { "^" } else { "-" };
    (before.width(), sign.repeat(marked.width().max(1)))
}

/// Tabs as the spaces that they look like.
fn spaced(text: &str) -> String {
    text.replace('\t', "    ")
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_found_in_the_cell() {
        let code = "let v = vec![1];\nlet a = 1; let 나 = v[9];\nv[9]";
        let source =
            "fn run() {\nlet v = vec![1];\nlet a = 1;\nlet 나 = v[9];\n(\nv[9]\n).evcxr_display()";
        let place = |place| place_in_cell(code, source, place);
        assert_eq!(
            place("src/lib.rs:4:9"),
            Some(Place::Cell {
                line: 2,
                column: 20,
                text: "let a = 1; let 나 = v[9];".to_owned()
            })
        );
        assert_eq!(place("/rustc/core/src/option.rs:1:2"), None);
        assert_eq!(
            place("src/lib.rs:1:1"),
            Some(Place::Earlier {
                text: "fn run() {".to_owned()
            })
        );
    }

    #[test]
    fn marks_stand_under_wide_characters() {
        let label = Label {
            start: 4,
            end: 6,
            text: String::new(),
            primary: true,
        };
        assert_eq!(mark("가 =나다;", &label), (4, "^^^^".to_owned()));
    }
}
