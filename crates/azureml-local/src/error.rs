//! Errors by meaning. How one is written for the client depends on the service that it speaks to
//! ([`crate::server::render`]).

use crate::remove::RemoveError;
use std::io;

/// What a request can fail with.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// There is no such thing.
    #[error("{message}")]
    NotFound {
        /// The service's word for it.
        code: &'static str,
        /// What is not there.
        message: String,
    },
    /// The request makes no sense.
    #[error("{message}")]
    Invalid {
        /// The service's word for it.
        code: &'static str,
        /// What is wrong with it.
        message: String,
    },
    /// The request makes sense, but not now.
    #[error("{message}")]
    Conflict {
        /// The service's word for it.
        code: &'static str,
        /// What it is at odds with.
        message: String,
    },
    /// A condition of the request does not hold.
    #[error("the condition of the request does not hold")]
    Precondition,
    /// The range that was asked for lies behind the end of `length` bytes.
    #[error("the range lies behind the end")]
    Range {
        /// Size of the content.
        length: u64,
    },
    /// No credential, or a wrong one.
    #[error("{0}")]
    Unauthenticated(String),
    /// A credential that does not open this.
    #[error("{0}")]
    Denied(String),
    /// No such verb here, but these.
    #[error("this address does not answer to that method, but to: {0}")]
    Method(String),
    /// More than the server takes.
    #[error("{0}")]
    TooLarge(String),
    /// What all of it rests on is no longer there; trying again does not help.
    #[error("{0}")]
    Gone(String),
    /// The disk is full.
    #[error("{0}")]
    DiskFull(String),
    /// The store is busy; trying again helps.
    #[error("{0}")]
    Busy(String),
    /// Something that is not the client's fault.
    #[error("{0}")]
    Internal(String),
}

/// What can fail with an [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// A resource that is not there.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::NotFound {
            code: "UserError",
            message: message.into(),
        }
    }

    /// A request that makes no sense.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::Invalid {
            code: "UserError",
            message: message.into(),
        }
    }

    /// A request that makes no sense now.
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

    /// The service's word for it.
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

/// What to say when the disk is full: what it hit, and the way out.
pub fn disk_full(what: &str) -> String {
    format!(
        "{what}: no space is left on the disk of the local workspace\n\
         hint: free some space there, or set AZUREML_LOCAL_HOME to a folder on a larger disk"
    )
}

/// Whether an error says that there is no room for what was to be written.
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

impl From<RemoveError> for Error {
    fn from(error: RemoveError) -> Self {
        match error {
            RemoveError::NotOurs(_) => Self::conflict(error.to_string()),
            RemoveError::Io { .. } => Self::Internal(error.to_string()),
        }
    }
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode;
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::DiskFull(disk_full("the record could not be saved")),
            // A write beyond a size limit or a quota comes as an I/O error.
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
