//! The contents of replies that several modules send.

use azureml_kernel_evaluator::{CellError, Completions, MimeBundle};
use serde_json::{Value, json};

/// Returns the content of `complete_reply`.
pub fn complete(found: &Completions) -> Value {
    let types: Vec<Value> = found
        .matches
        .iter()
        .map(|completion| {
            json!({
                "start": found.start,
                "end": found.end,
                "text": completion.text,
                "type": completion.kind,
                "signature": completion.signature,
            })
        })
        .collect();
    let texts: Vec<&str> = found
        .matches
        .iter()
        .map(|completion| completion.text.as_str())
        .collect();
    json!({
        "status": "ok",
        "matches": texts,
        "cursor_start": found.start,
        "cursor_end": found.end,
        "metadata": { "_jupyter_types_experimental": types },
    })
}

/// Returns the content of `inspect_reply`.
pub fn inspect(found: Option<MimeBundle>) -> Value {
    json!({
        "status": "ok",
        "found": found.is_some(),
        "data": found.unwrap_or_default(),
        "metadata": {},
    })
}

/// Returns the content of `execute_reply` for a failed cell.
pub fn execute_error(failed: &CellError, count: u64) -> Value {
    let mut reply = error(failed);
    reply["status"] = json!("error");
    reply["execution_count"] = json!(count);
    reply["user_expressions"] = json!({});
    reply["payload"] = json!([]);
    reply
}

/// Returns the content of `error`, which is also a part of `execute_reply`.
pub fn error(error: &CellError) -> Value {
    json!({
        "ename": error.ename,
        "evalue": error.evalue,
        "traceback": error.traceback,
    })
}
