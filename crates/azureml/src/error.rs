//! Errors, one variant for each cause. Every message states the failure and, on a separate line, a
//! hint.

use std::fmt;
use std::path::PathBuf;

/// The result of the calls of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of the SDK.
///
/// `Debug` prints the same text as `Display`, because a failed `?` in a notebook cell prints
/// `Debug`.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The shared runtime could not be created.
    #[error(
        "the background runtime could not be started: {0}\nhint: the machine may be out of threads or memory"
    )]
    Runtime(String),

    /// A blocking call inside an async runtime.
    #[error(
        "this call blocks, and it was made inside an async runtime\n\
         hint: use the types of `azureml::asynchronous` and `.await` there, or make the call outside of async code"
    )]
    BlockingInsideRuntime,

    /// The HTTP client could not be created.
    #[error(
        "the HTTP client could not be set up: {0}\nhint: check that the system's CA certificates are installed"
    )]
    Http(String),

    /// No `config.json` was found, and the local workspace is disabled.
    #[error(
        "no config.json in {} or any folder above it, and AZUREML_LOCAL=off forbids the local workspace\n\
         hint: download config.json from the workspace's page in Azure's portal into this folder, or unset AZUREML_LOCAL",
        from.display()
    )]
    NoConfig {
        /// The folder where the search started.
        from: PathBuf,
    },

    /// A `config.json` is invalid.
    #[error("{}{}: {reason}\nhint: {hint}", path.display(), place(*line))]
    Config {
        /// The file.
        path: PathBuf,
        /// The line, when the file is not JSON.
        line: Option<usize>,
        /// The reason.
        reason: String,
        /// The hint.
        hint: &'static str,
    },

    /// The local workspace is disabled.
    #[error(
        "AZUREML_LOCAL=off forbids the local workspace\nhint: unset AZUREML_LOCAL, or use `Workspace::get` with a workspace on Azure"
    )]
    LocalForbidden,

    /// The local workspace could not be started or found.
    #[error("the local workspace is not available: {reason}\nhint: {hint}")]
    Local {
        /// The reason.
        reason: String,
        /// The hint.
        hint: String,
    },

    /// A resource does not exist in the workspace.
    #[error(
        "{kind} `{name}` is not in workspace `{workspace}`{}\nhint: {hint}",
        listing(known)
    )]
    NotFound {
        /// `environment`, `compute target`, `run`, `model` or `data`.
        kind: &'static str,
        /// The requested name.
        name: String,
        /// The workspace.
        workspace: String,
        /// The existing names.
        known: Vec<String>,
        /// The hint.
        hint: String,
    },

    /// A call has an invalid argument; the check runs before any request.
    #[error("{what}\nhint: {hint}")]
    Invalid {
        /// The mistake.
        what: String,
        /// The hint.
        hint: String,
    },

    /// A file or folder cannot be read or written.
    #[error("{action} {}: {source}{}", path.display(), hint_for_io(source))]
    Io {
        /// The failed operation (`cannot read`).
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },

    /// A Rust script does not compile.
    #[error(
        "{script} does not compile, so nothing was submitted\n\n{rendered}\n\
         hint: `cargo build --release --bin {target}` in {} shows the same", folder.display()
    )]
    ScriptBuild {
        /// The script.
        script: String,
        /// The binary target of the script.
        target: String,
        /// The folder of the package.
        folder: PathBuf,
        /// The diagnostics of rustc.
        rendered: String,
    },

    /// No credential is available.
    #[error("no credential for Azure:{}{reason}\nhint: {hint}", if reason.starts_with('\n') { "" } else { " " })]
    Credential {
        /// The tried credentials with the reason of each failure.
        reason: String,
        /// The hint.
        hint: String,
        /// Whether an authority refused a credential, rather than no credential being found.
        is_refused: bool,
    },

    /// The service responded with an error.
    #[error(transparent)]
    Service(Box<ServiceError>),

    /// The service could not be reached, or its response was interrupted.
    #[error("{call} failed after {tries} {}: {reason}\nhint: {hint}", tries_word(*tries))]
    Transport {
        /// The operation.
        call: String,
        /// The number of tries.
        tries: u32,
        /// The reason.
        reason: String,
        /// The hint.
        hint: &'static str,
    },

    /// The response of the service is not valid for this version of the SDK.
    #[error(
        "{call}: the answer cannot be read: {reason}\n\
         hint: a newer version of this SDK may know it; otherwise please report it"
    )]
    Answer {
        /// The operation.
        call: String,
        /// The reason.
        reason: String,
    },

    /// A call to the tracking service of a run failed.
    #[error("{call} failed: {reason}\nhint: {hint}")]
    Tracking {
        /// The operation.
        call: String,
        /// The reason.
        reason: String,
        /// The hint.
        hint: &'static str,
    },

    /// A run failed.
    #[error("run {run_id} failed: {reason}{}\nhint: {hint}", last_lines(log))]
    RunFailed {
        /// The id of the run.
        run_id: String,
        /// The reason from the service.
        reason: String,
        /// The last lines of the log.
        log: Vec<String>,
        /// The hint.
        hint: String,
    },

    /// The stop button was pressed.
    #[error(
        "stopped here; a run that has been submitted goes on\n\
         hint: `run.wait_for_completion(true)` follows it again, `run.cancel()` ends it"
    )]
    Interrupted,

    /// A run was canceled.
    #[error(
        "run {run_id} was canceled\nhint: submit it again for a new run; `run.logs()` shows what it wrote until then"
    )]
    RunCanceled {
        /// The id of the run.
        run_id: String,
    },
}

