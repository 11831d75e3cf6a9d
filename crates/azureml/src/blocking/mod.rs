//! The blocking API for notebook cells and synchronous programs: the same calls, without `.await`.

mod compute;
mod data;
mod environment;
mod experiment;
mod model;
mod run;
mod workspace;

pub use experiment::Experiment;
pub use run::Run;
pub use workspace::Workspace;
