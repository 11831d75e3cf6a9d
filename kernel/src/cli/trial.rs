//! A cell on trial: shows that cells run on this machine, and leaves everything that kernels share in the cache.

use azureml_kernel_evaluator::evcxr::{EvcxrEvaluator, Options};
use azureml_kernel_evaluator::{Evaluator, Event, Events, Outcome};

/// The cell.
pub const CODE: &str = "1 + 1";

struct Ignore;

impl Events for Ignore {
    fn emit(&self, _event: Event) {}
}

/// Runs the cell. The error says what went wrong and, where that is known, the way out.
pub fn run() -> Result<(), String> {
    let mut evaluator =
        EvcxrEvaluator::start(Options::default()).map_err(|error| error.to_string())?;
    match evaluator.execute(CODE, &Ignore) {
        Outcome::Ok(Some(data)) if data.get("text/plain").is_some_and(|text| text == "2") => Ok(()),
        Outcome::Ok(_) => Err(format!("`{CODE}` did not give 2")),
        Outcome::Error(error) => Err(format!("`{CODE}` failed: {}", error.evalue)),
    }
}
