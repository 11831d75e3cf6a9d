//! Everything that uses the crate `evcxr`: a selectable engine, completion and inspection.
//!
//! rust-analyzer is behind `evcxr`, and takes longer to compile than the kernel. So this is a separate
//! binary, [`code_intelligence::PROGRAM`], that is built after the kernel and started when it is
//! needed: by the first completion, or in place of the kernel if the user selects the engine.

mod diagnostic;
mod engine;
mod server;

use azureml_kernel_evaluator::engine::env;
use azureml_kernel_evaluator::{
    Evaluator, Options, StartError, child_hook_before, code_intelligence,
};

/// `evcxr`: set when its own wrapper around the compiler is wanted (`:cache`, dynamic linking).
const EVCXR_WRAPS_RUSTC: &str = "EVCXR_RUSTC_WRAPPER";

/// Runs the role that the environment selects: the cell process, the compiler's wrapper, or the code
/// intelligence process. Returns without one.
///
/// Must be the first call in `main`, while the process has one thread.
pub fn child_hook() {
    let wraps = std::env::var_os(EVCXR_WRAPS_RUSTC).is_some();
    // The wrapper of `evcxr` follows the kernel's: this binary again, without the kernel's role.
    let next = wraps.then(|| std::env::current_exe().ok()).flatten();
    child_hook_before(next.as_deref());
    if wraps {
        evcxr::runtime_hook();
    }
    if std::env::var(env::ROLE).is_ok_and(|role| role == code_intelligence::ROLE) {
        server::run();
    }
}

/// Starts the engine and its cell process; takes seconds.
///
/// Sets environment variables of this process, as `evcxr` itself does: call it before other threads
/// use C code that reads them.
pub fn start(options: Options) -> Result<Box<dyn Evaluator>, StartError> {
    Ok(Box::new(engine::EvcxrEvaluator::start(options)?))
}
