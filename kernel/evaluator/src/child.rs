//! The other roles of the kernel's binary: the cell process, and the compiler wrapper.

mod cell;
mod interpose;
mod runtime;
mod stop;
mod threads;
mod waits;

use std::path::Path;

use crate::compatibility::IS_RUNTIME;
use crate::env;

pub use runtime::CellRuntimeError;
pub(crate) use runtime::cell_runtime;

/// Runs the role that the environment selects: the cell process, or the compiler wrapper. Returns
/// when the environment selects none.
///
/// Must be called first in `main`, while the process has only one thread.
pub fn child_hook() {
    child_hook_before(None);
}

/// As [`child_hook`]; in the role of the compiler's wrapper, this calls the compiler through `next`.
pub fn child_hook_before(next: Option<&Path>) {
    interpose::keep_linked();
    threads::keep_linked();
    waits::keep_linked();
    azureml_kernel_helpers::rustc_wrapper_hook(next);
    let is_cell = std::env::var(env::ROLE).is_ok_and(|role| role == env::ROLE_CELL);
    if is_cell && std::env::var_os(IS_RUNTIME).is_some() {
        cell::run();
    }
}
