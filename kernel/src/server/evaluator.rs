//! The start of the evaluator, with a fallback that fails every cell with the reason if it could
//! not start.

use std::sync::Arc;

use azureml_kernel_evaluator::{
    Analyst, CellError, Completions, Evaluator, Events, Interrupter, MimeBundle, Outcome, Variable,
};

/// Starts an evaluator. Called once, on the evaluator's thread; can take seconds.
pub type StartEvaluator = Box<dyn FnOnce() -> Result<Box<dyn Evaluator>, CellError> + Send>;

/// Starts the evaluator, or the fallback that reports why it could not start.
pub fn start(start: StartEvaluator) -> Box<dyn Evaluator> {
    let error = match std::panic::catch_unwind(std::panic::AssertUnwindSafe(start)) {
        Ok(Ok(evaluator)) => return evaluator,
        Ok(Err(error)) => error,
        Err(panic) => panicked(&*panic),
    };
    tracing::error!(
        ename = error.ename,
        evalue = error.evalue,
        "the evaluator could not start"
    );
    Box::new(Unavailable(error))
}

/// Returns the error for a panic inside the kernel.
pub fn panicked(panic: &(dyn std::any::Any + Send)) -> CellError {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "for an unknown reason".to_owned());
    let evalue = format!("the kernel itself panicked: {text}");
    CellError {
        ename: "KernelError".to_owned(),
        traceback: vec![
            evalue.clone(),
            "hint: run the cell again; when it happens again, restart the kernel (`azureml-kernel doctor` names its log)".to_owned(),
        ],
        evalue,
    }
}

struct Unavailable(CellError);

impl Evaluator for Unavailable {
    fn execute(&mut self, _code: &str, _events: &dyn Events) -> Outcome {
        Outcome::Error(self.0.clone())
    }

    fn analyst(&self) -> Arc<dyn Analyst> {
        Arc::new(Unavailable(self.0.clone()))
    }

    fn interrupter(&self) -> Interrupter {
        Arc::new(|| {})
    }
}

impl Analyst for Unavailable {
    fn complete(&self, _code: &str, cursor: usize) -> Completions {
        Completions::none(cursor)
    }

    fn inspect(&self, _code: &str, _cursor: usize) -> Option<MimeBundle> {
        None
    }

    fn variables(&self) -> Vec<Variable> {
        Vec::new()
    }
}
