//! MLflow's searches: filters like `metrics.loss < 0.1 and tags.kind = "a"`, orders, pages.

use crate::error::{Error, Result};
use crate::store::mlflow::{self, Run};
use rusqlite::Connection;
use serde::Deserialize;
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// What a search asks for.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Request {
    /// The experiments.
    pub experiment_ids: Vec<String>,
    /// Which of their runs.
    pub filter: String,
    /// In which order.
    pub order_by: Vec<String>,
    /// How many at most.
    max_results: Option<usize>,
    /// Where the page before ended.
    page_token: String,
    view_type: Option<String>,
    run_view_type: Option<String>,
}

impl Request {
    /// `ACTIVE_ONLY`, `DELETED_ONLY` or `ALL`.
    pub fn view(&self) -> &str {
        self.run_view_type
            .as_deref()
            .or(self.view_type.as_deref())
            .unwrap_or("ACTIVE_ONLY")
    }

    /// One page, and where the next begins.
    pub fn page<T>(&self, found: Vec<T>) -> Result<(Vec<T>, Option<String>)> {
        let skip = place(&self.page_token)? as usize;
        let most = self.max_results.unwrap_or(1000).clamp(1, 50_000);
        let end = skip.saturating_add(most);
        let next = (found.len() > end).then(|| end.to_string());
        Ok((found.into_iter().skip(skip).take(most).collect(), next))
    }
}

/// Where a page token says the page before ended.
pub fn place(token: &str) -> Result<i64> {
    if token.is_empty() {
        return Ok(0);
    }
    token
        .parse()
        .ok()
        .filter(|place| *place >= 0)
        .ok_or_else(|| Error::invalid(format!("{token:?} is no page token")))
}

/// Whether a view shows what is in a stage of life.
pub fn shows(view: &str, lifecycle: &str) -> bool {
    match view {
        "ALL" => true,
        "DELETED_ONLY" => lifecycle == "deleted",
        _ => lifecycle == "active",
    }
}

/// What a comparison looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A metric's last value.
    Metric,
    /// A parameter.
    Param,
    /// A tag.
    Tag,
    /// The run itself.
    Attribute,
}

/// What is compared.
#[derive(Debug, Clone, PartialEq)]
pub enum Operand {
    /// Text.
    Text(String),
    /// A number.
    Number(f64),
}

#[derive(Debug, Clone)]
enum Test {
    Compare(Comparison, Operand),
    Like { pattern: String, fold_case: bool },
    Among(Vec<String>, bool),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// A filter: comparisons that all must hold.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    terms: Vec<(Kind, String, Test)>,
}

impl Filter {
    /// Reads a filter.
    pub fn parse(text: &str) -> Result<Self> {
        let mut words = Words::of(text)?;
        let mut terms = Vec::new();
        while words.peek().is_some() {
            if !terms.is_empty() {
                words.keyword("and")?;
            }
            terms.push(words.term()?);
        }
        Ok(Self { terms })
    }

    /// Whether it holds for what `get` knows.
    pub fn holds(&self, get: impl Fn(Kind, &str) -> Option<Operand>) -> bool {
        self.terms
            .iter()
            .all(|(kind, key, test)| get(*kind, key).is_some_and(|have| test.holds(&have)))
    }
}

impl Test {
    fn holds(&self, have: &Operand) -> bool {
        match (self, have) {
            (Self::Compare(comparison, Operand::Number(want)), Operand::Number(have)) => {
                comparison.holds(have.partial_cmp(want))
            }
            (Self::Compare(comparison, Operand::Text(want)), Operand::Text(have)) => {
                comparison.holds(Some(have.as_str().cmp(want)))
            }
            (Self::Like { pattern, fold_case }, Operand::Text(have)) => {
                if *fold_case {
                    like(&have.to_lowercase(), &pattern.to_lowercase())
                } else {
                    like(have, pattern)
                }
            }
            (Self::Among(list, wanted), Operand::Text(have)) => list.contains(have) == *wanted,
            _ => false,
        }
    }
}

