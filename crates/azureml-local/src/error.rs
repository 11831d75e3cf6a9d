//! Errors by meaning. The format of an error response depends on the requested service
//! ([`crate::server::render`]).

use std::io;

/// The errors of a request.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The resource does not exist.
    #[error("{message}")]
    NotFound {
        /// The error code of the service.
        code: &'static str,
        /// The message.
        message: String,
    },
    /// The request is invalid.
    #[error("{message}")]
    Invalid {
        /// The error code of the service.
        code: &'static str,
        /// The message.
        message: String,
    },
    /// The request conflicts with the current state.
    #[error("{message}")]
    Conflict {
        /// The error code of the service.
        code: &'static str,
        /// The message.
        message: String,
    },
    /// A precondition of the request does not hold.
    #[error("the condition of the request does not hold")]
    Precondition,
    /// The requested range is behind the end of `length` bytes.
    #[error("the range lies behind the end")]
    Range {
        /// The size of the content.
        length: u64,
    },
    /// The credential is missing or invalid.
    #[error("{0}")]
    Unauthenticated(String),
    /// The credential does not grant this access.
    #[error("{0}")]
    Denied(String),
    /// The method is not supported; contains the supported ones.
    #[error("this address does not answer to that method, but to: {0}")]
    Method(String),
    /// The request exceeds a limit.
    #[error("{0}")]
    TooLarge(String),
    /// The workspace itself no longer exists; a retry does not help.
    #[error("{0}")]
    Gone(String),
    /// The disk is full.
    #[error("{0}")]
    DiskFull(String),
    /// The store is busy; a retry may succeed.
    #[error("{0}")]
    Busy(String),
    /// An error that the client did not cause.
    #[error("{0}")]
    Internal(String),
}

/// The result of an operation that can fail with an [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// The error for a resource that does not exist.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::NotFound {
            code: "UserError",
            message: message.into(),
        }
    }

    /// The error for an invalid request.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::Invalid {
            code: "UserError",
            message: message.into(),
        }
    }

    /// The error for a request that conflicts with the current state.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::Conflict {
            code: "UserError",
            message: message.into(),
        }
    }

    /// The HTTP status.
    pub fn status(&self) -> u16 {
        match self {
            Self::NotFound { .. } => 404,
            Self::Invalid { .. } => 400,
            Self::Conflict { .. } => 409,
            Self::Gone(_) => 410,
            Self::Precondition => 412,
            Self::Range { .. } => 416,
            Self::Unauthenticated(_) => 401,
            Self::Denied(_) => 403,
            Self::Method(_) => 405,
            Self::TooLarge(_) => 413,
            Self::Busy(_) => 503,
            Self::DiskFull(_) => 507,
            Self::Internal(_) => 500,
        }
    }

    /// The error code of the service.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotFound { code, .. }
            | Self::Invalid { code, .. }
            | Self::Conflict { code, .. } => code,
            Self::Gone(_) => "WorkspaceGone",
            Self::Precondition => "ConditionNotMet",
            Self::Range { .. } => "InvalidRange",
            Self::Unauthenticated(_) => "Unauthorized",
            Self::Denied(_) => "AuthorizationFailed",
            Self::Method(_) => "MethodNotAllowed",
            Self::TooLarge(_) => "RequestTooLarge",
            Self::Busy(_) => "ServerBusy",
            Self::DiskFull(_) => "InsufficientStorage",
            Self::Internal(_) => "ServiceError",
        }
    }
}

/// The message for a full disk: the operation that failed, and a hint.
pub fn disk_full(what: &str) -> String {
    format!(
        "{what}: no space is left on the disk of the local workspace\n\
         hint: free some space there, or set AZUREML_LOCAL_HOME to a folder on a larger disk"
    )
}

/// Whether the error means that the disk or a quota is full.
pub fn is_disk_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        if is_disk_full(&error) {
            Self::DiskFull(disk_full("a file could not be written"))
        } else {
            Self::Internal(format!(
                "a file of the local workspace could not be used: {error}"
            ))
        }
    }
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode;
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::DiskFull(disk_full("the record could not be saved")),
            // A write beyond a size limit or a quota is reported as an I/O error.
            Some(ErrorCode::SystemIoFailure) => Self::DiskFull(format!(
                "the record could not be saved ({error})\n\
                 hint: see that the disk of the local workspace has space and can be written to"
            )),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                Self::Busy("the store of the local workspace is busy".to_owned())
            }
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Internal(
                "the store of the local workspace is damaged\n\
                 hint: stop it by `azureml-local stop`, move its folder away and start anew"
                    .to_owned(),
            ),
            _ => Self::Internal(format!("the store of the local workspace failed: {error}")),
        }
    }
}

impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Self {
        Self::Internal(format!(
            "a record of the local workspace could not be read: {error}"
        ))
    }
}
