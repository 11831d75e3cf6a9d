//! The body of error responses.

use serde::{Deserialize, Serialize};

/// `{"error": {…}}`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct ErrorResponse {
    /// The error.
    pub error: ErrorDetail,
}

/// An error: a code for programs and a message for users.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ErrorDetail {
    /// `UserError`, `ResourceNotFound`, `RequestInvalid`, ….
    pub code: String,
    /// The error message.
    pub message: String,
    /// The resource or field that caused the error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// The errors that caused this one.
    #[serde(deserialize_with = "crate::lenient::null_as_default")]
    pub details: Vec<ErrorDetail>,
    /// Additional facts, each with its type.
    #[serde(deserialize_with = "crate::lenient::null_as_default")]
    pub additional_info: Vec<AdditionalInfo>,
}

/// One additional fact of an error.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AdditionalInfo {
    /// The type of the fact (`InnerError`, `Correlation`, …).
    #[serde(rename = "type")]
    pub kind: String,
    /// The fact.
    #[serde(default)]
    pub info: serde_json::Value,
}

impl ErrorResponse {
    /// Creates an error that has only a code and a message.
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
