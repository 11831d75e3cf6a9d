//! Converts the output of the cell process to events in order; shared by all evaluators.

mod assembler;
mod decoder;
mod pump;

pub(crate) use assembler::Notice;
pub use assembler::{PRELUDE, Panic, RunEnd};
pub use pump::{Ending, Forwarder, Pump, Shared};
pub(crate) use pump::State;
