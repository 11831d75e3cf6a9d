//! Azure Machine Learning from Rust: workspaces, environments, jobs, runs and models.

mod context;
mod env;
mod error;
mod http;
mod runtime;

pub use context::RunContext;
pub use error::{Error, Result};

/// A run: one execution of a job.
pub struct Run;

impl Run {
    /// The run that this program belongs to; offline outside a job.
    pub fn get_context() -> RunContext {
        RunContext::current()
    }
}
