//! What the cell process sends, as events in order: shared by everything that evaluates cells.

mod assembler;
mod decoder;
mod pump;

pub(crate) use assembler::{Notice, PRELUDE, Panic};
pub(crate) use pump::{Ending, Pump, Shared, State};
