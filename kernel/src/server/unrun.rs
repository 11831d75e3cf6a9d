//! Cells that end without having run: refused, stopped while they waited, aborted because one before them failed.

use std::sync::atomic::Ordering;

use azureml_kernel_evaluator::CellError;
use serde_json::json;

use super::channel::Request;
use super::kernel::Kernel;
use super::replies;

/// Answers a cell with an error, which the notebook shows.
pub fn fail(kernel: &Kernel, request: &Request, error: &CellError) {
    let content = replies::error(error);
    // Read by hand: the request may be one that is refused because it cannot be read.
    if request.message.content["silent"] != true {
        kernel
            .iopub
            .publish(Some(&request.message.parent), "error", &content);
    }
    let count = kernel.executed.load(Ordering::SeqCst) + 1;
    request.reply(&replies::execute_error(error, count));
}

/// Answers cells that waited behind one that failed. They get no number: JupyterLab would show it as if they had run.
pub fn abort(kernel: &Kernel, requests: &[Request]) {
    for request in requests {
        beside(kernel, request, || {
            request.reply(&json!({ "status": "aborted" }));
        });
    }
}

/// Answers cells that were stopped while they waited: the first as a cell that is stopped while it runs, those behind it as aborted.
pub fn interrupt(kernel: &Kernel, requests: &[Request]) {
    let Some((first, others)) = requests.split_first() else {
        return;
    };
    let evalue = "the cell was stopped before it ran";
    let error = CellError {
        ename: "Interrupted".to_owned(),
        evalue: evalue.to_owned(),
        traceback: vec![format!("Interrupted: {evalue}")],
    };
    beside(kernel, first, || fail(kernel, first, &error));
    abort(kernel, others);
}

fn beside(kernel: &Kernel, request: &Request, answer: impl FnOnce()) {
    let parent = &request.message.parent;
    kernel.iopub.status(Some(parent), "busy");
    answer();
    kernel.activity.end_beside(&kernel.iopub, parent);
}
