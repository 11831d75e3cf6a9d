//! Request handlers. A failed request results in an error reply and a line in the log; it never
//! ends the kernel.

use std::sync::{Arc, PoisonError};

use azureml_kernel_evaluator::{CellError, CommMessageType, Completeness};
use serde::de::DeserializeOwned;
use serde_json::json;

use super::aborted;
use super::code_intelligence::CodeQuery;
use super::debugger::{self, VariablesRequest};
use super::info;
use super::introspection;
use super::kernel::{End, Kernel};
use super::queue::Work;
use super::request::{Channel, Request};
use crate::protocol::content::{
    CommInfoRequest, CommMessage, DebugRequest, IsCompleteRequest, ShutdownRequest, SubshellRequest,
};
use crate::protocol::message::Message;

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

/// A message of a front end, by its type.
enum Incoming {
    Work(Work),
    Query(CodeQuery),
    Debug(DebugRequest),
    KernelInfo,
    Comm(CommMessageType, CommMessage),
    CommInfo(CommInfoRequest),
    IsComplete(IsCompleteRequest),
    Interrupt,
    Shutdown(ShutdownRequest),
    CreateSubshell,
    DeleteSubshell(SubshellRequest),
    ListSubshells,
}

/// Handles one request; returns when it is answered or queued for the evaluator.
pub async fn handle(kernel: &Arc<Kernel>, channel: Channel, request: Request) {
    match parse(kernel, channel, &request.message) {
        // A subshell does not wait for the running cell.
        Ok(Incoming::Work(Work::History(asked)))
            if request.message.header.subshell_id.is_some() =>
        {
            kernel.beside(&request, || {
                let history = kernel.history.lock();
                let history = history.unwrap_or_else(PoisonError::into_inner);
                request.reply(&history.reply(&asked));
            });
        }
        Ok(Incoming::Work(work)) => kernel.queue.push(request, work),
        Ok(Incoming::Query(query)) => kernel.code_intelligence.push(request, query),
        Ok(Incoming::Debug(command)) => debug(kernel, request, &command),
        Ok(Incoming::KernelInfo) => kernel_info(kernel, request).await,
        Ok(Incoming::Comm(message_type, content)) => {
            let (iopub, activity) = (&kernel.iopub, &kernel.activity);
            kernel
                .comms
                .message(iopub, activity, &request, message_type, content);
        }
        Ok(Incoming::CommInfo(asked)) => {
            kernel.beside(&request, || kernel.comms.info(&request, &asked));
        }
        Ok(Incoming::IsComplete(asked)) => {
            kernel.beside(&request, || is_complete(kernel, &request, &asked.code));
        }
        Ok(Incoming::Interrupt) => kernel.beside(&request, || {
            kernel.interrupt();
            request.reply(&json!({ "status": "ok" }));
        }),
        Ok(Incoming::Shutdown(asked)) => {
            kernel.beside(&request, || shutdown(kernel, &request, &asked));
        }
        Ok(Incoming::CreateSubshell) => kernel.beside(&request, || {
            let id = kernel.subshells.create();
            request.reply(&json!({ "status": "ok", "subshell_id": id }));
        }),
        Ok(Incoming::DeleteSubshell(asked)) => {
            kernel.beside(&request, || delete_subshell(kernel, &request, asked));
        }
        Ok(Incoming::ListSubshells) => kernel.beside(&request, || {
            request.reply(&json!({ "status": "ok", "subshell_id": kernel.subshells.list() }));
        }),
        Err(error) => kernel.beside(&request, || refuse(&request, &error)),
    }
}