impl Error {
    /// An invalid argument.
    pub(crate) fn invalid(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Invalid {
            what: what.into(),
            hint: hint.into(),
        }
    }

    /// For `map_err`: an I/O error for `path`.
    pub(crate) fn io(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }

    /// The HTTP status of a service error.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Service(error) => Some(error.status),
            _ => None,
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An error response of the service.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ServiceError {
    /// The operation.
    pub call: String,
    /// The HTTP status.
    pub status: u16,
    /// The error code of the service (`UserError`), if present.
    pub code: String,
    /// The message of the service.
    pub message: String,
    /// The request id, by which Azure support finds the request.
    pub request_id: Option<String>,
    /// The hint of the service; only the local workspace provides one.
    pub hint: Option<String>,
    /// The number of tries.
    pub tries: u32,
}

impl std::error::Error for ServiceError {}

impl fmt::Display for ServiceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} failed: {} (", self.call, self.message.trim_end())?;
        if !self.code.is_empty() {
            write!(f, "{}, ", self.code)?;
        }
        write!(f, "HTTP {}", self.status)?;
        if let Some(id) = &self.request_id {
            write!(f, ", request {id}")?;
        }
        if self.tries > 1 {
            write!(f, ", after {} tries", self.tries)?;
        }
        if let Some(hint) = &self.hint {
            return write!(f, ")\nhint: {hint}");
        }
        let hint = match self.status {
            401 => {
                "sign in again with `az login`; the account must belong to the workspace's tenant"
            }
            403 => "ask the workspace's owner for the role `AzureML Data Scientist`",
            404 => "check the name; what is there can be listed",
            409 => {
                "it is there already, or somebody else is changing it; try again or choose another name"
            }
            429 => "the service wants fewer calls; try again in a minute",
            500..=599 => "the service has a problem of its own; try again in a minute",
            _ => "the message says what the service did not like",
        };
        write!(f, ")\nhint: {hint}")
    }
}

/// Splits a message of the local workspace, which contains a hint like the messages of this crate,
/// into the failure, the hint, and the text after the hint.
pub fn split_hint(message: &str) -> (&str, Option<&str>, &str) {
    let Some((what, rest)) = message.split_once("\nhint: ") else {
        return (message, None, "");
    };
    let (hint, rest) = rest.split_once('\n').unwrap_or((rest, ""));
    (what, Some(hint), rest)
}

fn place(line: Option<usize>) -> String {
    line.map_or_else(String::new, |line| format!(":{line}"))
}

fn tries_word(tries: u32) -> &'static str {
    if tries == 1 { "try" } else { "tries" }
}

fn listing(known: &[String]) -> String {
    if known.is_empty() {
        String::new()
    } else {
        format!("; there is {}", known.join(", "))
    }
}

fn last_lines(log: &[String]) -> String {
    if log.is_empty() {
        return String::new();
    }
    let mut text = "\n\nthe last lines of its log:".to_owned();
    for line in log {
        text.push_str("\n  ");
        text.push_str(line);
    }
    text.push('\n');
    text
}

fn hint_for_io(error: &std::io::Error) -> &'static str {
    use std::io::ErrorKind;
    match error.kind() {
        ErrorKind::NotFound => "\nhint: a relative path begins in the notebook's folder",
        ErrorKind::PermissionDenied => "\nhint: check the permissions of the file and its folder",
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            "\nhint: free some space on that disk, or choose a folder on another one"
        }
        _ => "\nhint: check the disk and the path",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_services_own_hint_takes_the_place_of_ours() {
        let error = |status, message: &str, hint: Option<&str>| {
            Error::Service(Box::new(ServiceError {
                call: "submitting the job".into(),
                status,
                code: "UserError".into(),
                message: message.into(),
                request_id: Some("r1".into()),
                hint: hint.map(Into::into),
                tries: 3,
            }))
        };
        let errors = [
            error(400, "the command is empty", Some("write one")),
            error(503, "busy", None),
            error(401, "who?", None),
        ];
        insta::assert_snapshot!(errors.map(|error| error.to_string()).join("\n\n"), @r"
        submitting the job failed: the command is empty (UserError, HTTP 400, request r1, after 3 tries)
        hint: write one

        submitting the job failed: busy (UserError, HTTP 503, request r1, after 3 tries)
        hint: the service has a problem of its own; try again in a minute

        submitting the job failed: who? (UserError, HTTP 401, request r1, after 3 tries)
        hint: sign in again with `az login`; the account must belong to the workspace's tenant
        ");
    }

    #[test]
    fn hints_are_split_from_messages() {
        assert_eq!(
            split_hint("a\nhint: b\nits last lines:\nc"),
            ("a", Some("b"), "its last lines:\nc")
        );
        assert_eq!(split_hint("a\nhint: b"), ("a", Some("b"), ""));
        assert_eq!(split_hint("a"), ("a", None, ""));
    }

    #[test]
    fn debug_is_as_readable_as_display() {
        let error = Error::RunFailed {
            run_id: "r".into(),
            reason: "it exited with code 3".into(),
            log: vec!["one".into(), "two".into()],
            hint: "look".into(),
        };
        insta::assert_snapshot!(format!("{error:?}"), @r"
        run r failed: it exited with code 3

        the last lines of its log:
          one
          two

        hint: look
        ");
    }
}
