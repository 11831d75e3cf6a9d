//! The other roles of the kernel's binary: the process that runs cells, and the compiler's wrapper.

mod cell;
mod interpose;
mod runtime;
mod stop;
mod threads;
mod waits;

use crate::env;

pub use runtime::CellRuntimeError;
pub(crate) use runtime::cell_runtime;

/// Plays the part that the environment asks for: the process that runs cells, or the compiler's wrapper. Returns otherwise.
///
/// Must be the first thing in `main`, while there is one thread only.
pub fn child_hook() {
    interpose::keep_linked();
    threads::keep_linked();
    waits::keep_linked();
    let evcxr_wraps = std::env::var_os(env::EVCXR_WRAPS_RUSTC).is_some();
    // Where the user asked for evcxr's cache or dynamic linking, evcxr's own wrapper goes on, in this binary without our role.
    let next = evcxr_wraps.then(|| std::env::current_exe().ok()).flatten();
    azureml_kernel_helpers::rustc_wrapper_hook(next.as_deref());
    match std::env::var(env::ROLE).as_deref() {
        Ok(env::ROLE_CELL) if std::env::var_os(env::EVCXR_IS_RUNTIME).is_some() => cell::run(),
        _ if evcxr_wraps => ::evcxr::runtime_hook(),
        _ => {}
    }
}
