//! Request handlers. A failed request results in an error reply and a line in the log; it never
//! ends the kernel.

use std::sync::{Arc, PoisonError};

use azureml_kernel_evaluator::{CellError, Completeness};
use serde::de::DeserializeOwned;
use serde_json::json;

use super::channel::{Name, Request};
use super::comm;
use super::debugger;
use super::info;
use super::kernel::Kernel;
use super::lifetime::End;
use super::question;
use super::questions::Question;
use super::queue::Work;
use super::unrun;
use crate::protocol::content::{IsCompleteRequest, ShutdownRequest, SubshellRequest};

/// Maximum size of a cell, in bytes. Even smaller cells take long to compile.
pub const LARGEST_CELL: usize = 8 << 20;

/// The reason why a request is refused.
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
    #[error("{0} belongs on the control channel")]
    OnControl(String),
    #[error(
        "there is no subshell {0}\nhint: create_subshell_request on the control channel makes one"
    )]
    NoSubshell(String),
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

/// Handles one request; returns when it is answered or queued for the evaluator.
pub async fn handle(kernel: &Arc<Kernel>, channel: Name, request: Request) {
    if channel == Name::Shell
        && let Some(id) = &request.message.header.subshell_id
        && !kernel.subshells.knows(id)
    {
        let error = BadRequest::NoSubshell(id.clone());
        return beside(kernel, &request, || refuse(&request, &error));
    }
    match request.message.header.msg_type.as_str() {
        "complete_request" | "inspect_request" => match question(channel, &request) {
            Ok(question) => kernel.questions.ask(request, question),
            Err(error) => beside(kernel, &request, || refuse(&request, &error)),
        },
        "execute_request" | "history_request" => {
            match work(channel, &request) {
                // A subshell does not wait for the running cell.
                Ok(Work::History(asked)) if request.message.header.subshell_id.is_some() => {
                    beside(kernel, &request, || {
                        let history = kernel.history.lock();
                        let history = history.unwrap_or_else(PoisonError::into_inner);
                        request.reply(&history.reply(&asked));
                    });
                }
                Ok(work) => kernel.queue.push(request, work),
                Err(error) if request.message.header.msg_type == "execute_request" => {
                    tracing::warn!(%error, "refused a cell");
                    kernel.queue.push(request, Work::Refuse(error.into()));
                }
                Err(error) => beside(kernel, &request, || refuse(&request, &error)),
            }
        }
        "debug_request" if channel == Name::Control => match content(&request) {
            Ok(asked) => debugger::handle(kernel, request, asked),
            Err(error) => beside(kernel, &request, || refuse(&request, &error)),
        },
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
                // Replies in the background: the reply waits for the language's version, other
                // requests must not.
                tokio::spawn(answer);
            }
        }
        "comm_open" | "comm_msg" | "comm_close" => match content(&request) {
            Ok(message) => comm::message(kernel, &request, message),
            Err(error) => beside(kernel, &request, || refuse(&request, &error)),
        },
        _ => beside(kernel, &request, || {
            if let Err(error) = answer(kernel, channel, &request) {
                refuse(&request, &error);
            }
        }),
    }
}

/// Runs `answer` between `busy` and `idle` without the evaluator; a panic results in an error
/// reply.
pub fn beside(kernel: &Kernel, request: &Request, answer: impl FnOnce()) {
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

/// Logs a refused request and sends an error reply if a reply is expected.
fn refuse(request: &Request, error: &BadRequest) {
    tracing::warn!(%error, "refused a request");
    if request.message.header.msg_type.ends_with("_request") {
        request.reply_error("BadRequest", &error.to_string());
    }
}

/// Returns the work for the evaluator that a request contains.
fn work(channel: Name, request: &Request) -> Result<Work, BadRequest> {
    on_shell(channel, request)?;
    match request.message.header.msg_type.as_str() {
        "execute_request" => content(request).map(Work::Execute),
        _ => content(request).map(Work::History),
    }
}

/// Returns the code query that a request contains.
fn question(channel: Name, request: &Request) -> Result<Question, BadRequest> {
    on_shell(channel, request)?;
    match request.message.header.msg_type.as_str() {
        "complete_request" => content(request).map(Question::Complete),
        _ => content(request).map(Question::Inspect),
    }
}

/// Checks that a request about a cell came over the shell channel and that the cell is not too
/// large.
fn on_shell(channel: Name, request: &Request) -> Result<(), BadRequest> {
    let msg_type = request.message.header.msg_type.as_str();
    if channel == Name::Control {
        return Err(BadRequest::WrongChannel(msg_type.to_owned()));
    }
    if let Some(code) = request.message.content["code"].as_str()
        && code.len() > LARGEST_CELL
    {
        return Err(BadRequest::TooLarge(code.len()));
    }
    Ok(())
}

fn answer(kernel: &Kernel, channel: Name, request: &Request) -> Result<(), BadRequest> {
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
        "create_subshell_request"
        | "delete_subshell_request"
        | "list_subshell_request"
        | "debug_request"
            if channel == Name::Shell =>
        {
            return Err(BadRequest::OnControl(
                request.message.header.msg_type.clone(),
            ));
        }
        "create_subshell_request" => {
            let id = kernel.subshells.create();
            request.reply(&json!({ "status": "ok", "subshell_id": id }));
        }
        "delete_subshell_request" => {
            let asked: SubshellRequest = content(request)?;
            if !kernel.subshells.delete(&asked.subshell_id) {
                return Err(BadRequest::NoSubshell(asked.subshell_id));
            }
            let waiting = kernel.queue.take_cells_of(Some(&asked.subshell_id));
            unrun::abort(kernel, &waiting);
            request.reply(&json!({ "status": "ok" }));
        }
        "list_subshell_request" => {
            request.reply(&json!({ "status": "ok", "subshell_id": kernel.subshells.list() }));
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
