//! The contents of requests, with the defaults of the Jupyter messaging specification.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// `execute_request`.
#[derive(Debug, Deserialize)]
pub struct ExecuteRequest {
    /// The code of the cell.
    pub code: String,
    /// Whether to run without broadcasting output.
    #[serde(default)]
    pub silent: bool,
    /// Whether to increment the execution count and store the cell in the history; `None` means:
    /// unless it is silent.
    #[serde(default)]
    pub store_history: Option<bool>,
    /// Expressions to evaluate after the cell, by name.
    #[serde(default)]
    pub user_expressions: Option<BTreeMap<String, String>>,
    /// Whether the front end supports input requests.
    #[serde(default = "yes")]
    pub allow_stdin: bool,
    /// Whether an error aborts the waiting cells.
    #[serde(default = "yes")]
    pub stop_on_error: bool,
}

/// `complete_request` and `inspect_request`.
#[derive(Debug, Deserialize)]
pub struct CursorRequest {
    /// The code of the cell.
    pub code: String,
    /// The cursor position in code points; `None` means the end of the code.
    #[serde(default)]
    pub cursor_pos: Option<usize>,
}

impl CursorRequest {
    /// Returns the cursor position, limited to the length of the code.
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
    /// Which entries to return.
    #[serde(flatten)]
    pub access: HistoryAccess,
    /// Whether to return the outputs as well.
    #[serde(default)]
    pub output: bool,
}

/// The access type of a history request.
#[derive(Debug, Deserialize)]
#[serde(tag = "hist_access_type", rename_all = "lowercase")]
pub enum HistoryAccess {
    /// Cells of one session.
    Range {
        /// The session: 0 is the current one, a negative number counts backwards from it.
        #[serde(default)]
        session: i64,
        /// The number of the first cell.
        #[serde(default)]
        start: Option<i64>,
        /// The number of the cell after the last one.
        #[serde(default)]
        stop: Option<i64>,
    },
    /// The last cells.
    Tail {
        /// Maximum number of entries.
        #[serde(default)]
        n: Option<usize>,
    },
    /// The last cells that match a pattern.
    Search {
        /// Maximum number of entries.
        #[serde(default)]
        n: Option<usize>,
        /// A glob pattern with `*` and `?`.
        #[serde(default)]
        pattern: Option<String>,
        /// Whether to return equal texts only once.
        #[serde(default)]
        unique: bool,
    },
}

/// `shutdown_request`.
#[derive(Debug, Deserialize)]
pub struct ShutdownRequest {
    /// Whether the front end restarts the kernel.
    #[serde(default)]
    pub restart: bool,
}

/// `input_reply`.
#[derive(Debug, Deserialize)]
pub struct InputReply {
    /// The user's input.
    pub value: String,
}

/// `comm_open`, `comm_msg`, `comm_close`.
#[derive(Debug, Deserialize)]
pub struct CommMessage {
    /// The id of the comm.
    pub comm_id: String,
    /// The target of the new comm; only in `comm_open`.
    #[serde(default)]
    pub target_name: String,
    /// The data of the message.
    #[serde(default)]
    pub data: Value,
}

/// `comm_info_request`.
#[derive(Debug, Deserialize)]
pub struct CommInfoRequest {
    /// The target whose comms are listed; `None` means all.
    #[serde(default)]
    pub target_name: Option<String>,
}

/// `debug_request`.
#[derive(Debug, Clone, Deserialize)]
pub struct DebugRequest {
    /// The command, as defined by the debug adapter protocol.
    #[serde(default)]
    pub command: Value,
    /// The sequence number of the request.
    #[serde(default)]
    pub seq: Value,
    /// The arguments of the command.
    #[serde(default)]
    pub arguments: Value,
}

/// `delete_subshell_request`.
#[derive(Debug, Deserialize)]
pub struct SubshellRequest {
    /// The id of the subshell.
    pub subshell_id: String,
}

fn yes() -> bool {
    true
}
