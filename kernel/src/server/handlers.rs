//! What each request does. A request that fails, in whatever way, is an error reply and a line in the log, never the end of the kernel.

use std::sync::Arc;

use azureml_kernel_evaluator::{CellError, Completeness, Completions};
use serde::de::DeserializeOwned;
use serde_json::json;

use super::channel::{Name, Request};
use super::comm;
use super::info;
use super::kernel::Kernel;
use super::lifetime::End;
use super::question;
use super::queue::Work;
use super::replies;
use crate::protocol::content::{DebugRequest, IsCompleteRequest, ShutdownRequest};

/// The largest cell that is looked at, in bytes. Compilers take long for less.
pub const LARGEST_CELL: usize = 8 << 20;

/// Why a request cannot be answered.
#[derive(Debug, thiserror::Error)]
enum BadRequest {
    #[error("the content of {msg_type} is not valid: {source}")]
    Content {
        msg_type: String,
        source: serde_json::Error,
    },
    #[error("{0} is not a request that this kernel knows")]
    Unknown(String),
    #[error("{0} belongs on the shell channel")]
    WrongChannel(String),
    #[error(
        "the cell has {0} bytes, more than the {LARGEST_CELL} that a cell may have\nhint: put large data into a file and read it from the cell"
    )]
    TooLarge(usize),
}

impl From<BadRequest> for CellError {
    fn from(error: BadRequest) -> Self {
        let text = error.to_string();
        Self {
            ename: "BadRequest".to_owned(),
            evalue: text.lines().next().unwrap_or_default().to_owned(),
            traceback: text.lines().map(str::to_owned).collect(),
        }
    }
}

/// Handles one request; returns when it is answered or waits for the evaluator.
pub async fn handle(kernel: &Arc<Kernel>, channel: Name, request: Request) {
    match request.message.header.msg_type.as_str() {
        "execute_request" | "complete_request" | "inspect_request" | "history_request" => {
            match work(channel, &request) {
                // The evaluator is busy, and a front end that waits for it only seems to hang.
                Ok(Work::Complete(asked)) if kernel.queue.has_cells() => {
                    let cursor = asked.cursor();
                    let nothing = Completions {
                        matches: Vec::new(),
                        start: cursor,
                        end: cursor,
                    };
                    let content = replies::complete(&nothing);
                    beside(kernel, &request, || request.reply(&content));
                }
                Ok(Work::Inspect(_)) if kernel.queue.has_cells() => {
                    let content = replies::inspect(None);
                    beside(kernel, &request, || request.reply(&content));
                }
                Ok(work) => kernel.queue.push(request, work),
                Err(error) if request.message.header.msg_type == "execute_request" => {
                    tracing::warn!(%error, "refused a cell");
                    kernel.queue.push(request, Work::Refuse(error.into()));
                }
                Err(error) => beside(kernel, &request, || refuse(&request, &error)),
            }
        }
        "kernel_info_request" => {
            let known = info::is_known(&kernel.language_version);
            let kernel = kernel.clone();
            let answer = async move {
                let content = info::content(kernel.language_version.clone()).await;
                beside(&kernel, &request, || request.reply(&content));
            };
            if known {
                answer.await;
            } else {
                // It waits for the version, for which nothing else must wait.
                tokio::spawn(answer);
            }
        }
        "comm_open" | "comm_msg" | "comm_close" => match content(&request) {
            Ok(message) => comm::message(kernel, &request, message),
            Err(error) => beside(kernel, &request, || refuse(&request, &error)),
        },
        _ => beside(kernel, &request, || {
            if let Err(error) = answer(kernel, &request) {
                refuse(&request, &error);
            }
        }),
    }
}

/// Answers between `busy` and `idle`, beside the evaluator; a panic is an error reply.
fn beside(kernel: &Kernel, request: &Request, answer: impl FnOnce()) {
    let parent = &request.message.parent;
    kernel.iopub.status(Some(parent), "busy");
    if std::panic::catch_unwind(std::panic::AssertUnwindSafe(answer)).is_err() {
        request.reply_error(
            "KernelError",
            "the kernel could not answer; its log says why",
        );
    }
    kernel.activity.end_beside(&kernel.iopub, parent);
}

/// Logs a request that cannot be answered and, when an answer is expected, says so.
fn refuse(request: &Request, error: &BadRequest) {
    tracing::warn!(%error, "refused a request");
    if request.message.header.msg_type.ends_with("_request") {
        request.reply_error("BadRequest", &error.to_string());
    }
}

/// The work for the evaluator that a request asks for.
fn work(channel: Name, request: &Request) -> Result<Work, BadRequest> {
    let msg_type = request.message.header.msg_type.as_str();
    if channel == Name::Control {
        return Err(BadRequest::WrongChannel(msg_type.to_owned()));
    }
    if let Some(code) = request.message.content["code"].as_str()
        && code.len() > LARGEST_CELL
    {
        return Err(BadRequest::TooLarge(code.len()));
    }
    match msg_type {
        "execute_request" => content(request).map(Work::Execute),
        "complete_request" => content(request).map(Work::Complete),
        "inspect_request" => content(request).map(Work::Inspect),
        _ => content(request).map(Work::History),
    }
}

fn answer(kernel: &Kernel, request: &Request) -> Result<(), BadRequest> {
    match request.message.header.msg_type.as_str() {
        "is_complete_request" => {
            let asked: IsCompleteRequest = content(request)?;
            is_complete(kernel, request, &asked.code);
        }
        "comm_info_request" => comm::info(kernel, request, &content(request)?),
        "interrupt_request" => {
            kernel.interrupt();
            request.reply(&json!({ "status": "ok" }));
        }
        "shutdown_request" => {
            let asked: ShutdownRequest = content(request)?;
            let reply = json!({ "status": "ok", "restart": asked.restart });
            request.reply(&reply);
            kernel
                .iopub
                .publish(Some(&request.message.parent), "shutdown_reply", &reply);
            let end = if asked.restart {
                End::Restart
            } else {
                End::Shutdown
            };
            kernel.ended.send_replace(Some(end));
        }
        "debug_request" => {
            let asked: DebugRequest = content(request)?;
            request.reply(&json!({
                "status": "error",
                "ename": "NotSupported",
                "evalue": "this kernel has no debugger",
                "traceback": [],
                "type": "response",
                "success": false,
                "command": asked.command,
                "request_seq": asked.seq,
                "message": "this kernel has no debugger",
            }));
        }
        unknown => return Err(BadRequest::Unknown(unknown.to_owned())),
    }
    Ok(())
}

fn is_complete(kernel: &Kernel, request: &Request, code: &str) {
    if code.len() > LARGEST_CELL {
        return request.reply(&json!({ "status": "unknown" }));
    }
    if question::asked(code).is_some() {
        return request.reply(&json!({ "status": "complete" }));
    }
    request.reply(&match (kernel.is_complete)(code) {
        Completeness::Complete => json!({ "status": "complete" }),
        Completeness::Incomplete { indent } => {
            json!({ "status": "incomplete", "indent": indent })
        }
        Completeness::Invalid => json!({ "status": "invalid" }),
    });
}

fn content<T: DeserializeOwned>(request: &Request) -> Result<T, BadRequest> {
    T::deserialize(&request.message.content).map_err(|source| BadRequest::Content {
        msg_type: request.message.header.msg_type.clone(),
        source,
    })
}
