//! Formats errors for the user of a notebook.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;

use unicode_width::UnicodeWidthStr;

use crate::CellError;
use crate::stream::Panic;

const RED: &str = "\x1b[1;31m";
const YELLOW: &str = "\x1b[1;33m";
const BLUE: &str = "\x1b[1;34m";
const BOLD: &str = "\x1b[1m";
const PLAIN: &str = "\x1b[0m";

/// URL of the explanations of compiler error codes.
const EXPLANATIONS: &str = "https://doc.rust-lang.org/error_codes";

/// A compiler diagnostic, with positions in the cell.
#[derive(Debug, Clone, Default)]
pub struct Diagnostic {
    /// `error` or `warning`.
    pub level: String,
    /// An error code such as `E0308`, or the name of a lint.
    pub code: Option<String>,
    /// The compiler's message.
    pub message: String,
    /// The spans in the cell.
    pub labels: Vec<Label>,
    /// Additional notes.
    pub notes: Vec<String>,
    /// The compiler's own rendering; shown when the diagnostic has no span in the cell.
    pub rendered: String,
}

/// A span in the cell with its label. Lines and columns start at 1; columns are code points. The
/// end is exclusive.
#[derive(Debug, Clone)]
pub struct Label {
    /// The line and column of the first character.
    pub start: (usize, usize),
    /// The line and column behind the last character.
    pub end: (usize, usize),
    /// The message about this part.
    pub text: String,
    /// Whether the span is the error itself, as opposed to related code.
    pub primary: bool,
}

impl Diagnostic {
    /// Returns the notes among the `children` of the compiler's JSON.
    pub fn notes_of(children: &serde_json::Value) -> Vec<String> {
        let mut notes = Vec::new();
        for child in children.as_array().into_iter().flatten() {
            let (Some(level), Some(text)) = (child["level"].as_str(), child["message"].as_str())
            else {
                continue;
            };
            // This note has no code excerpt, and may refer to an attribute outside the cell.
            if text == "the lint level is defined here" {
                continue;
            }
            let mut note = format!("{level}: {text}");
            if let Some(replacement) = child["spans"][0]["suggested_replacement"].as_str() {
                let replacement = replacement.trim();
                // Some messages already contain the replacement.
                if !replacement.is_empty() && !text.contains(replacement) {
                    write!(note, ": `{replacement}`").ok();
                }
            }
            notes.push(note);
        }
        notes
    }
}

/// Converts compiler errors of a cell; each distinct error becomes one block.
pub fn compile_errors(code: &str, errors: &[Diagnostic]) -> CellError {
    let mut seen = HashSet::new();
    let blocks: Vec<String> = errors
        .iter()
        .map(|error| block(code, error))
        .filter(|block| seen.insert(block.clone()))
        .collect();
    let evalue = errors.first().map_or_else(
        || "the cell does not compile".to_owned(),
        |error| first_line(&error.message),
    );
    CellError {
        ename: "CompileError".to_owned(),
        evalue,
        traceback: blocks,
    }
}

/// The error for code that is nested too deeply for a parser.
pub fn too_deep() -> CellError {
    message(
        "CompileError",
        "the cell is nested too deeply\nhint: give its inner parts names, or make them a loop",
    )
}

/// Builds an error from a text; the first line becomes `evalue`.
pub fn message(ename: &str, text: &str) -> CellError {
    let text = text.trim_end();
    CellError {
        ename: ename.to_owned(),
        evalue: first_line(text),
        traceback: vec![format!("{RED}{ename}{PLAIN}{BOLD}: {text}{PLAIN}")],
    }
}

