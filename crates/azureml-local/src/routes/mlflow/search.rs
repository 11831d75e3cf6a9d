//! Search routes of MLflow: request parsing and paging.

mod filter;
mod words;

use super::request::{Fields, invalid};
use crate::error::{Error, Result};
use crate::store::search::{Search, View};
pub use filter::What;
use serde_json::{Value, json};

/// The maximum number of results on one page.
const MOST: i64 = 50_000;

/// The default number of results on one page.
const PAGE: i64 = 1000;

/// Reads a search request. The search fetches one more result than requested, which shows whether a
/// next page exists.
pub fn read(what: What, fields: &Fields) -> Result<Search> {
    let most = most(fields, PAGE, MOST)?;
    let orders = fields.texts("order_by")?;
    let filter = fields.optional_text("filter")?.unwrap_or_default();
    Ok(Search {
        terms: filter::filter(what, &filter)?,
        orders: filter::orders(what, &orders)?,
        view: view(
            fields,
            match what {
                What::Runs => "run_view_type",
                What::Experiments => "view_type",
            },
        )?,
        skip: place(fields)?.unsigned_abs(),
        most: most + 1,
    })
}

/// Splits off the first page of the results; also returns the token of the next page.
pub fn page<T>(search: &Search, mut found: Vec<T>) -> (Vec<T>, Option<String>) {
    let most = search.most.saturating_sub(1);
    let more = found.len() as u64 > most;
    if more {
        found.truncate(usize::try_from(most).unwrap_or(usize::MAX));
    }
    let next = search.skip.saturating_add(most);
    (found, more.then(|| next.to_string()))
}

/// The number of results that a request wants.
pub fn most(fields: &Fields, default: i64, most: i64) -> Result<u64> {
    let wanted = fields.optional_integer("max_results")?.unwrap_or(default);
    if (1..=most).contains(&wanted) {
        return Ok(wanted.unsigned_abs());
    }
    Err(invalid(
        "max_results",
        &json!(wanted),
        &if wanted < 1 {
            "It must be a positive integer".to_owned()
        } else {
            format!("It must be at most {most}")
        },
    ))
}

/// The offset in the page token.
pub fn place(fields: &Fields) -> Result<i64> {
    let token = fields.optional_text("page_token")?.unwrap_or_default();
    if token.is_empty() {
        return Ok(0);
    }
    token
        .parse()
        .ok()
        .filter(|place| *place >= 0)
        .ok_or_else(|| {
            Error::invalid(format!(
                "Invalid page token '{token}'\nhint: use `next_page_token` of the page before"
            ))
        })
}

/// Reads a view type by its name or its number.
fn view(fields: &Fields, member: &str) -> Result<View> {
    let Some(given) = fields.value(member) else {
        return Ok(View::default());
    };
    match given {
        Value::String(word) => match word.as_str() {
            "ACTIVE_ONLY" | "1" => Some(View::Active),
            "DELETED_ONLY" | "2" => Some(View::Deleted),
            "ALL" | "3" => Some(View::All),
            _ => None,
        },
        Value::Number(number) => match number.as_i64() {
            Some(1) => Some(View::Active),
            Some(2) => Some(View::Deleted),
            Some(3) => Some(View::All),
            _ => None,
        },
        _ => None,
    }
    .ok_or_else(|| {
        invalid(
            member,
            given,
            "Expected one of ACTIVE_ONLY, DELETED_ONLY, ALL.",
        )
    })
}
