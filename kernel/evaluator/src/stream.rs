//! Converts the output of the cell process to events in order; shared by all evaluators.

mod assembler;
mod decoder;
mod pipe;
mod pump;
mod run_end;

pub(crate) use pump::State;
pub use pump::{Ending, Forwarder, Pump, Shared};
pub use run_end::{Panic, RunEnd};