impl Comparison {
    fn holds(self, ordering: Option<Ordering>) -> bool {
        match ordering {
            // NaN is unequal to everything.
            None => self == Self::Unequal,
            Some(ordering) => match self {
                Self::Equal => ordering.is_eq(),
                Self::Unequal => ordering.is_ne(),
                Self::Less => ordering.is_lt(),
                Self::LessOrEqual => ordering.is_le(),
                Self::Greater => ordering.is_gt(),
                Self::GreaterOrEqual => ordering.is_ge(),
            },
        }
    }
}

/// SQL's LIKE: `%` stands for any text, `_` for any one character.
fn like(text: &str, pattern: &str) -> bool {
    let (text, pattern): (Vec<char>, Vec<char>) =
        (text.chars().collect(), pattern.chars().collect());
    let (mut at, mut in_pattern) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while at < text.len() {
        match pattern.get(in_pattern) {
            Some('%') => {
                retry = Some((at, in_pattern));
                in_pattern += 1;
            }
            Some(wanted) if *wanted == '_' || *wanted == text[at] => {
                at += 1;
                in_pattern += 1;
            }
            _ => match retry {
                Some((from, star)) => {
                    retry = Some((from + 1, star));
                    at = from + 1;
                    in_pattern = star + 1;
                }
                None => return false,
            },
        }
    }
    pattern[in_pattern..].iter().all(|rest| *rest == '%')
}

#[derive(Debug, Clone, PartialEq)]
enum Word {
    /// A name, a keyword or a number.
    Bare(String),
    /// Text in single or double quotes.
    Quoted(String),
    /// A name in backticks.
    Name(String),
    /// `=`, `!=`, `<`, `(`, `,`, ….
    Sign(String),
}

struct Words {
    words: std::iter::Peekable<std::vec::IntoIter<Word>>,
}

impl Words {
    fn of(text: &str) -> Result<Self> {
        let mut words = Vec::new();
        let mut rest = text.trim_start();
        while let Some(first) = rest.chars().next() {
            let length = if matches!(first, '\'' | '"' | '`') {
                let end = rest[1..]
                    .find(first)
                    .ok_or_else(|| wrong("a quote is not closed"))?;
                let inner = rest[1..=end].to_owned();
                words.push(if first == '`' {
                    Word::Name(inner)
                } else {
                    Word::Quoted(inner)
                });
                end + 2
            } else if "=!<>(),".contains(first) {
                let length = if rest[1..].starts_with('=') { 2 } else { 1 };
                words.push(Word::Sign(rest[..length].to_owned()));
                length
            } else {
                let end = rest
                    .find(|character: char| {
                        character.is_whitespace() || "=!<>(),'\"`".contains(character)
                    })
                    .unwrap_or(rest.len());
                words.push(Word::Bare(rest[..end].to_owned()));
                end
            };
            rest = rest[length..].trim_start();
        }
        Ok(Self {
            words: words.into_iter().peekable(),
        })
    }

    fn peek(&mut self) -> Option<&Word> {
        self.words.peek()
    }

    fn keyword(&mut self, wanted: &str) -> Result<()> {
        match self.words.next() {
            Some(Word::Bare(word)) if word.eq_ignore_ascii_case(wanted) => Ok(()),
            other => Err(wrong(&format!("{other:?} stands where `{wanted}` belongs"))),
        }
    }

    /// `metrics.loss`, `` tags.`a b` ``, `status`.
    fn subject(&mut self) -> Result<(Kind, String)> {
        let text = match self.words.next() {
            Some(Word::Bare(text) | Word::Name(text)) => text,
            other => return Err(wrong(&format!("{other:?} is nothing to compare"))),
        };
        let (kind, key) = text.split_once('.').unwrap_or(("attributes", &text));
        let kind = match kind {
            "metric" | "metrics" => Kind::Metric,
            "param" | "params" | "parameter" | "parameters" => Kind::Param,
            "tag" | "tags" => Kind::Tag,
            "attribute" | "attributes" | "attr" | "run" => Kind::Attribute,
            _ => {
                return Err(wrong(&format!(
                    "{text:?} is neither metric, param, tag nor attribute"
                )));
            }
        };
        let key = match self.words.peek() {
            // The name stood in quotes behind the dot.
            Some(Word::Name(name) | Word::Quoted(name)) if key.is_empty() => {
                let name = name.clone();
                self.words.next();
                name
            }
            _ => key.to_owned(),
        };
        Ok((kind, key))
    }

