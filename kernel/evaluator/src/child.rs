//! The other roles of the kernel's binary: the process that runs cells, and the compiler's wrapper.

mod cell;
mod interpose;
mod runtime;
mod signals;
mod wrapper;

use crate::env;

pub use runtime::CellRuntimeError;
pub(crate) use runtime::cell_runtime;

/// Plays the part that the environment asks for: the process that runs cells, or the compiler's wrapper. Returns otherwise.
///
/// Must be the first thing in `main`, while there is one thread only.
pub fn child_hook() {
    interpose::keep_linked();
    match std::env::var(env::ROLE).as_deref() {
        Ok(env::ROLE_CELL) if std::env::var_os(env::EVCXR_IS_RUNTIME).is_some() => cell::run(),
        Ok(env::ROLE_RUSTC) => wrapper::run(),
        // `wrapper` passes on to evcxr's own wrapper by starting this binary again without a role.
        _ if std::env::var_os(env::EVCXR_WRAPS_RUSTC).is_some() => ::evcxr::runtime_hook(),
        _ => {}
    }
}
