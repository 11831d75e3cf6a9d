//! The data of a run: its details, files, metrics and log.

mod details;
mod files;
mod filter;
pub(crate) mod log;
mod metrics;
mod trials;
mod wait;
mod watch;

pub use details::RunDetails;
pub use files::{FileList, RunFile};
pub use filter::RunFilter;
pub use metrics::{Metric, Metrics, Point};
pub use trials::{Trial, Trials};
pub use wait::{WaitOptions, wait};
