//! Searches for runs and for experiments, as one SQL query each.
//!
//! Order and comparison follow MLflow: values come before NaN and NaN before missing values, in
//! both directions; NaN is unequal to every number.

use super::dataset::CONTEXT;
use super::experiment::{self, Experiment};
use super::mlflow::{self, ARTIFACTS, PARENT, Run};
use crate::error::Result;
use rusqlite::functions::FunctionFlags;
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};
use serde_json::json;

/// The value that a comparison or an order refers to.
#[derive(Debug, Clone, PartialEq)]
pub enum Subject {
    /// A property of the run or experiment itself.
    Attribute(Attribute),
    /// The latest value of a metric.
    Metric(String),
    /// A parameter.
    Param(String),
    /// A tag.
    Tag(String),
    /// A property of a dataset of the run.
    Dataset(DatasetPart),
}

/// A property of a run or an experiment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attribute {
    /// The id of a run.
    RunId,
    /// The name of a run.
    RunName,
    /// The status of a run.
    Status,
    /// The user of a run.
    UserId,
    /// The artifact URI of a run.
    ArtifactUri,
    /// The start time of a run.
    StartTime,
    /// The end time of a run.
    EndTime,
    /// The id of an experiment.
    ExperimentId,
    /// The name of an experiment.
    Name,
    /// The creation time of an experiment.
    CreationTime,
    /// The time of the last change of an experiment.
    LastUpdateTime,
}

impl Attribute {
    /// Whether its values are numbers.
    pub fn is_number(self) -> bool {
        matches!(
            self,
            Self::StartTime | Self::EndTime | Self::CreationTime | Self::LastUpdateTime
        )
    }
}

/// A property of a dataset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DatasetPart {
    /// Its name.
    Name,
    /// Its digest.
    Digest,
    /// Its purpose, such as `training`.
    Context,
}

/// The right side of a comparison.
#[derive(Debug, Clone, PartialEq)]
pub enum Operand {
    /// Text.
    Text(String),
    /// A number.
    Number(f64),
}

/// The condition of a term.
#[derive(Debug, Clone, PartialEq)]
pub enum Test {
    /// A comparison operator.
    Compare(Comparison, Operand),
    /// A pattern.
    Like {
        /// The pattern.
        pattern: String,
        /// Whether case is ignored.
        fold_case: bool,
    },
    /// A list; `true` requires a value in the list, `false` one outside of it.
    Among(Vec<String>, bool),
    /// Whether the value must exist or must not exist.
    Present(bool),
}

/// A comparison operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// `=`
    Equal,
    /// `!=`
    Unequal,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

impl Comparison {
    fn sql(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::Unequal => "<>",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        }
    }
}

/// A comparison.
#[derive(Debug, Clone, PartialEq)]
pub struct Term {
    /// The left side.
    pub subject: Subject,
    /// The condition.
    pub test: Test,
}

/// One key of an order.
#[derive(Debug, Clone, PartialEq)]
pub struct Order {
    /// The sort key.
    pub subject: Subject,
    /// Whether the order is descending.
    pub descending: bool,
}

/// The lifecycle stages to return.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum View {
    /// Active only.
    #[default]
    Active,
    /// Deleted only.
    Deleted,
    /// Both.
    All,
}

/// A search.
#[derive(Debug, Default)]
pub struct Search {
    /// Comparisons; all must hold.
    pub terms: Vec<Term>,
    /// The order.
    pub orders: Vec<Order>,
    /// The lifecycle stages.
    pub view: View,
    /// The number of results to skip.
    pub skip: u64,
    /// The maximum number of results.
    pub most: u64,
}

/// Finds runs of experiments; with `within`, only that run and its descendants, at most 7 levels
/// below it.
pub fn runs(
    store: &Connection,
    search: &Search,
    experiments: &[i64],
    within: Option<&str>,
) -> Result<Vec<Run>> {
    let mut query = Query::new(mlflow::RUN);
    query.join(&search.orders);
    query.push(" WHERE run.experiment IN (SELECT value FROM json_each(");
    query.bind(Value::Text(json!(experiments).to_string()));
    query.push("))");
    query.lifecycle("run", search.view);
    if let Some(own) = within {
        query.push(" AND run.id IN (WITH RECURSIVE own (id, depth) AS (SELECT ");
        query.bind(Value::Text(own.to_owned()));
        query.push(&format!(
            ", 0 UNION SELECT tag.run, depth + 1 FROM own JOIN tag ON tag.value = own.id
                 WHERE tag.key = '{PARENT}' AND depth < 7) SELECT id FROM own)"
        ));
    }
    for term in &search.terms {
        query.run_term(term);
    }
    query.order(&search.orders);
    if !search
        .orders
        .iter()
        .any(|order| order.subject == Subject::Attribute(Attribute::StartTime))
    {
        query.push("run.start_time DESC, ");
    }
    query.push("run.id");
    query.limit(search);
    query.rows(store, mlflow::run)
}

