//! Aborted executions: cells that were refused, interrupted while they waited, or aborted because
//! an earlier one failed.

use azureml_kernel_evaluator::CellError;
use serde_json::json;

use super::activity::Activity;
use super::replies;
use super::request::Request;
use crate::protocol::iopub::IoPub;

/// Replies to a cell with an error, which the notebook shows. `count` is the execution count of the
/// cell.
pub fn fail(iopub: &IoPub, count: u64, request: &Request, error: &CellError) {
    let content = replies::error(error);
    // Read from the raw content, because the request may be refused as invalid.
    if request.message.content["silent"] != true {
        iopub.publish(Some(&request.message.parent), "error", &content);
    }
    request.reply(&replies::execute_error(error, count));
}

/// Replies `aborted` to cells that waited behind a failed one. The replies have no execution count,
/// because JupyterLab would show the cells as executed.
pub fn abort(iopub: &IoPub, activity: &Activity, requests: &[Request]) {
    for request in requests {
        activity.beside(iopub, request, || {
            request.reply(&json!({ "status": "aborted" }));
        });
    }
}

/// Replies to cells that were interrupted while they waited: to the first, which has the execution
/// count `count`, like a cell that is interrupted while it runs, to the others with `aborted`.
pub fn interrupt(iopub: &IoPub, activity: &Activity, count: u64, requests: &[Request]) {
    let Some((first, others)) = requests.split_first() else {
        return;
    };
    let evalue = "the cell was stopped before it ran";
    let error = CellError {
        ename: "Interrupted".to_owned(),
        evalue: evalue.to_owned(),
        traceback: vec![format!("Interrupted: {evalue}")],
    };
    activity.beside(iopub, first, || fail(iopub, count, first, &error));
    abort(iopub, activity, others);
}
