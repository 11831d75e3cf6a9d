//! What is known of a run: its details, its files, its metrics, its log.

mod details;
mod files;
pub(crate) mod log;
mod metrics;
mod wait;

pub use details::RunDetails;
pub use files::{FileList, RunFile};
pub use metrics::{Metric, Metrics, Point};
pub use wait::{WaitOptions, wait};
