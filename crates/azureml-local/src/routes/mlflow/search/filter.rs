//! Parser for filters like `metrics.loss < 0.1 and tags.kind = "a"` and orders like
//! `metrics.loss DESC`.

use super::words::{Kind, Word, unquote, words};
use crate::error::{Error, Result};
use crate::store::search::{
    Attribute, Comparison, DatasetPart, Operand, Order, Subject, Term, Test,
};

/// The maximum number of comparisons in a filter and of keys in an order. `SQLite` limits the
/// number of joined tables to not many more.
const MOST: usize = 50;

/// The kind of the objects that are searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// Runs.
    Runs,
    /// Experiments.
    Experiments,
}

const RUN_ATTRIBUTES: [(&str, Attribute); 12] = [
    ("run_id", Attribute::RunId),
    ("run_name", Attribute::RunName),
    ("run name", Attribute::RunName),
    ("Run name", Attribute::RunName),
    ("Run Name", Attribute::RunName),
    ("status", Attribute::Status),
    ("user_id", Attribute::UserId),
    ("artifact_uri", Attribute::ArtifactUri),
    ("start_time", Attribute::StartTime),
    ("created", Attribute::StartTime),
    ("Created", Attribute::StartTime),
    ("end_time", Attribute::EndTime),
];

const EXPERIMENT_ATTRIBUTES: [(&str, Attribute); 4] = [
    ("name", Attribute::Name),
    ("experiment_id", Attribute::ExperimentId),
    ("creation_time", Attribute::CreationTime),
    ("last_update_time", Attribute::LastUpdateTime),
];

impl What {
    fn attributes(self) -> &'static [(&'static str, Attribute)] {
        match self {
            Self::Runs => &RUN_ATTRIBUTES,
            Self::Experiments => &EXPERIMENT_ATTRIBUTES,
        }
    }

    /// The attribute that supports comparison with a list.
    fn listed(self) -> (&'static str, Attribute) {
        match self {
            Self::Runs => ("run_id", Attribute::RunId),
            Self::Experiments => ("experiment_id", Attribute::ExperimentId),
        }
    }

    /// Parses an identifier: `metrics.loss`, `` tags.`a b` ``, `status`.
    fn subject(self, text: &str) -> Result<Subject> {
        let (kind, key) = text.split_once('.').unwrap_or(("attribute", text));
        let key = unquote(key).to_owned();
        match (self, unquote(kind)) {
            (Self::Runs, "attribute" | "attributes" | "attr" | "run")
            | (Self::Experiments, "attribute") => self.attribute(&key),
            (_, "tag" | "tags") => Ok(Subject::Tag(key)),
            (Self::Runs, "metric" | "metrics") => Ok(Subject::Metric(key)),
            (Self::Runs, "parameter" | "parameters" | "param" | "params") => {
                Ok(Subject::Param(key))
            }
            (Self::Runs, "dataset" | "datasets") => dataset(&key),
            (_, other) => Err(Error::invalid(format!(
                "Invalid entity type '{other}'. Valid values are {}",
                match self {
                    Self::Runs => "'metric', 'parameter', 'tag', 'attribute', 'dataset'",
                    Self::Experiments => "'attribute', 'tag', 'tags'",
                }
            ))),
        }
    }

    fn attribute(self, key: &str) -> Result<Subject> {
        let found = self.attributes().iter().find(|(name, _)| *name == key);
        found
            .map(|(_, attribute)| Subject::Attribute(*attribute))
            .ok_or_else(|| {
                let names: Vec<&str> = self.attributes().iter().map(|(name, _)| *name).collect();
                Error::invalid(format!(
                    "Invalid attribute key '{key}' specified. Valid keys are '{}'",
                    names.join("', '")
                ))
            })
    }
}

fn dataset(key: &str) -> Result<Subject> {
    let part = match key {
        "name" => DatasetPart::Name,
        "digest" => DatasetPart::Digest,
        "context" => DatasetPart::Context,
        _ => {
            return Err(Error::invalid(format!(
                "Invalid dataset key '{key}' specified. Valid keys are 'name', 'digest', 'context'"
            )));
        }
    };
    Ok(Subject::Dataset(part))
}

/// Parses a filter: comparisons joined by `AND`.
pub fn filter(what: What, text: &str) -> Result<Vec<Term>> {
    let words = words(text)?;
    let mut rest = words.as_slice();
    let mut terms = Vec::new();
    while !rest.is_empty() {
        if !terms.is_empty() {
            match rest {
                [and, _, ..] if and.is("and") => rest = &rest[1..],
                _ => return Err(clauses(rest)),
            }
        }
        let (term, after) = term(what, rest)?;
        terms.push(term);
        rest = after;
    }
    if terms.len() > MOST {
        return Err(Error::invalid(format!(
            "a filter can have {MOST} comparisons, this one has {}\n\
             hint: split the search",
            terms.len()
        )));
    }
    Ok(terms)
}