    fn term(&mut self) -> Result<(Kind, String, Test)> {
        let (kind, key) = self.subject()?;
        let comparison = match self.words.next() {
            Some(Word::Sign(sign)) => match sign.as_str() {
                "=" | "==" => Comparison::Equal,
                "!=" => Comparison::Unequal,
                "<" => Comparison::Less,
                "<=" => Comparison::LessOrEqual,
                ">" => Comparison::Greater,
                ">=" => Comparison::GreaterOrEqual,
                _ => return Err(wrong(&format!("{sign:?} compares nothing"))),
            },
            Some(Word::Bare(word)) => {
                let test = match word.to_ascii_lowercase().as_str() {
                    "like" => Test::Like {
                        pattern: self.quoted()?,
                        fold_case: false,
                    },
                    "ilike" => Test::Like {
                        pattern: self.quoted()?,
                        fold_case: true,
                    },
                    "in" => Test::Among(self.list()?, true),
                    "not" => {
                        self.keyword("in")?;
                        Test::Among(self.list()?, false)
                    }
                    _ => return Err(wrong(&format!("{word:?} compares nothing"))),
                };
                return Ok((kind, key, test));
            }
            other => return Err(wrong(&format!("{other:?} compares nothing"))),
        };
        let operand = match self.words.next() {
            Some(Word::Quoted(text)) => Operand::Text(text),
            Some(Word::Bare(text)) => Operand::Number(
                text.parse()
                    .map_err(|_| wrong(&format!("{text:?} is no number; text needs quotes")))?,
            ),
            other => return Err(wrong(&format!("{other:?} is nothing to compare with"))),
        };
        Ok((kind, key, Test::Compare(comparison, operand)))
    }

    fn quoted(&mut self) -> Result<String> {
        match self.words.next() {
            Some(Word::Quoted(text)) => Ok(text),
            other => Err(wrong(&format!("{other:?} is no text in quotes"))),
        }
    }

    fn list(&mut self) -> Result<Vec<String>> {
        let mut list = Vec::new();
        if self.words.next() != Some(Word::Sign("(".to_owned())) {
            return Err(wrong("a list begins with `(`"));
        }
        loop {
            match self.words.next() {
                Some(Word::Quoted(text)) => list.push(text),
                Some(Word::Sign(sign)) if sign == "," => {}
                Some(Word::Sign(sign)) if sign == ")" => return Ok(list),
                other => return Err(wrong(&format!("{other:?} stands in a list"))),
            }
        }
    }
}

fn wrong(why: &str) -> Error {
    Error::invalid(format!("the filter cannot be read: {why}"))
}

/// One key of an order.
#[derive(Debug, Clone)]
pub struct Order {
    kind: Kind,
    key: String,
    descending: bool,
}

impl Order {
    /// Reads keys like `metrics.loss DESC`.
    pub fn parse_all(texts: &[String]) -> Result<Vec<Self>> {
        texts
            .iter()
            .map(|text| {
                let mut words = Words::of(text)?;
                let (kind, key) = words.subject()?;
                let descending = match words.words.next() {
                    None => false,
                    Some(Word::Bare(word)) if word.eq_ignore_ascii_case("asc") => false,
                    Some(Word::Bare(word)) if word.eq_ignore_ascii_case("desc") => true,
                    other => return Err(wrong(&format!("{other:?} is no order"))),
                };
                Ok(Self {
                    kind,
                    key,
                    descending,
                })
            })
            .collect()
    }
}

/// What filters and orders can know of a run.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The run.
    pub run: Run,
    metrics: BTreeMap<String, f64>,
    params: BTreeMap<String, String>,
    tags: BTreeMap<String, String>,
}

impl Facts {
    /// Gathers them.
    pub fn of(store: &Connection, run: Run) -> Result<Self> {
        Ok(Self {
            metrics: mlflow::latest_metrics(store, &run.id)?
                .into_iter()
                .map(|metric| (metric.key, metric.value))
                .collect(),
            params: mlflow::params(store, &run.id)?
                .into_iter()
                .map(|param| (param.key, param.value))
                .collect(),
            tags: mlflow::tags(store, &run.id)?
                .into_iter()
                .map(|tag| (tag.key, tag.value))
                .collect(),
            run,
        })
    }

