//! Error responses in the format of the requested service.

use super::address::Area;
use super::error::body;
use super::xml::escape;
use crate::error::Error;
use crate::studio::language::Language;
use crate::studio::page::error_page;
use axum::Json;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// Replaces the body of a failed response with the error format of its area.
pub async fn render(
    area: Area,
    method: &Method,
    language: Language,
    response: Response,
) -> Response {
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return response;
    }
    let allowed = response.headers().get(header::ALLOW).cloned();
    let mut error = match response.extensions().get::<Error>() {
        Some(error) => error.clone(),
        // The framework has rejected the request, for example for an invalid path or query.
        None => rejected(response).await,
    };
    if let (Error::Method(methods), Some(allowed)) = (&mut error, &allowed) {
        *methods = allowed.to_str().unwrap_or_default().replace(',', ", ");
    }
    if status.is_server_error() {
        tracing::error!(%error, "a request failed");
    }
    let mut rendered = match area {
        Area::Page => error_page(language, status, &error),
        Area::Blob => xml(&error, method),
        Area::Mlflow => Json(json!({
            "error_code": mlflow_code(&error),
            "message": error.to_string(),
        }))
        .into_response(),
        _ => Json(body(&error)).into_response(),
    };
    *rendered.status_mut() = match (area, &error) {
        // MLflow returns 400 if a resource already exists.
        (Area::Mlflow, Error::Conflict { .. }) => StatusCode::BAD_REQUEST,
        _ => StatusCode::from_u16(error.status()).unwrap_or(status),
    };
    if let Some(allowed) = allowed {
        rendered.headers_mut().insert(header::ALLOW, allowed);
    }
    if let Error::Range { length } = error
        && let Ok(value) = HeaderValue::from_str(&format!("bytes */{length}"))
    {
        rendered.headers_mut().insert(header::CONTENT_RANGE, value);
    }
    if matches!(error, Error::Busy(_)) {
        rendered
            .headers_mut()
            .insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    rendered
}

async fn rejected(response: Response) -> Error {
    let status = response.status();
    let text = axum::body::to_bytes(response.into_body(), 4096)
        .await
        .unwrap_or_default();
    let message = String::from_utf8_lossy(&text).into_owned();
    match status.as_u16() {
        404 => Error::NotFound {
            code: "ResourceNotFound",
            message: "the local workspace has nothing at this address".to_owned(),
        },
        405 => Error::Method(String::new()),
        413 => Error::TooLarge(message),
        code if code < 500 => Error::invalid(message),
        _ => Error::Internal(message),
    }
}

fn mlflow_code(error: &Error) -> &'static str {
    match error {
        // MLflow's client falls back to older endpoints on this code.
        Error::Method(_)
        | Error::NotFound {
            code: "ResourceNotFound",
            ..
        } => "ENDPOINT_NOT_FOUND",
        Error::NotFound { .. } => "RESOURCE_DOES_NOT_EXIST",
        Error::Invalid {
            code: "INVALID_STATE",
            ..
        } => "INVALID_STATE",
        Error::Conflict { .. } => "RESOURCE_ALREADY_EXISTS",
        Error::Unauthenticated(_) => "UNAUTHENTICATED",
        Error::Denied(_) => "PERMISSION_DENIED",
        Error::Busy(_) => "TEMPORARILY_UNAVAILABLE",
        Error::Internal(_) | Error::DiskFull(_) | Error::Gone(_) => "INTERNAL_ERROR",
        Error::Invalid { .. } | Error::Precondition | Error::Range { .. } | Error::TooLarge(_) => {
            "INVALID_PARAMETER_VALUE"
        }
    }
}

/// The error of the blob store: XML, with the code in a header because a HEAD response has no body.
fn xml(error: &Error, method: &Method) -> Response {
    let code = match error {
        Error::NotFound { code, .. } if !code.ends_with("NotFound") => "ResourceNotFound",
        Error::Unauthenticated(_) => "NoAuthenticationInformation",
        Error::Denied(_) => "AuthenticationFailed",
        Error::Method(_) => "UnsupportedHttpVerb",
        Error::TooLarge(_) => "RequestBodyTooLarge",
        Error::Internal(_) => "InternalError",
        other => other.code(),
    };
    let text = if *method == Method::HEAD {
        String::new()
    } else {
        format!(
            "<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>{code}</Code><Message>{}</Message></Error>",
            escape(&error.to_string())
        )
    };
    let mut response = text.into_response();
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/xml"),
    );
    headers.insert("x-ms-error-code", HeaderValue::from_static(code));
    headers.insert("x-ms-version", HeaderValue::from_static("2024-11-04"));
    response
}
