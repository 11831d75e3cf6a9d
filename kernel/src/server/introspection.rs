//! Introspection: a cell `?name` requests documentation. It is answered like an inspection, in the front
//! end's pager.

use azureml_kernel_evaluator::{CellError, MimeBundle};
use serde_json::{Value, json};

/// Returns the name in a documentation cell; `None` if the cell is code. No Rust code begins with a
/// question mark.
pub fn asked(code: &str) -> Option<&str> {
    code.trim().strip_prefix('?').map(str::trim)
}

/// Returns the cursor position of a name in code points: its last character.
pub fn cursor(name: &str) -> usize {
    name.chars().count().saturating_sub(1)
}

/// Returns the payload that shows documentation in the pager.
pub fn page(data: &MimeBundle) -> Value {
    json!({ "source": "page", "data": data, "start": 0 })
}

/// Returns the error for an unknown name.
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
