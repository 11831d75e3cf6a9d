//! Aborted executions: cells that were refused, interrupted while they waited, or aborted because
//! an earlier one failed.

use std::sync::atomic::Ordering;

use azureml_kernel_evaluator::CellError;
use serde_json::json;

use super::channel::Request;
use super::kernel::Kernel;
use super::replies;

/// Replies to a cell with an error, which the notebook shows.
pub fn fail(kernel: &Kernel, request: &Request, error: &CellError) {
    let content = replies::error(error);
    // Read from the raw content, because the request may be refused as invalid.
    if request.message.content["silent"] != true {
        kernel
            .iopub
            .publish(Some(&request.message.parent), "error", &content);
    }
    let count = kernel.executed.load(Ordering::SeqCst) + 1;
    request.reply(&replies::execute_error(error, count));
}

/// Replies `aborted` to cells that waited behind a failed one. The replies have no execution count,
/// because JupyterLab would show the cells as executed.
pub fn abort(kernel: &Kernel, requests: &[Request]) {
    for request in requests {
        beside(kernel, request, || {
            request.reply(&json!({ "status": "aborted" }));
        });
    }
}

/// Replies to cells that were interrupted while they waited: to the first like a cell that is
/// interrupted while it runs, to the others with `aborted`.
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