/// Finds experiments.
pub fn experiments(store: &Connection, search: &Search) -> Result<Vec<Experiment>> {
    let mut query = Query::new(experiment::EXPERIMENT);
    query.push(" WHERE TRUE");
    query.lifecycle("experiment", search.view);
    for term in &search.terms {
        query.experiment_term(term);
    }
    query.order(&search.orders);
    query.push(if search.orders.is_empty() {
        "experiment.created_at DESC, experiment.id"
    } else {
        "experiment.id DESC"
    });
    query.limit(search);
    query.rows(store, experiment::experiment)
}

/// An SQL query and the values of its parameters in their order.
struct Query {
    sql: String,
    values: Vec<Value>,
}

impl Query {
    fn new(select: &str) -> Self {
        Self {
            sql: select.to_owned(),
            values: Vec::new(),
        }
    }

    fn push(&mut self, sql: &str) {
        self.sql.push_str(sql);
    }

    fn bind(&mut self, value: Value) {
        self.push("?");
        self.values.push(value);
    }

    fn rows<T>(
        &self,
        store: &Connection,
        read: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>> {
        let mut statement = store.prepare_cached(&self.sql)?;
        let rows = statement.query_map(params_from_iter(&self.values), read)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    fn lifecycle(&mut self, table: &str, view: View) {
        match view {
            View::Active => self.push(&format!(" AND {table}.lifecycle = 'active'")),
            View::Deleted => self.push(&format!(" AND {table}.lifecycle = 'deleted'")),
            View::All => {}
        }
    }

    /// Joins the tables that an order needs. Runs without a value stay in the result.
    fn join(&mut self, orders: &[Order]) {
        for (at, order) in orders.iter().enumerate() {
            let (table, key) = match &order.subject {
                Subject::Metric(key) => ("series", key),
                Subject::Param(key) => ("param", key),
                Subject::Tag(key) => ("tag", key),
                Subject::Attribute(_) | Subject::Dataset(_) => continue,
            };
            self.push(&format!(
                " LEFT JOIN {table} AS by{at} ON by{at}.run = run.id AND by{at}.key = "
            ));
            self.bind(Value::Text(key.clone()));
        }
    }

    fn order(&mut self, orders: &[Order]) {
        self.push(" ORDER BY ");
        for (at, order) in orders.iter().enumerate() {
            let value = match &order.subject {
                Subject::Attribute(attribute) => column(*attribute),
                _ => format!("by{at}.value"),
            };
            let direction = if order.descending { "DESC" } else { "ASC" };
            // A metric without a value is NaN.
            let rank = match &order.subject {
                Subject::Metric(_) => format!(
                    "CASE WHEN by{at}.run IS NULL THEN 2 WHEN {value} IS NULL THEN 1 ELSE 0 END"
                ),
                _ => format!("{value} IS NULL"),
            };
            self.push(&format!("{rank}, {value} {direction}, "));
        }
    }

    fn limit(&mut self, search: &Search) {
        let number = |number: u64| Value::Integer(i64::try_from(number).unwrap_or(i64::MAX));
        self.push(" LIMIT ");
        self.bind(number(search.most));
        self.push(" OFFSET ");
        self.bind(number(search.skip));
    }

    fn run_term(&mut self, term: &Term) {
        let (table, key) = match &term.subject {
            Subject::Attribute(attribute) => {
                self.push(" AND ");
                return self.test(&column(*attribute), &term.test);
            }
            Subject::Dataset(part) => return self.dataset(*part, &term.test),
            Subject::Metric(key) => ("series", key),
            Subject::Param(key) => ("param", key),
            Subject::Tag(key) => ("tag", key),
        };
        self.keyed(table, "run", "run.id", key, &term.test);
    }

    fn experiment_term(&mut self, term: &Term) {
        match &term.subject {
            Subject::Attribute(attribute) => {
                self.push(" AND ");
                self.test(&column(*attribute), &term.test);
            }
            Subject::Tag(key) => {
                self.keyed(
                    "experiment_tag",
                    "experiment",
                    "experiment.id",
                    key,
                    &term.test,
                );
            }
            // The parser does not produce these for experiments.
            Subject::Metric(_) | Subject::Param(_) | Subject::Dataset(_) => {}
        }
    }

    /// Adds a condition on the value of a key in `table`.
    fn keyed(&mut self, table: &str, owner: &str, id: &str, key: &str, test: &Test) {
        let absent = matches!(test, Test::Present(false));
        self.push(if absent {
            " AND NOT EXISTS"
        } else {
            " AND EXISTS"
        });
        self.push(&format!(
            " (SELECT 1 FROM {table} AS held WHERE held.{owner} = {id} AND held.key = "
        ));
        self.bind(Value::Text(key.to_owned()));
        match test {
            Test::Present(_) => {}
            // NaN is stored as NULL.
            Test::Compare(Comparison::Unequal, Operand::Number(_)) => {
                self.push(" AND (held.value IS NULL OR ");
                self.test("held.value", test);
                self.push(")");
            }
            _ => {
                self.push(" AND ");
                self.test("held.value", test);
            }
        }
        self.push(")");
    }

    fn dataset(&mut self, part: DatasetPart, test: &Test) {
        self.push(" AND EXISTS (SELECT 1 FROM input JOIN dataset ON dataset.id = input.dataset");
        let column = match part {
            DatasetPart::Name => "dataset.name",
            DatasetPart::Digest => "dataset.digest",
            DatasetPart::Context => {
                self.push(&format!(
                    " JOIN input_tag ON input_tag.input = input.id AND input_tag.key = '{CONTEXT}'"
                ));
                "input_tag.value"
            }
        };
        self.push(" WHERE input.run = run.id AND ");
        self.test(column, test);
        self.push(")");
    }

    fn test(&mut self, value: &str, test: &Test) {
        match test {
            Test::Compare(comparison, operand) => {
                self.push(&format!("{value} {} ", comparison.sql()));
                self.bind(match operand {
                    Operand::Text(wanted) => Value::Text(wanted.clone()),
                    Operand::Number(wanted) => Value::Real(*wanted),
                });
            }
            Test::Like { pattern, fold_case } => {
                self.push(&format!("{LIKE}({value}, "));
                self.bind(Value::Text(pattern.clone()));
                self.push(if *fold_case { ", 1)" } else { ", 0)" });
            }
            Test::Among(list, wanted) => {
                let not = if *wanted { "" } else { "NOT " };
                self.push(&format!("{value} {not}IN (SELECT value FROM json_each("));
                self.bind(Value::Text(json!(list).to_string()));
                self.push("))");
            }
            Test::Present(wanted) => {
                let not = if *wanted { "NOT " } else { "" };
                self.push(&format!("{value} IS {not}NULL"));
            }
        }
    }
}

/// The column of an attribute.
fn column(attribute: Attribute) -> String {
    match attribute {
        Attribute::RunId => "run.id".to_owned(),
        Attribute::RunName => "run.name".to_owned(),
        Attribute::Status => "run.status".to_owned(),
        Attribute::UserId => "run.user".to_owned(),
        Attribute::ArtifactUri => format!(
            "coalesce(run.artifact_uri, '{}' || run.id)",
            mlflow::artifact_uri(ARTIFACTS)
        ),
        Attribute::StartTime => "run.start_time".to_owned(),
        Attribute::EndTime => "run.end_time".to_owned(),
        Attribute::ExperimentId => "CAST(experiment.id AS TEXT)".to_owned(),
        Attribute::Name => "experiment.name".to_owned(),
        Attribute::CreationTime => "experiment.created_at".to_owned(),
        Attribute::LastUpdateTime => "experiment.updated_at".to_owned(),
    }
}

/// The SQL function for LIKE and ILIKE: `SQLite`'s LIKE always ignores case and limits the length
/// of patterns.
const LIKE: &str = "mlflow_like";

/// Registers the SQL functions of the searches.
pub fn register(store: &Connection) -> rusqlite::Result<()> {
    store.create_scalar_function(
        LIKE,
        3,
        FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC,
        |call| {
            let Some(text) = call.get::<Option<String>>(0)? else {
                return Ok(None);
            };
            let (pattern, fold_case): (String, bool) = (call.get(1)?, call.get(2)?);
            Ok(Some(if fold_case {
                like(&text.to_lowercase(), &pattern.to_lowercase())
            } else {
                like(&text, &pattern)
            }))
        },
    )
}

/// SQL's LIKE: `%` matches any text, `_` matches one character.
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

#[cfg(test)]
mod tests {
    use super::like;

    #[test]
    fn like_is_the_one_of_sql() {
        assert!(like("abc", "%b%"));
        assert!(like("abc", "a_c"));
        assert!(like("", "%"));
        assert!(!like("abc", "b%"));
        assert!(like("aXbXc", "a%X%c"));
    }
}
