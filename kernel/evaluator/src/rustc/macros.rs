//! Finds the variables that a macro call binds, for example with `macro_rules! set { ($n:ident,
//! $v:expr) => { let $n = $v; }; }`.
//!
//! Because of macro hygiene, only names from the call are visible after it. The rule shows which of
//! them it binds. If the position of a name in the call cannot be computed from the rule, all names
//! of the call are candidates, and compiler errors later exclude those that are not variables.

use ra_ap_parser::LexedStr;
use ra_ap_syntax::{Edition, SyntaxKind};

/// A variable that a macro call may bind.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Bound {
    pub(super) name: String,
    pub(super) mutable: bool,
}

type Token<'a> = (SyntaxKind, &'a str);

/// Returns the variables that a call with these arguments may bind, according to the definition of
/// the macro. `is_value` returns whether a name already has a value.
pub(super) fn bound(
    definition: &str,
    arguments: &str,
    is_value: &dyn Fn(&str) -> bool,
) -> Vec<Bound> {
    let rules = tokens(definition);
    let call = tokens(arguments);
    let mut found: Vec<Bound> = Vec::new();
    for (at, (_, text)) in rules.iter().enumerate() {
        if *text != "let" {
            continue;
        }
        let mutable = rules.get(at + 1).is_some_and(|it| it.1 == "mut");
        let dollar = at + 1 + usize::from(mutable);
        let (Some((_, "$")), Some((SyntaxKind::IDENT, fragment))) =
            (rules.get(dollar), rules.get(dollar + 1))
        else {
            continue;
        };
        let names: Vec<&str> = if let Some(place) = position(&rules, fragment) {
            call.get(place).into_iter().map(|it| it.1).collect()
        } else {
            let names = call.iter().filter(|it| it.0 == SyntaxKind::IDENT);
            names
                .map(|it| it.1)
                .filter(|name| !is_value(name))
                .collect()
        };
        for name in names {
            let is_name = call.contains(&(SyntaxKind::IDENT, name));
            if is_name && !found.iter().any(|it| it.name == name) {
                let name = name.to_owned();
                found.push(Bound { name, mutable });
            }
        }
    }
    found
}

/// Returns the index of the token of the call that a fragment matches, if each fragment before it
/// matches exactly one token.
fn position(rules: &[Token<'_>], fragment: &str) -> Option<usize> {
    let at = rules.windows(4).position(|four| {
        four[0].1 == "$" && four[1].1 == fragment && four[2].1 == ":" && four[3].1 == "ident"
    })?;
    // Searches backwards for the bracket that opens the rule.
    let mut depth = 0;
    let begin = (0..at).rev().find(|before| {
        match rules[*before].1 {
            ")" | "]" | "}" => depth += 1,
            "(" | "[" | "{" => depth -= 1,
            _ => {}
        }
        depth < 0
    })?;
    let mut place = 0;
    let mut from = begin + 1;
    while from < at {
        let single = ["ident", "literal", "lifetime", "tt"];
        match rules[from].1 {
            "$" if rules.get(from + 3).is_some_and(|it| single.contains(&it.1)) => from += 4,
            "$" => return None,
            _ => from += 1,
        }
        place += 1;
    }
    Some(place)
}

fn tokens(text: &str) -> Vec<Token<'_>> {
    let lexed = LexedStr::new(Edition::Edition2024, text);
    let texts = (0..lexed.len()).filter(|at| !lexed.kind(*at).is_trivia());
    // `LexedStr::text` borrows from the local `lexed`; slices of `text` live longer.
    texts
        .map(|at| (lexed.kind(at), &text[lexed.text_range(at)]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_that_a_macro_binds_are_found() {
        let bound = |definition: &str, arguments: &str| {
            let found = bound(definition, arguments, &|name| name == "known");
            let names = found.into_iter().map(|it| {
                let mutable = if it.mutable { "mut " } else { "" };
                format!("{mutable}{}", it.name)
            });
            names.collect::<Vec<_>>().join(" ")
        };
        let set = "macro_rules! set { ($n:ident, $v:expr) => { let $n = $v; }; }";
        assert_eq!(bound(set, "made, other + 5"), "made");
        assert_eq!(bound(set, "known, 5"), "known");
        let var = "macro_rules! var { (new $n:ident = $v:expr) => { let mut $n = $v; } }";
        assert_eq!(bound(var, "new count = 1"), "mut count");
        let last = "macro_rules! last { ($v:expr => $n:ident) => { let $n = $v; } }";
        assert_eq!(bound(last, "known + 1 => made"), "made");
        let own = "macro_rules! own { ($v:expr) => {{ let a = $v; a }} }";
        assert_eq!(bound(own, "made"), "");
    }
}