fn clauses(rest: &[Word<'_>]) -> Error {
    let rest: Vec<String> = rest.iter().map(|word| format!("'{}'", word.text)).collect();
    Error::invalid(format!(
        "Invalid clause(s) in filter string: {}\n\
         hint: write comparisons like `metrics.loss < 0.5 AND params.lr = '0.1'`",
        rest.join(", ")
    ))
}

/// Parses the comparison at the start of the tokens; also returns the remaining tokens.
fn term<'w, 'a>(what: What, words: &'w [Word<'a>]) -> Result<(Term, &'w [Word<'a>])> {
    let [subject, sign, rest @ ..] = words else {
        return Err(clauses(words));
    };
    if subject.kind != Kind::Bare {
        return Err(clauses(words));
    }
    let is_list = |rest: &[Word<'_>]| rest.first().is_some_and(|first| first.is_mark("("));
    let known = what.subject(subject.text)?;
    let (test, rest) = match (sign, rest) {
        (is, [null, rest @ ..]) if is.is("is") && null.is("null") => {
            (present(&known, false)?, rest)
        }
        (is, [not, null, rest @ ..]) if is.is("is") && not.is("not") && null.is("null") => {
            (present(&known, true)?, rest)
        }
        (within, rest) if within.is("in") && is_list(rest) => among(what, &known, rest, true)?,
        (not, [within, rest @ ..]) if not.is("not") && within.is("in") && is_list(rest) => {
            among(what, &known, rest, false)?
        }
        (sign, [operand, rest @ ..]) => {
            let wanted = operand_of(what, &known, subject.text, operand)?;
            let test = comparison(what, &known, sign, wanted).ok_or_else(|| match sign.kind {
                Kind::Sign | Kind::Bare => comparator(what, &known, sign.text),
                _ => clauses(words),
            })?;
            (test, rest)
        }
        _ => return Err(clauses(words)),
    };
    let term = Term {
        subject: known,
        test,
    };
    Ok((term, rest))
}

fn present(subject: &Subject, wanted: bool) -> Result<Test> {
    match subject {
        Subject::Tag(_) | Subject::Param(_) => Ok(Test::Present(wanted)),
        _ => Err(Error::invalid(
            "IS NULL / IS NOT NULL is only supported for tags and params",
        )),
    }
}

fn comparator(what: What, subject: &Subject, sign: &str) -> Error {
    let known = match subject {
        Subject::Metric(_) => "'!=', '<', '<=', '=', '>', '>='",
        Subject::Attribute(attribute) if attribute.is_number() => "'!=', '<', '<=', '=', '>', '>='",
        Subject::Attribute(attribute) if *attribute == what.listed().1 => {
            "'!=', '=', 'ILIKE', 'IN', 'LIKE', 'NOT IN'"
        }
        Subject::Attribute(_) => "'!=', '=', 'ILIKE', 'LIKE'",
        Subject::Dataset(_) => "'!=', '=', 'ILIKE', 'IN', 'LIKE', 'NOT IN'",
        Subject::Param(_) | Subject::Tag(_) => {
            "'!=', '=', 'ILIKE', 'IS NOT NULL', 'IS NULL', 'LIKE'"
        }
    };
    Error::invalid(format!("Invalid comparator '{sign}' not one of {known}"))
}

/// A comparison by an operator, `LIKE` or `ILIKE`; `None` if the subject does not support it.
fn comparison(what: What, subject: &Subject, sign: &Word<'_>, operand: Operand) -> Option<Test> {
    let comparison = match sign.text {
        "=" => Some(Comparison::Equal),
        "!=" => Some(Comparison::Unequal),
        "<" => Some(Comparison::Less),
        "<=" => Some(Comparison::LessOrEqual),
        ">" => Some(Comparison::Greater),
        ">=" => Some(Comparison::GreaterOrEqual),
        _ => None,
    };
    let is_id =
        what == What::Experiments && *subject == Subject::Attribute(Attribute::ExperimentId);
    match (comparison, operand) {
        (Some(comparison), operand)
            if matches!(operand, Operand::Number(_))
                || matches!(comparison, Comparison::Equal | Comparison::Unequal) =>
        {
            Some(Test::Compare(comparison, operand))
        }
        (None, Operand::Text(pattern)) if !is_id && (sign.is("like") || sign.is("ilike")) => {
            Some(Test::Like {
                pattern,
                fold_case: sign.is("ilike"),
            })
        }
        _ => None,
    }
}

/// The right-hand side of a comparison: a number for numeric subjects, otherwise quoted text.
fn operand_of(what: What, subject: &Subject, name: &str, operand: &Word<'_>) -> Result<Operand> {
    let found = operand.text;
    let wants_number = match subject {
        Subject::Metric(_) => Some("metric".to_owned()),
        Subject::Attribute(attribute) if attribute.is_number() => {
            Some(format!("numeric attribute: {name}"))
        }
        _ => None,
    };
    if let Some(wanted) = wants_number {
        return operand.number().map(Operand::Number).ok_or_else(|| {
            Error::invalid(format!(
                "Expected numeric value type for {wanted}. Found {found}"
            ))
        });
    }
    if let Some(text) = operand.quoted() {
        return Ok(Operand::Text(text.to_owned()));
    }
    if operand.is_mark("(") {
        return Err(unlisted(what, subject));
    }
    let wanted = match subject {
        Subject::Param(_) => "parameter (e.g. 'my-value')",
        Subject::Tag(_) => "tag (e.g. 'my-value')",
        Subject::Dataset(_) => "dataset attributes",
        Subject::Metric(_) | Subject::Attribute(_) => "attributes",
    };
    Err(Error::invalid(format!(
        "Expected a quoted string value for {wanted}. Got value {found}"
    )))
}

fn unlisted(what: What, subject: &Subject) -> Error {
    match subject {
        Subject::Attribute(attribute) if !attribute.is_number() => Error::invalid(format!(
            "Only the '{}' attribute supports comparison with a list of quoted string values.",
            what.listed().0
        )),
        _ => comparator(what, subject, "IN"),
    }
}

/// Parses `IN ('a', 'b')` from the opening parenthesis on.
fn among<'w, 'a>(
    what: What,
    subject: &Subject,
    words: &'w [Word<'a>],
    wanted: bool,
) -> Result<(Test, &'w [Word<'a>])> {
    match subject {
        Subject::Dataset(_) => {}
        Subject::Attribute(attribute) if *attribute == what.listed().1 => {}
        _ => return Err(unlisted(what, subject)),
    }
    let end = words
        .iter()
        .position(|word| word.is_mark(")"))
        .ok_or_else(|| ill_formed("ill-formed list"))?;
    let mut list = Vec::new();
    for (at, word) in words[1..end].iter().enumerate() {
        match word.quoted() {
            Some(text) if at % 2 == 0 => list.push(text.to_owned()),
            None if at % 2 == 1 && word.is_mark(",") => {}
            None if word.number().is_some() => {
                return Err(ill_formed("different type in list"));
            }
            _ => return Err(ill_formed("ill-formed list")),
        }
    }
    if list.is_empty() {
        return Err(ill_formed("empty list"));
    }
    Ok((Test::Among(list, wanted), &words[end + 1..]))
}

