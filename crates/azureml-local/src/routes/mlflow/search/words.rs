//! Tokenizer for filters and orders.

use crate::error::{Error, Result};

/// The kind of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A name (with its key in quotes or backticks), a keyword or a number.
    Bare,
    /// Text in single or double quotes.
    Quoted,
    /// `=`, `!=`, `<`, ….
    Sign,
    /// `(`, `)`, `,`, `;`.
    Mark,
}

/// A token of the source text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Word<'a> {
    /// The kind.
    pub kind: Kind,
    /// The source text, including quotes.
    pub text: &'a str,
}

impl<'a> Word<'a> {
    /// Whether the token is this keyword, ignoring case.
    pub fn is(&self, keyword: &str) -> bool {
        self.kind == Kind::Bare && self.text.eq_ignore_ascii_case(keyword)
    }

    /// Whether the token is this mark.
    pub fn is_mark(&self, mark: &str) -> bool {
        self.kind == Kind::Mark && self.text == mark
    }

    /// The content of a quoted text.
    pub fn quoted(&self) -> Option<&'a str> {
        (self.kind == Kind::Quoted).then(|| unquote(self.text))
    }

    /// The value of a number: digits, a point, an exponent.
    pub fn number(&self) -> Option<f64> {
        let digits = self.text.trim_start_matches('-');
        let first = digits.trim_start_matches('.').chars().next()?;
        // `f64::from_str` also accepts words like `inf`.
        if self.kind != Kind::Bare || !first.is_ascii_digit() {
            return None;
        }
        self.text.parse().ok()
    }
}

/// Removes the quotes or backticks around a text.
pub fn unquote(text: &str) -> &str {
    for quote in ['\'', '"', '`'] {
        if let Some(inner) = text
            .strip_prefix(quote)
            .and_then(|rest| rest.strip_suffix(quote))
        {
            return inner;
        }
    }
    text
}

const SIGNS: &str = "=!<>";
const MARKS: &str = "(),;";

/// Splits a text into tokens.
pub fn words(text: &str) -> Result<Vec<Word<'_>>> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let (kind, length) = if matches!(first, '\'' | '"') {
            (Kind::Quoted, closed(rest, first)?)
        } else if SIGNS.contains(first) {
            (
                Kind::Sign,
                run_of(rest, |character| SIGNS.contains(character)),
            )
        } else if MARKS.contains(first) {
            (Kind::Mark, 1)
        } else {
            (Kind::Bare, bare(rest)?)
        };
        let (word, after) = rest.split_at(length);
        words.push(Word { kind, text: word });
        rest = after.trim_start();
    }
    Ok(words)
}

/// The length of the longest prefix whose characters satisfy `holds`.
fn run_of(text: &str, holds: impl Fn(char) -> bool) -> usize {
    text.find(|character| !holds(character))
        .unwrap_or(text.len())
}

/// The length of a quoted text. A doubled quote, or one after a backslash, does not end it.
fn closed(text: &str, quote: char) -> Result<usize> {
    let mut characters = text.char_indices().skip(1).peekable();
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' if quote != '`' => {
                characters.next_if(|(_, next)| *next == quote && text[at + 2..].contains(quote));
            }
            character
                if character == quote
                    && characters.next_if(|(_, next)| *next == quote).is_none() =>
            {
                return Ok(at + 1);
            }
            _ => {}
        }
    }
    Err(Error::invalid(format!(
        "Invalid clause(s) in filter string: '{text}': the quote {quote} is not closed"
    )))
}

/// The length of an unquoted token. It may contain backticks, and quotes after its first dot.
fn bare(text: &str) -> Result<usize> {
    let mut length = 0;
    while let Some(next) = text[length..].chars().next() {
        let part = match next {
            '`' => closed(&text[length..], next)?,
            '\'' | '"' if text[..length].ends_with('.') => closed(&text[length..], next)?,
            _ => {
                let ends = |character: char| {
                    character.is_whitespace()
                        || "'\"`".contains(character)
                        || SIGNS.contains(character)
                        || MARKS.contains(character)
                };
                run_of(&text[length..], |character| !ends(character))
            }
        };
        if part == 0 {
            break;
        }
        length += part;
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_taken_apart() {
        for (text, expected) in [
            ("metrics.loss<0.5", vec!["metrics.loss", "<", "0.5"]),
            ("tags.`a b` != \"c d\"", vec!["tags.`a b`", "!=", "\"c d\""]),
            ("tags.'a b'='c'", vec!["tags.'a b'", "=", "'c'"]),
            ("`status` = 'it''s'", vec!["`status`", "=", "'it''s'"]),
            (
                "a IN ('b','c')",
                vec!["a", "IN", "(", "'b'", ",", "'c'", ")"],
            ),
            ("a = '\\'", vec!["a", "=", "'\\'"]),
            ("ä.`ö ü` >= -1e3 ", vec!["ä.`ö ü`", ">=", "-1e3"]),
        ] {
            let found = words(text).unwrap();
            let found: Vec<&str> = found.iter().map(|word| word.text).collect();
            assert_eq!(found, expected, "{text}");
        }
        for open in ["a = 'b", "tags.`a = 1", "\"", "a = 'b''"] {
            assert!(words(open).is_err(), "{open}");
        }
    }

    #[test]
    fn numbers_are_digits() {
        let number = |text| {
            Word {
                kind: Kind::Bare,
                text,
            }
            .number()
        };
        assert_eq!(number("-0.5"), Some(-0.5));
        assert_eq!(number(".5"), Some(0.5));
        assert_eq!(number("1e3"), Some(1000.0));
        for no in ["inf", "nan", "-infinity", "a1", "", "-", "1x", "--1"] {
            assert_eq!(number(no), None, "{no}");
        }
    }
}