/// Builds an error from a panic, with its location if it is known.
pub fn panic(panic: &Panic, place: Option<Place>) -> CellError {
    let mut error = message("Panic", &panic.message);
    let Some(place) = place else {
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

/// The location of a panic.
#[derive(Debug, PartialEq, Eq)]
pub enum Place {
    /// In the running cell.
    Cell {
        /// The line, from 1.
        line: usize,
        /// The column, from 1, in code points.
        column: usize,
        /// The text of the line.
        text: String,
    },
    /// In a line of an earlier cell.
    Earlier {
        /// The text of the line.
        text: String,
    },
}

/// Maps a location in the generated crate to the cell, for an engine that copies the statements of a
/// cell into its crate line by line.
pub fn place_in_cell(code: &str, source: &str, place: &str) -> Option<Place> {
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
    // A line may occur several times in the cell. The copy contains the occurrences in the same
    // order.
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

/// A part of one line with a label.
struct Mark {
    start: usize,
    end: usize,
    text: String,
    primary: bool,
}

/// Formats one error or warning as a block of text.
pub(crate) fn block(code: &str, diagnostic: &Diagnostic) -> String {
    if diagnostic.labels.is_empty() && !diagnostic.rendered.is_empty() {
        // Without a span in the cell, the compiler's rendering is the most informative.
        return diagnostic.rendered.trim_end().to_owned();
    }
    let lines: Vec<&str> = code.lines().collect();
    let mut marks: BTreeMap<usize, Vec<Mark>> = BTreeMap::new();
    for label in &diagnostic.labels {
        let (line, start) = label.start;
        let line_length = lines
            .get(line.saturating_sub(1))
            .map_or(0, |line| line.chars().count());
        let end = if label.end.0 == line {
            label.end.1
        } else {
            line_length + 1
        };
        marks.entry(line).or_default().push(Mark {
            start,
            end: end.max(start + 1),
            text: label.text.clone(),
            primary: label.primary,
        });
    }
    let error_code = diagnostic.code.as_deref();
    let mut notes = diagnostic.notes.clone();
    notes.extend(
        error_code
            .and_then(|code| advice(code, &diagnostic.message))
            .map(|hint| format!("hint: {hint}")),
    );
    if let Some(code) = error_code.filter(|code| code.starts_with('E') && code.len() == 5) {
        notes.push(format!("explained: {EXPLANATIONS}/{code}.html"));
    }
    let bracketed = error_code
        .filter(|_| diagnostic.level == "error")
        .map(|code| format!("[{code}]"))
        .unwrap_or_default();
    let colour = if diagnostic.level == "error" {
        RED
    } else {
        YELLOW
    };
    let mut block = format!(
        "{colour}{}{bracketed}{PLAIN}{BOLD}: {}{PLAIN}",
        diagnostic.level,
        diagnostic.message.trim_end()
    );
    let width = marks
        .keys()
        .next_back()
        .map_or(1, |line| line.to_string().len());
    let margin = " ".repeat(width);
    let primary = marks
        .iter()
        .find_map(|(line, marks)| Some((line, marks.iter().find(|mark| mark.primary)?)));
    if let Some((line, mark)) = primary {
        write!(
            block,
            "\n{margin}{BLUE}-->{PLAIN} line {line}, column {}",
            mark.start
        )
        .ok();
    }
    let mut previous = None;
    for (line, marks) in &mut marks {
        let text = lines.get(line - 1).copied().unwrap_or_default();
        if previous.is_some_and(|previous| previous + 1 < *line) {
            write!(block, "\n{BLUE}...{PLAIN}").ok();
        } else if previous.is_none() {
            write!(block, "\n{margin} {BLUE}|{PLAIN}").ok();
        }
        write!(block, "\n{BLUE}{line:>width$} |{PLAIN} {}", spaced(text)).ok();
        // Primary marks come first, then marks of related code.
        marks.sort_by_key(|mark| (!mark.primary, mark.start));
        for mark in marks.iter() {
            let (offset, signs) = signs(text, mark);
            let colour = if mark.primary { colour } else { BLUE };
            write!(
                block,
                "\n{margin} {BLUE}|{PLAIN} {}{colour}{}{PLAIN}",
                " ".repeat(offset),
                format!("{signs} {}", mark.text.replace('\n', " ").trim()).trim_end(),
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

/// Returns a notebook-specific hint for a compiler error.
fn advice(code: &str, message: &str) -> Option<String> {
    if !matches!(code, "E0384" | "E0596") {
        return None;
    }
    let is_name = |name: &&str| name.chars().all(|c| c.is_alphanumeric() || c == '_');
    let name = message.split('`').nth(1).filter(is_name).unwrap_or("x");
    Some(format!(
        "an existing variable becomes mutable by `let mut {name} = {name};`"
    ))
}

/// Formats a line of the cell with one mark under it.
fn excerpt(number: &str, column: usize, text: &str, label: &str) -> String {
    let margin = " ".repeat(number.len());
    let label = Mark {
        start: column,
        end: column + 1,
        text: label.to_owned(),
        primary: true,
    };
    let (offset, marks) = signs(text, &label);
    format!(
        "{margin}{BLUE}-->{PLAIN} line {number}, column {column}\n{margin} {BLUE}|{PLAIN}\n{BLUE}{number} |{PLAIN} {}\n{margin} {BLUE}|{PLAIN} {}{RED}{marks}{PLAIN}{}",
        spaced(text),
        " ".repeat(offset),
        label.text,
    )
}

/// Returns the offset of a mark and its signs, in display columns: a Hangul syllable is two columns
/// wide.
fn signs(text: &str, label: &Mark) -> (usize, String) {
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

/// Replaces tabs with four spaces.
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
        let label = Mark {
            start: 4,
            end: 6,
            text: String::new(),
            primary: true,
        };
        assert_eq!(signs("가 =나다;", &label), (4, "^^^^".to_owned()));
    }
}
