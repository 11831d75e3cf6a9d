//! Converts the output of the cell process to events in order; shared by all evaluators.

mod assembler;
mod decoder;
mod pipe;
mod pump;

pub(crate) use assembler::Notice;
pub use assembler::{Panic, RunEnd};
pub(crate) use pump::State;
pub use pump::{Ending, Forwarder, Pump, Shared};
