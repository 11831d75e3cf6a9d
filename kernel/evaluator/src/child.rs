//! The other roles of the kernel's binary: the cell process, and the compiler wrapper.

mod cell;
mod interpose;
mod runtime;
mod stop;
mod threads;
mod waits;

use crate::env;

pub use runtime::CellRuntimeError;
pub(crate) use runtime::cell_runtime;

/// Runs the role that the environment selects: the cell process, or the compiler wrapper. Returns
/// when the environment selects none.
///
/// Must be called first in `main`, while the process has only one thread.
pub fn child_hook() {
    interpose::keep_linked();
    threads::keep_linked();
    waits::keep_linked();
    let evcxr_wraps = std::env::var_os(env::EVCXR_WRAPS_RUSTC).is_some();
    // When the user enables evcxr's cache or dynamic linking, evcxr's own wrapper must run next. It
    // is this binary, started without our role.
    let next = evcxr_wraps.then(|| std::env::current_exe().ok()).flatten();
    azureml_kernel_helpers::rustc_wrapper_hook(next.as_deref());
    match std::env::var(env::ROLE).as_deref() {
        Ok(env::ROLE_CELL) if std::env::var_os(env::EVCXR_IS_RUNTIME).is_some() => cell::run(),
        _ if evcxr_wraps => ::evcxr::runtime_hook(),
        _ => {}
    }
}
