//! The body of every failed answer.

use serde::{Deserialize, Serialize};

/// `{"error": {…}}`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct ErrorResponse {
    /// What went wrong.
    pub error: ErrorDetail,
}

/// A code for programs, a message for people.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ErrorDetail {
    /// `UserError`, `ResourceNotFound`, `RequestInvalid`, ….
    pub code: String,
    /// What went wrong, in words.
    pub message: String,
    /// What it went wrong with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Errors behind this one.
    #[serde(deserialize_with = "crate::lenient::null_as_default")]
    pub details: Vec<ErrorDetail>,
    /// Anything else, by type.
    #[serde(deserialize_with = "crate::lenient::null_as_default")]
    pub additional_info: Vec<AdditionalInfo>,
}

/// One further fact of an error.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AdditionalInfo {
    /// What kind of fact (`InnerError`, `Correlation`, …).
    #[serde(rename = "type")]
    pub kind: String,
    /// The fact.
    #[serde(default)]
    pub info: serde_json::Value,
}

impl ErrorResponse {
    /// An error with a code and a message alone.
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            error: ErrorDetail {
                code: code.into(),
                message: message.into(),
                ..ErrorDetail::default()
            },
        }
    }
}
