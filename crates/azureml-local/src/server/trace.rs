//! The log of HTTP exchanges on the JSON routes, for tests (`AZUREML_LOCAL_TRACE`).

use super::address::Area;
use super::body::JSON_LIMIT;
use crate::error::{Error, Result};
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::header;
use axum::response::Response;
use azureml_wire::local::scope;
use serde_json::{Value, json};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// A file of exchanges, one JSON object per line.
#[derive(Debug)]
pub struct Trace {
    file: Mutex<File>,
}

impl Trace {
    /// Appends to the file at `path`.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        Ok(Self {
            file: Mutex::new(file),
        })
    }

    fn write(&self, exchange: &Value) {
        let mut line = exchange.to_string();
        line.push('\n');
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = file.write_all(line.as_bytes()) {
            tracing::warn!(%error, "an exchange could not be recorded");
        }
    }
}

/// An exchange whose response is not known yet.
#[derive(Debug)]
pub struct Exchange {
    client: String,
    method: String,
    path: String,
    query: String,
    request: Value,
}

/// Records a request if exchanges of its area are logged; also returns the request for processing.
pub async fn asked(
    trace: Option<&Trace>,
    area: Area,
    request: Request,
) -> Result<(Request, Option<Exchange>)> {
    // The workspace's id in the spelling of the service, regardless of the client's.
    let root = match area {
        Area::Arm => scope().to_string(),
        Area::History => format!("/history/v1.0{}", scope()),
        Area::Mlflow => format!("/mlflow/v2.0{}/api/2.0", scope()),
        Area::Artifact
        | Area::Metric
        | Area::Blob
        | Area::Data
        | Area::Datastore
        | Area::Models
        | Area::Account
        | Area::Discovery
        | Area::Page => {
            return Ok((request, None));
        }
    };
    let rest = request.uri().path().strip_prefix(area.inner());
    let rest = rest.unwrap_or_default().to_owned();
    // These routes transfer files.
    if trace.is_none() || rest.starts_with("/mlflow-artifacts/") {
        return Ok((request, None));
    }
    let (parts, body) = request.into_parts();
    // The routes have lower limits.
    let body = to_bytes(body, 4 * JSON_LIMIT)
        .await
        .map_err(|_| Error::TooLarge("the body is too large".to_owned()))?;
    let client = parts.headers.get(header::USER_AGENT);
    let exchange = Exchange {
        client: client
            .and_then(|client| client.to_str().ok())
            .unwrap_or_default()
            .to_owned(),
        method: parts.method.to_string(),
        path: root + &rest,
        query: parts.uri.query().unwrap_or_default().to_owned(),
        request: redacted(&body),
    };
    Ok((Request::from_parts(parts, Body::from(body)), Some(exchange)))
}

/// Logs an exchange with its response, and returns the response.
pub async fn answered(trace: Option<&Trace>, exchange: Exchange, response: Response) -> Response {
    let Some(trace) = trace else {
        return response;
    };
    let (parts, body) = response.into_parts();
    // The responses of these routes are JSON values that are in memory already.
    let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
    trace.write(&json!({
        "client": exchange.client,
        "method": exchange.method,
        "path": exchange.path,
        "query": exchange.query,
        "request": exchange.request,
        "status": parts.status.as_u16(),
        "response": redacted(&body),
    }));
    Response::from_parts(parts, Body::from(body))
}

/// A body as JSON, with secrets removed.
fn redacted(body: &[u8]) -> Value {
    let mut value = serde_json::from_slice(body).unwrap_or(Value::Null);
    redact(&mut value);
    value
}

fn redact(value: &mut Value) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                if matches!(name.as_str(), "sasToken" | "credential" | "key") && value.is_string() {
                    *value = json!("REDACTED");
                } else {
                    redact(value);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(redact),
        Value::String(text) => {
            if let Some((url, query)) = text.split_once('?')
                && query.contains("sig=")
            {
                *text = format!("{url}?REDACTED");
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_recorded() {
        let body = json!({
            "sasToken": "sv=1&sig=abc",
            "credential": { "sasUri": "http://h/c?sv=1&sig=abc" },
            "list": ["plain"]
        });
        let recorded = redacted(body.to_string().as_bytes()).to_string();
        assert!(!recorded.contains("abc"));
        assert!(recorded.contains("http://h/c?REDACTED"));
        assert!(recorded.contains("plain"));
    }
}