/// Parses a message, and checks that its channel and its subshell accept it.
fn parse(kernel: &Kernel, channel: Channel, message: &Message) -> Result<Incoming, BadRequest> {
    if channel == Channel::Shell
        && let Some(id) = &message.header.subshell_id
        && !kernel.subshells.knows(id)
    {
        return Err(BadRequest::NoSubshell(id.clone()));
    }
    let comm = |message_type| Ok(Incoming::Comm(message_type, content(message)?));
    Ok(match message.header.msg_type.as_str() {
        "execute_request" => Incoming::Work(cell(channel, message).map_or_else(
            |error| {
                tracing::warn!(%error, "refused a cell");
                Work::Refuse(error.into())
            },
            Work::Execute,
        )),
        "history_request" => Incoming::Work(Work::History(cell(channel, message)?)),
        "complete_request" => Incoming::Query(CodeQuery::Complete(cell(channel, message)?)),
        "inspect_request" => Incoming::Query(CodeQuery::Inspect(cell(channel, message)?)),
        "is_complete_request" => Incoming::IsComplete(content(message)?),
        "kernel_info_request" => Incoming::KernelInfo,
        "comm_open" => return comm(CommMessageType::Open),
        "comm_msg" => return comm(CommMessageType::Msg),
        "comm_close" => return comm(CommMessageType::Close),
        "comm_info_request" => Incoming::CommInfo(content(message)?),
        "interrupt_request" => Incoming::Interrupt,
        "shutdown_request" => Incoming::Shutdown(content(message)?),
        "create_subshell_request"
        | "delete_subshell_request"
        | "list_subshell_request"
        | "debug_request"
            if channel == Channel::Shell =>
        {
            return Err(BadRequest::OnControl(message.header.msg_type.clone()));
        }
        "create_subshell_request" => Incoming::CreateSubshell,
        "delete_subshell_request" => Incoming::DeleteSubshell(content(message)?),
        "list_subshell_request" => Incoming::ListSubshells,
        "debug_request" => Incoming::Debug(content(message)?),
        unknown => return Err(BadRequest::Unknown(unknown.to_owned())),
    })
}

/// Parses the content of a request about a cell. It must come over the shell channel, and the cell
/// must not be too large.
fn cell<T: DeserializeOwned>(channel: Channel, message: &Message) -> Result<T, BadRequest> {
    if channel == Channel::Control {
        return Err(BadRequest::WrongChannel(message.header.msg_type.clone()));
    }
    if let Some(code) = message.content["code"].as_str()
        && code.len() > LARGEST_CELL
    {
        return Err(BadRequest::TooLarge(code.len()));
    }
    content(message)
}

fn content<T: DeserializeOwned>(message: &Message) -> Result<T, BadRequest> {
    T::deserialize(&message.content).map_err(|source| BadRequest::Content {
        msg_type: message.header.msg_type.clone(),
        source,
    })
}

/// Logs a refused request and sends an error reply if a reply is expected.
fn refuse(request: &Request, error: &BadRequest) {
    tracing::warn!(%error, "refused a request");
    if request.message.header.msg_type.ends_with("_request") {
        request.reply_error("BadRequest", &error.to_string());
    }
}

/// Handles a `debug_request`. Replies at once, except to requests for values while no cell runs,
/// which go to the evaluator.
fn debug(kernel: &Kernel, request: Request, command: &DebugRequest) {
    let (debugger, analyst) = (&kernel.debugger, kernel.analyst.get());
    match VariablesRequest::parse(command) {
        // Formatting a value runs user code, which must not run concurrently with a cell.
        Some(asked) if kernel.queue.has_cells() || analyst.is_none() => {
            kernel.beside(&request, || asked.reply(debugger, analyst, &request));
        }
        Some(asked) => kernel.queue.push(request, Work::Variables(asked)),
        None => kernel.beside(&request, || {
            debugger::answer(debugger, &request, command);
        }),
    }
}

async fn kernel_info(kernel: &Arc<Kernel>, request: Request) {
    let known = info::is_known(&kernel.language_version);
    let kernel = kernel.clone();
    let answer = async move {
        let content = info::content(kernel.language_version.clone()).await;
        kernel.beside(&request, || request.reply(&content));
    };
    if known {
        answer.await;
    } else {
        // Replies in the background: the reply waits for the language's version, other requests
        // must not.
        tokio::spawn(answer);
    }
}

fn shutdown(kernel: &Kernel, request: &Request, asked: &ShutdownRequest) {
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

fn delete_subshell(kernel: &Kernel, request: &Request, asked: SubshellRequest) {
    if !kernel.subshells.delete(&asked.subshell_id) {
        return refuse(request, &BadRequest::NoSubshell(asked.subshell_id));
    }
    let waiting = kernel.queue.take_cells_of(Some(&asked.subshell_id));
    aborted::abort(&kernel.iopub, &kernel.activity, &waiting);
    request.reply(&json!({ "status": "ok" }));
}

fn is_complete(kernel: &Kernel, request: &Request, code: &str) {
    if code.len() > LARGEST_CELL {
        return request.reply(&json!({ "status": "unknown" }));
    }
    if introspection::asked(code).is_some() {
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
