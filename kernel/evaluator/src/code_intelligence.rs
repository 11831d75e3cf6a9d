//! Completion and inspection of Rust code by a separate process, and its protocol.
//!
//! rust-analyzer takes minutes to compile and seconds to load, and it can crash. In a process of its
//! own, started by the first request, none of that touches the kernel.
//!
//! The client sends requests to the process's standard input; the process sends replies to its
//! standard output: one JSON value per line, one reply per request. The process ends when its
//! standard input ends, so it also ends when the kernel is killed.

mod client;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{Completions, MimeBundle};

pub(crate) use client::Client;

/// The file name of the binary that completes and inspects code.
pub const PROGRAM: &str = "azureml-kernel-evcxr";

/// The value of [`ROLE`](crate::engine::env::ROLE) that makes the binary serve this protocol.
pub const ROLE: &str = "code-intelligence";

/// The first line: the folders that the process uses.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Start {
    /// The folder of compiled libraries.
    pub cache: Option<PathBuf>,
    /// The prebuilt set of helper crates.
    pub helpers: Option<PathBuf>,
}

/// A request about a position in a cell.
#[derive(Debug, Serialize, Deserialize)]
pub struct Request {
    /// The kind of request.
    pub kind: Kind,
    /// The cell.
    pub code: String,
    /// The position, in code points from the start of the cell.
    pub cursor: usize,
}

/// The kind of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The possible continuations of the word at the position.
    Complete,
    /// The documentation of the item at the position.
    Inspect,
}

/// The reply to a [`Request`].
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// The reply to [`Kind::Complete`].
    Completions(Completions),
    /// The reply to [`Kind::Inspect`]; `None` when the item has no documentation.
    Documentation(Option<MimeBundle>),
    /// The process cannot analyse code; it ends.
    Failed(String),
}
