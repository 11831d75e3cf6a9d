//! The contents of the requests that the kernel reads, with the defaults of the specification.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// `execute_request`.
#[derive(Debug, Deserialize)]
pub struct ExecuteRequest {
    /// The cell.
    pub code: String,
    /// Run without telling anyone.
    #[serde(default)]
    pub silent: bool,
    /// Whether the cell counts and is remembered; `None` means: unless it is silent.
    #[serde(default)]
    pub store_history: Option<bool>,
    /// Expressions to evaluate afterwards, by name.
    #[serde(default)]
    pub user_expressions: Option<BTreeMap<String, String>>,
    /// Whether the front end answers questions.
    #[serde(default = "yes")]
    pub allow_stdin: bool,
    /// Whether an error aborts the cells that wait.
    #[serde(default = "yes")]
    pub stop_on_error: bool,
}

/// `complete_request` and `inspect_request`.
#[derive(Debug, Deserialize)]
pub struct CursorRequest {
    /// The cell.
    pub code: String,
    /// The cursor, in code points; `None` means at the end.
    #[serde(default)]
    pub cursor_pos: Option<usize>,
}

impl CursorRequest {
    /// The cursor, inside of the code.
    pub fn cursor(&self) -> usize {
        let length = self.code.chars().count();
        self.cursor_pos.map_or(length, |cursor| cursor.min(length))
    }
}

/// `is_complete_request`.
#[derive(Debug, Deserialize)]
pub struct IsCompleteRequest {
    /// The code typed so far.
    pub code: String,
}

/// `history_request`.
#[derive(Debug, Deserialize)]
pub struct HistoryRequest {
    /// Which entries.
    #[serde(flatten)]
    pub access: HistoryAccess,
    /// Whether to return the outputs as well.
    #[serde(default)]
    pub output: bool,
}

/// Which entries of the history.
#[derive(Debug, Deserialize)]
#[serde(tag = "hist_access_type", rename_all = "lowercase")]
pub enum HistoryAccess {
    /// Lines of one session.
    Range {
        /// The session: 0 is this one, a negative number counts back from it.
        #[serde(default)]
        session: i64,
        /// The first line.
        #[serde(default)]
        start: Option<i64>,
        /// The line after the last one.
        #[serde(default)]
        stop: Option<i64>,
    },
    /// The last lines.
    Tail {
        /// How many.
        #[serde(default)]
        n: Option<usize>,
    },
    /// The last lines that match a pattern.
    Search {
        /// How many.
        #[serde(default)]
        n: Option<usize>,
        /// The pattern, with `*` and `?`.
        #[serde(default)]
        pattern: Option<String>,
        /// Whether to return the same text once only.
        #[serde(default)]
        unique: bool,
    },
}

/// `shutdown_request`.
#[derive(Debug, Deserialize)]
pub struct ShutdownRequest {
    /// Whether the front end starts the kernel again.
    #[serde(default)]
    pub restart: bool,
}

/// `input_reply`.
#[derive(Debug, Deserialize)]
pub struct InputReply {
    /// What was typed.
    pub value: String,
}

/// `comm_open`, `comm_msg`, `comm_close`.
#[derive(Debug, Deserialize)]
pub struct CommMessage {
    /// The comm.
    pub comm_id: String,
    /// Whom the new comm is for; of `comm_open` only.
    #[serde(default)]
    pub target_name: String,
    /// The message itself.
    #[serde(default)]
    pub data: Value,
}

/// `comm_info_request`.
#[derive(Debug, Deserialize)]
pub struct CommInfoRequest {
    /// Whose comms are asked for; `None` means all.
    #[serde(default)]
    pub target_name: Option<String>,
}

/// `debug_request`.
#[derive(Debug, Deserialize)]
pub struct DebugRequest {
    /// What is asked; part of the debug adapter protocol.
    #[serde(default)]
    pub command: Value,
    /// The number of the request.
    #[serde(default)]
    pub seq: Value,
    /// What the command needs to know.
    #[serde(default)]
    pub arguments: Value,
}

/// `delete_subshell_request`.
#[derive(Debug, Deserialize)]
pub struct SubshellRequest {
    /// The subshell.
    pub subshell_id: String,
}

fn yes() -> bool {
    true
}
