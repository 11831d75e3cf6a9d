//! Templates as responses, and the page of an error.

use super::language::Language;
use crate::error::{Error, Result};
use askama::Template;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};

/// The page of an error.
pub fn error_page(l: Language, status: StatusCode, error: &Error) -> Response {
    #[derive(Template)]
    #[template(path = "error.html")]
    struct ErrorPage {
        l: Language,
        title: &'static str,
        status: StatusCode,
        message: String,
    }
    page(&ErrorPage {
        l,
        title: match status {
            StatusCode::FORBIDDEN => "This page does not open like this",
            StatusCode::NOT_FOUND => "There is no such page",
            _ => "Something went wrong",
        },
        status,
        message: error.to_string(),
    })
    .unwrap_or_else(|_| error.to_string().into_response())
}

/// A rendered page.
pub fn page(template: &impl Template) -> Result<Response> {
    Ok(Html(part(template)?).into_response())
}

/// A rendered part of a page.
pub fn part(template: &impl Template) -> Result<String> {
    template
        .render()
        .map_err(|error| Error::Internal(format!("a page could not be written: {error}")))
}
