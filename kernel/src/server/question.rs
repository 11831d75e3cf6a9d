//! `?name`: a cell that asks what a name is. It is answered as an inspection, on a page of its own.

use azureml_kernel_evaluator::{CellError, MimeBundle};
use serde_json::{Value, json};

/// What a cell asks about; `None` when it is code. No Rust begins with a question mark.
pub fn asked(code: &str) -> Option<&str> {
    code.trim().strip_prefix('?').map(str::trim)
}

/// The cursor position, in code points, that stands for a name: its last character.
pub fn cursor(name: &str) -> usize {
    name.chars().count().saturating_sub(1)
}

/// The payload that shows an answer.
pub fn page(data: &MimeBundle) -> Value {
    json!({ "source": "page", "data": data, "start": 0 })
}

/// There is no answer.
pub fn unknown(name: &str) -> CellError {
    let evalue = format!("nothing is known about `{name}`");
    CellError {
        ename: "NotFound".to_owned(),
        traceback: vec![
            evalue.clone(),
            "hint: ask about one name that code could use here, such as `?Vec` or `?String::from`"
                .to_owned(),
        ],
        evalue,
    }
}
