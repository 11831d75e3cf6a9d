//! Converts the output of the cell process to events in order; shared by all evaluators.

mod assembler;
mod decoder;
mod pump;

pub(crate) use assembler::{Notice, PRELUDE, Panic};
pub(crate) use pump::{Ending, Pump, Shared, State};
