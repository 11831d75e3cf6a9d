//! The responses of services: their content, and the error of an unsuccessful one.

use super::xml;
use crate::error::{Error, Result, ServiceError, split_hint};
use azureml_wire::error::ErrorResponse;
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, LOCATION};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// A successful response. It has no `Debug`, because it may contain a signature.
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: bytes::Bytes,
}

/// Parses a JSON body.
pub fn parse<T: DeserializeOwned>(what: &str, body: &[u8]) -> Result<T> {
    // An empty body is a null value, e.g. after an accepted cancellation.
    let body: &[u8] = if body.is_empty() { b"null" } else { body };
    serde_json::from_slice(body).map_err(|error| Error::Answer {
        call: what.to_owned(),
        reason: error.to_string(),
    })
}

/// The error of an unsuccessful response.
pub(super) fn service_error(
    what: &str,
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
    tries: u32,
) -> Error {
    let (code, message) = code_and_message(body);
    // The only source for a HEAD response of the blob store, which has no body.
    let in_header = headers
        .get("x-ms-error-code")
        .and_then(|code| code.to_str().ok());
    let code = if code.is_empty() {
        in_header.unwrap_or_default().to_owned()
    } else {
        code
    };
    let message = if status.is_redirection() {
        redirected(headers)
    } else if message.is_empty() {
        status
            .canonical_reason()
            .unwrap_or("no reason given")
            .to_owned()
    } else {
        message
    };
    let request_id = ["x-ms-request-id", "x-ms-correlation-request-id"]
        .iter()
        .find_map(|name| headers.get(*name)?.to_str().ok())
        .map(str::to_owned);
    let (message, hint, _) = split_hint(&message);
    Error::Service(Box::new(ServiceError {
        call: what.to_owned(),
        status: status.as_u16(),
        code,
        message: message.to_owned(),
        hint: hint.map(str::to_owned),
        request_id,
        tries,
    }))
}

/// The message for a redirect: its host, without the path and query, which may contain a secret.
pub fn redirected(headers: &HeaderMap) -> String {
    let host = headers
        .get(LOCATION)
        .and_then(|url| reqwest::Url::parse(url.to_str().ok()?).ok())
        .and_then(|url| Some(url.host_str()?.to_owned()));
    format!(
        "it redirects to {}, and credentials are not sent there\n\
         hint: check the address; a proxy or a sign-in page may have answered in the service's place",
        host.as_deref().unwrap_or("another address")
    )
}

/// The code and the message in the body of an error, in the format of ARM (JSON), of MLflow, of the
/// authority or of the blob store (XML).
pub(super) fn code_and_message(body: &[u8]) -> (String, String) {
    let Ok(json) = serde_json::from_slice::<Value>(body) else {
        let xml = String::from_utf8_lossy(body);
        let text = |name: &str| xml::text(&xml, name).unwrap_or_default();
        // Azure appends the id of the request and the time.
        let message = text("Message");
        let message = message.split("\nRequestId:").next().unwrap_or_default();
        return (text("Code"), message.to_owned());
    };
    if let Ok(ErrorResponse { error }) = serde_json::from_value(json.clone())
        && !error.message.is_empty()
    {
        return (error.code, error.message);
    }
    let text = |key: &str| json[key].as_str().unwrap_or_default().to_owned();
    if json["error"].is_string() {
        // The format of the authority. The first line is the error; the others are diagnostics for
        // support.
        let description = text("error_description");
        let first = description.lines().next().unwrap_or_default();
        return (text("error"), first.trim_end().to_owned());
    }
    (text("error_code"), text("message"))
}
