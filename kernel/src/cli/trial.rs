//! A trial cell: checks that cells run on this machine, and fills the cache that kernels share.

use std::path::Path;

use azureml_kernel_evaluator::toolchain::Toolchain;
use azureml_kernel_evaluator::{Discard, Options, Outcome};
use azureml_kernel_helpers::Helpers;

use super::Engine;

/// The cell.
pub const CODE: &str = "1 + 1";

/// Runs the cell with all crates of `set`, if given. The error contains the message and, if known,
/// a hint.
pub fn run(engine: Engine, set: Option<&Path>) -> Result<(), String> {
    let mut options = Options::default();
    options.helpers = set.map(Path::to_owned);
    let mut evaluator = (engine.start)(options).map_err(|error| error.to_string())?;
    let mut code = String::new();
    let mut preludes = Vec::new();
    if let Some(set) = set {
        let toolchain = Toolchain::find().map_err(|error| error.to_string())?;
        let helpers = Helpers::open(set, &toolchain).map_err(|error| error.to_string())?;
        for facade in helpers.facades() {
            code.extend(["use ", &facade.crate_name, ";\n"]);
            preludes.push(format!(":clear\nuse {}::prelude::*;", facade.crate_name));
        }
    }
    code += CODE;
    match evaluator.execute(&code, &Discard) {
        Outcome::Ok(Some(data)) if data.get("text/plain").is_some_and(|text| text == "2") => {}
        Outcome::Ok(_) => return Err(format!("`{code}` did not give 2")),
        Outcome::Error(error) => return Err(format!("`{code}` failed: {}", error.evalue)),
    }
    // Most notebooks begin with these imports, so the evaluator caches their contents. Not every
    // crate has a prelude.
    for prelude in preludes {
        if let Outcome::Ok(_) = evaluator.execute(&prelude, &Discard) {
            evaluator.warm_up();
        }
    }
    Ok(())
}