fn ill_formed(got: &str) -> Error {
    Error::invalid(format!(
        "While parsing a list in the query, expected a non-empty list of string values, but got {got}"
    ))
}

/// Parses the keys of an order.
pub fn orders(what: What, texts: &[String]) -> Result<Vec<Order>> {
    if texts.len() > MOST {
        return Err(Error::invalid(format!(
            "`order_by` can have {MOST} keys, this one has {}",
            texts.len()
        )));
    }
    let mut orders: Vec<Order> = Vec::new();
    for text in texts {
        let order = order(what, text)?;
        if orders.iter().any(|known| known.subject == order.subject) {
            return Err(Error::invalid(format!(
                "`order_by` contains duplicate fields: {texts:?}"
            )));
        }
        orders.push(order);
    }
    Ok(orders)
}

fn order(what: What, text: &str) -> Result<Order> {
    let unreadable = || {
        Error::invalid(format!(
            "Invalid order_by clause '{text}'. Could not be parsed."
        ))
    };
    let words = words(text).map_err(|_| unreadable())?;
    let (subject, descending) = match words.as_slice() {
        [subject] => (subject, false),
        [subject, direction] if direction.is("asc") => (subject, false),
        [subject, direction] if direction.is("desc") => (subject, true),
        [_, direction] if direction.kind == Kind::Bare => {
            return Err(Error::invalid(format!(
                "Invalid ordering key in order_by clause '{text}'."
            )));
        }
        _ => return Err(unreadable()),
    };
    if subject.kind != Kind::Bare {
        return Err(unreadable());
    }
    let subject = what.subject(subject.text)?;
    match (what, &subject) {
        (_, Subject::Dataset(_)) | (What::Experiments, Subject::Tag(_)) => {
            Err(Error::invalid(format!(
                "Invalid order_by entity: {text}\nhint: order by an attribute{}",
                match what {
                    What::Runs => ", a metric, a parameter or a tag",
                    What::Experiments => "",
                }
            )))
        }
        _ => Ok(Order {
            subject,
            descending,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_makes_no_sense_is_refused() {
        for (filter, why) in [
            ("metrics.loss", "Invalid clause(s)"),
            ("metrics.loss ~ 1", "Invalid comparator '~'"),
            ("metrics.loss == 1", "Invalid comparator '=='"),
            ("metrics.loss !! 3", "Invalid comparator '!!'"),
            (
                "metrics.loss < big",
                "Expected numeric value type for metric",
            ),
            (
                "metrics.loss < inf",
                "Expected numeric value type for metric",
            ),
            (
                "metrics.loss < '1'",
                "Expected numeric value type for metric",
            ),
            ("metrics.loss LIKE 1", "Invalid comparator 'LIKE'"),
            ("metrics.loss IN ('1')", "Invalid comparator 'IN'"),
            ("metrics.a < 1 or metrics.a > 2", "Invalid clause(s)"),
            ("metrics.a < 1 and", "Invalid clause(s)"),
            ("and metrics.a < 1", "Invalid"),
            ("metrics.a < 1 metrics.b < 2", "Invalid clause(s)"),
            ("metrics.a < 1; metrics.b < 2", "Invalid clause(s)"),
            ("(metrics.a < 1)", "Invalid clause(s)"),
            ("toasters.loss < 1", "Invalid entity type 'toasters'"),
            ("tags.a = 'open", "not closed"),
            ("tags.a > 'b'", "Invalid comparator '>'"),
            (
                "params.a = 1",
                "Expected a quoted string value for parameter",
            ),
            (
                "params.a = b",
                "Expected a quoted string value for parameter",
            ),
            ("status in 'a'", "Invalid comparator 'in'"),
            ("status IN ('a')", "Only the 'run_id' attribute"),
            ("status = ('a')", "Only the 'run_id' attribute"),
            ("run_id IN ()", "empty list"),
            ("run_id IN ('a' 'b')", "ill-formed"),
            ("run_id IN (1)", "different type"),
            ("run_id IN ('a'", "ill-formed"),
            (
                "attributes.nonsense = 'a'",
                "Invalid attribute key 'nonsense'",
            ),
            ("nonsense = 'a'", "Invalid attribute key 'nonsense'"),
            ("experiment_id = '1'", "Invalid attribute key"),
            (
                "start_time = 'a'",
                "Expected numeric value type for numeric attribute",
            ),
            ("start_time LIKE 1", "Invalid comparator 'LIKE'"),
            (
                "status = 1",
                "Expected a quoted string value for attributes",
            ),
            ("status IS NULL", "IS NULL / IS NOT NULL is only supported"),
            ("tags.a IS", "Invalid clause(s)"),
            ("tags.a IS 'b'", "Invalid comparator 'IS'"),
            ("datasets.color = 'red'", "Invalid dataset key 'color'"),
            ("1 = 1", "Invalid attribute key '1'"),
            ("'status' = 'a'", "Invalid clause(s)"),
        ] {
            let error = super::filter(What::Runs, filter)
                .expect_err(filter)
                .to_string();
            assert!(error.contains(why), "{filter}: {error}");
            assert!(
                !error.contains("Some(") && !error.contains("Word"),
                "{error}"
            );
        }
        let many = vec!["metrics.a < 1"; MOST + 1].join(" and ");
        assert!(super::filter(What::Runs, &many).is_err());
        for filter in [
            "attributes.name = 'a'",
            "metrics.a < 1",
            "run_id = 'a'",
            "name > 'a'",
            "name IN ('a')",
            "experiment_id LIKE '1'",
            "tags.a IN ('b')",
            "creation_time = 'a'",
        ] {
            assert!(
                super::filter(What::Experiments, filter).is_err(),
                "{filter}"
            );
        }
    }

    #[test]
    fn an_order_that_makes_no_sense_is_refused() {
        for order in [
            "",
            "metrics.loss DESCENDING",
            "metrics.loss ASC DESC",
            "metrics.a, metrics.b",
            "nonsense",
            "attributes.nonsense DESC",
            "Run name",
            "datasets.name",
            "toasters.loss",
            "'status'",
        ] {
            assert!(orders(What::Runs, &[order.to_owned()]).is_err(), "{order}");
        }
        for order in ["tags.a", "status", "metrics.loss"] {
            assert!(
                orders(What::Experiments, &[order.to_owned()]).is_err(),
                "{order}"
            );
        }
        let twice = ["start_time".to_owned(), "created DESC".to_owned()];
        assert!(orders(What::Runs, &twice).is_err());
        assert_eq!(orders(What::Runs, &twice[..1]).unwrap().len(), 1);
    }
}
