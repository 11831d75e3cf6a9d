//! Comms between front ends and user code.
//!
//! A comm message does not wait for the running cell: it is forwarded to the cell process, whose
//! callbacks handle it. Their output belongs to the message, between its `busy` and its `idle`.
//! Without user code that handles the target, `comm_open` is answered with `comm_close`.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use azureml_kernel_evaluator::{CommListener, CommMessage, CommWhat, Comms, Event, Events};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Map, Value, json};
use tokio::runtime::Handle;

use super::channel::Request;
use super::kernel::Kernel;
use super::output::CellOutput;
use crate::protocol::content::{self, CommInfoRequest};
use crate::protocol::message::Parent;

/// The state of comms.
#[derive(Default)]
pub struct CommState {
    /// The connection to user code, set when the evaluator has started.
    comms: OnceLock<Comms>,
    /// The targets of the open comms.
    open: Mutex<BTreeMap<String, String>>,
    /// The messages that user code is handling.
    pending: Mutex<HashMap<u64, Arc<Pending>>>,
    next: AtomicU64,
}

impl CommState {
    /// Interrupts the running callback, if any; returns at once.
    pub fn interrupt(&self) {
        if let Some(comms) = self.comms.get() {
            comms.interrupt();
        }
    }
}

struct Pending {
    parent: Parent,
    output: CellOutput,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Forwards the comm messages of user code to front ends; called when the evaluator has started.
pub fn listen(kernel: &Arc<Kernel>, runtime: &Handle, comms: Option<Comms>) {
    if let Some(comms) = comms {
        comms.listen(Arc::new(Listener {
            kernel: Arc::downgrade(kernel),
            runtime: runtime.clone(),
        }));
        // Cannot fail: set only here.
        let _ = kernel.comms.comms.set(comms);
    }
}

/// Handles `comm_info_request`.
pub fn info(kernel: &Kernel, request: &Request, asked: &CommInfoRequest) {
    let open = lock(&kernel.comms.open);
    let of_target = open.iter().filter(|(_, target)| {
        asked
            .target_name
            .as_ref()
            .is_none_or(|asked| asked == *target)
    });
    let comms: Map<String, Value> = of_target
        .map(|(id, target)| (id.clone(), json!({ "target_name": target })))
        .collect();
    request.reply(&json!({ "status": "ok", "comms": comms }));
}

/// Handles `comm_open`, `comm_msg` and `comm_close`; `idle` follows when user code has handled the
/// message.
pub fn message(kernel: &Kernel, request: &Request, content: content::CommMessage) {
    let state = &kernel.comms;
    let parent = &request.message.parent;
    kernel.iopub.status(Some(parent), "busy");
    let id = content.comm_id.clone();
    let what = match request.message.header.msg_type.as_str() {
        "comm_open" => CommWhat::Open,
        "comm_msg" => CommWhat::Msg,
        _ => CommWhat::Close,
    };
    let known = match what {
        CommWhat::Open => {
            lock(&state.open).insert(id.clone(), content.target_name.clone());
            true
        }
        CommWhat::Msg => lock(&state.open).contains_key(&id),
        CommWhat::Close => lock(&state.open).remove(&id).is_some(),
    };
    let message = CommMessage {
        comm_id: content.comm_id,
        what,
        target_name: content.target_name,
        data: content.data,
        metadata: json!({}),
        buffers: request
            .message
            .buffers
            .iter()
            .map(|bytes| STANDARD.encode(bytes))
            .collect(),
    };
    let token = state.next.fetch_add(1, Ordering::Relaxed);
    // Registered before the message is sent, because its result can arrive immediately.
    let pending = Arc::new(Pending {
        parent: parent.clone(),
        output: CellOutput::new(
            &Handle::current(),
            kernel.iopub.clone(),
            parent.clone(),
            false,
            None,
        ),
    });
    lock(&state.pending).insert(token, pending);
    if known
        && state
            .comms
            .get()
            .is_some_and(|comms| comms.send(token, &message))
    {
        return;
    }
    tracing::warn!(comm = id, ?what, known, "no user code hears this comm");
    if what == CommWhat::Open {
        lock(&state.open).remove(&id);
        let content = json!({ "comm_id": id, "data": {} });
        kernel.iopub.publish(Some(parent), "comm_close", &content);
    }
    done(kernel, token);
}

/// Publishes `idle` when all output of a message was shown.
fn done(kernel: &Kernel, token: u64) {
    let pending = lock(&kernel.comms.pending).remove(&token);
    if let Some(pending) = pending {
        pending.output.flush();
        kernel.activity.end_beside(&kernel.iopub, &pending.parent);
    }
}

struct Listener {
    /// Weak, because the kernel owns this listener through its evaluator.
    kernel: Weak<Kernel>,
    runtime: Handle,
}

impl CommListener for Listener {
    fn emit(&self, token: Option<u64>, event: Event) {
        let Some(kernel) = self.kernel.upgrade() else {
            return;
        };
        // Flushing text needs the runtime.
        let _runtime = self.runtime.enter();
        let pending = token.and_then(|token| lock(&kernel.comms.pending).get(&token).cloned());
        match (event, pending) {
            (Event::Comm(message), pending) => {
                if let Some(pending) = &pending {
                    pending.output.flush();
                }
                let parent = pending.map_or_else(
                    || kernel.activity.last(),
                    |pending| Some(pending.parent.clone()),
                );
                publish(&kernel, parent.as_ref(), *message);
            }
            (event, Some(pending)) => pending.output.emit(event),
            (_, None) => tracing::debug!("the comms' thread showed something for no message"),
        }
    }

    fn handled(&self, token: u64) {
        if let Some(kernel) = self.kernel.upgrade() {
            done(&kernel, token);
        }
    }

    fn gone(&self) {
        let Some(kernel) = self.kernel.upgrade() else {
            return;
        };
        let open = std::mem::take(&mut *lock(&kernel.comms.open));
        let parent = kernel.activity.last();
        for id in open.into_keys() {
            let content = json!({ "comm_id": id, "data": {} });
            kernel
                .iopub
                .publish(parent.as_ref(), "comm_close", &content);
        }
        let pending: Vec<u64> = lock(&kernel.comms.pending).keys().copied().collect();
        for token in pending {
            done(&kernel, token);
        }
    }
}

/// Publishes a comm message of user code.
fn publish(kernel: &Kernel, parent: Option<&Parent>, message: CommMessage) {
    let mut content = json!({ "comm_id": message.comm_id, "data": message.data });
    let mut open = lock(&kernel.comms.open);
    let msg_type = match message.what {
        CommWhat::Open => {
            content["target_name"] = json!(message.target_name);
            open.insert(message.comm_id, message.target_name);
            "comm_open"
        }
        CommWhat::Msg => "comm_msg",
        CommWhat::Close => {
            open.remove(&message.comm_id);
            "comm_close"
        }
    };
    let buffers: Vec<Bytes> = message
        .buffers
        .iter()
        .filter_map(|text| STANDARD.decode(text).ok().map(Bytes::from))
        .collect();
    kernel
        .iopub
        .publish_with(parent, msg_type, &message.metadata, &content, &buffers);
}
