//! Errors as responses. A handler returns an [`Error`], and [`render`](super::render) writes its
//! body in the format of the requested service.

use crate::error::Error;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use azureml_wire::error::{AdditionalInfo, ErrorResponse};
use serde_json::json;

impl IntoResponse for Error {
    /// A response with the status only; the error is attached for [`render`].
    fn into_response(self) -> Response {
        // Every error has a valid status.
        let status =
            StatusCode::from_u16(self.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// The error body of ARM and of run history.
pub fn body(error: &Error) -> ErrorResponse {
    let mut body = ErrorResponse::new(error.code(), error.to_string());
    let inner = match error {
        Error::NotFound { .. } => Some("NotFound"),
        Error::Invalid { .. } => Some("RequestInvalid"),
        Error::Conflict { .. } => Some("Conflict"),
        _ => None,
    };
    body.error.additional_info.push(AdditionalInfo {
        kind: "ComponentName".to_owned(),
        info: json!({ "value": "azureml-local" }),
    });
    if let Some(inner) = inner {
        body.error.additional_info.push(AdditionalInfo {
            kind: "InnerError".to_owned(),
            info: json!({ "value": { "code": inner } }),
        });
    }
    body
}
