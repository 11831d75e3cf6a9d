//! What can go wrong, by meaning. Every message says what happened and, on a line of its own, the way out.

use std::fmt;

/// The result of this crate's calls.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong.
///
/// `Debug` shows the same readable text as `Display`: it is what a failed `?` in a notebook cell prints.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The shared runtime could not be made.
    #[error(
        "the background runtime could not be started: {0}\nhint: the machine may be out of threads or memory"
    )]
    Runtime(String),

    /// A blocking call was made where only async calls may be made.
    #[error(
        "this call blocks, and it was made inside an async runtime\n\
         hint: use the types of `azureml::asynchronous` and `.await` there, or make the call outside of async code"
    )]
    BlockingInsideRuntime,

    /// The HTTP client could not be made.
    #[error(
        "the HTTP client could not be set up: {0}\nhint: check that the system's CA certificates are installed"
    )]
    Http(String),

    /// The run's service could not be told something.
    #[error("{call} failed: {reason}\nhint: {hint}")]
    Tracking {
        /// What was to be done.
        call: String,
        /// Why it failed.
        reason: String,
        /// The way out.
        hint: &'static str,
    },
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