    /// One of them.
    pub fn get(&self, kind: Kind, key: &str) -> Option<Operand> {
        let text = |text: &str| Operand::Text(text.to_owned());
        let number = |number: i64| Operand::Number(number as f64);
        match kind {
            Kind::Metric => self.metrics.get(key).copied().map(Operand::Number),
            Kind::Param => self.params.get(key).map(|value| text(value)),
            Kind::Tag => self.tags.get(key).map(|value| text(value)),
            Kind::Attribute => match key {
                "run_id" => Some(text(&self.run.id)),
                "run_name" | "Run name" | "name" => Some(text(&self.run.name)),
                "status" => Some(text(&self.run.status)),
                "start_time" | "Created" | "created" => self.run.start_time.map(number),
                "end_time" => self.run.end_time.map(number),
                _ => None,
            },
        }
    }
}

/// Sorts runs; those that lack a key come last, and among equals the newest first.
pub fn sort(runs: &mut [Facts], order: &[Order]) {
    runs.sort_by(|a, b| {
        for key in order {
            let (a, b) = (a.get(key.kind, &key.key), b.get(key.kind, &key.key));
            let ordering = match (&a, &b) {
                (Some(Operand::Number(a)), Some(Operand::Number(b))) => a.total_cmp(b),
                (Some(Operand::Text(a)), Some(Operand::Text(b))) => a.cmp(b),
                (Some(_), None) => return Ordering::Less,
                (None, Some(_)) => return Ordering::Greater,
                _ => Ordering::Equal,
            };
            let ordering = if key.descending {
                ordering.reverse()
            } else {
                ordering
            };
            if ordering.is_ne() {
                return ordering;
            }
        }
        (b.run.start_time, b.run.seq).cmp(&(a.run.start_time, a.run.seq))
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(kind: Kind, key: &str) -> Option<Operand> {
        match (kind, key) {
            (Kind::Metric, "loss") => Some(Operand::Number(0.25)),
            (Kind::Metric, "broken") => Some(Operand::Number(f64::NAN)),
            (Kind::Param, "optimizer") => Some(Operand::Text("adadelta".into())),
            (Kind::Tag, "a b") => Some(Operand::Text("c".into())),
            (Kind::Attribute, "status") => Some(Operand::Text("FINISHED".into())),
            _ => None,
        }
    }

    #[test]
    fn filters_hold_or_do_not() {
        for (filter, holds) in [
            ("", true),
            ("metrics.loss < 0.5", true),
            ("metrics.loss >= 0.5", false),
            ("metrics.loss<0.5 AND params.optimizer = 'adadelta'", true),
            ("params.optimizer LIKE 'ada%'", true),
            ("params.optimizer like 'Ada%'", false),
            ("params.optimizer ILIKE 'Ada%a'", true),
            ("tags.`a b` = \"c\"", true),
            ("tags.\"a b\" != \"c\"", false),
            ("status = 'FINISHED' and metrics.missing > 0", false),
            ("attributes.status IN ('FAILED', 'FINISHED')", true),
            ("attributes.status NOT IN ('FAILED', 'FINISHED')", false),
            ("metrics.broken != 1", true),
            ("metrics.broken = 1", false),
        ] {
            let parsed = Filter::parse(filter).unwrap();
            assert_eq!(parsed.holds(get), holds, "{filter}");
        }
    }

    #[test]
    fn a_filter_that_makes_no_sense_is_refused() {
        for filter in [
            "metrics.loss",
            "metrics.loss ~ 1",
            "metrics.loss < big",
            "metrics.loss < 1 or metrics.loss > 2",
            "toasters.loss < 1",
            "tags.a = 'open",
            "status in 'a'",
        ] {
            assert!(Filter::parse(filter).is_err(), "{filter}");
        }
    }

    #[test]
    fn like_is_the_one_of_sql() {
        assert!(like("abc", "%b%"));
        assert!(like("abc", "a_c"));
        assert!(like("", "%"));
        assert!(!like("abc", "b%"));
        assert!(like("aXbXc", "a%X%c"));
    }
}
