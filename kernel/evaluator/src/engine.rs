//! The parts of an engine that compiles cells in another way: its folder, its cell process, and the
//! errors that cells show.
//!
//! Nothing here is needed to use an evaluator; `kernel/evcxr` builds one.

pub use crate::compatibility::PRELUDE;
pub use crate::ending::{
    CALLBACK_STUCK, evaluator_panicked, interrupted_error, process_died, stopped,
};
pub use crate::folder::Folder;
pub use crate::interrupt::interrupter;
pub use crate::nesting::is_too_deep;
pub use crate::position::{byte_offset, code_points};
pub use crate::start::{Parts, in_folder};
pub use crate::stream::{Ending, Forwarder, Panic, Pump, RunEnd, Shared};
pub use crate::tag::Tag;

/// The environment variables of the cell process and of builds.
pub mod env {
    pub use crate::env::{
        BUILD_SETTINGS, CELL_RUNTIME, ENGINE, LINK, ROLE, ROLE_CELL, RUST_SRC_PATH,
    };
}

/// The errors that cells show.
pub mod report {
    pub use crate::report::{
        Diagnostic, Label, Place, compile_errors, message, panic, place_in_cell, too_deep,
    };
}
