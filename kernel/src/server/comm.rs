//! Comms between front ends and user code.
//!
//! A comm message does not wait for the running cell: it is forwarded to the cell process, whose
//! callbacks handle it. Their output belongs to the message, between its `busy` and its `idle`.
//! Without user code that handles the target, `comm_open` is answered with `comm_close`.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use azureml_kernel_evaluator::{CommListener, CommMessage, CommMessageType, Comms, Event, Events};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Map, Value, json};
use tokio::runtime::Handle;

use super::activity::Activity;
use super::output::CellOutput;
use super::request::Request;
use crate::protocol::content::{self, CommInfoRequest};
use crate::protocol::iopub::IoPub;
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

struct Pending {
    parent: Parent,
    output: CellOutput,
}

impl CommState {
    /// Interrupts the running callback, if any; returns at once.
    pub fn interrupt(&self) {
        if let Some(comms) = self.comms.get() {
            comms.interrupt();
        }
    }

    /// Forwards the comm messages of user code to front ends; called when the evaluator has
    /// started.
    pub fn listen(
        self: &Arc<Self>,
        iopub: &IoPub,
        activity: &Arc<Activity>,
        runtime: &Handle,
        comms: Option<Comms>,
    ) {
        if let Some(comms) = comms {
            comms.listen(Arc::new(Listener {
                state: Arc::downgrade(self),
                iopub: iopub.clone(),
                activity: activity.clone(),
                runtime: runtime.clone(),
            }));
            // Cannot fail: set only here.
            let _ = self.comms.set(comms);
        }
    }

    /// Handles `comm_info_request`.
    pub fn info(&self, request: &Request, asked: &CommInfoRequest) {
        let open = lock(&self.open);
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

    /// Handles a comm message of a front end; `idle` follows when user code has handled it.
    pub fn message(
        &self,
        iopub: &IoPub,
        activity: &Activity,
        request: &Request,
        message_type: CommMessageType,
        content: content::CommMessage,
    ) {
        let parent = &request.message.parent;
        iopub.status(Some(parent), "busy");
        let id = content.comm_id.clone();
        let known = match message_type {
            CommMessageType::Open => {
                lock(&self.open).insert(id.clone(), content.target_name.clone());
                true
            }
            CommMessageType::Msg => lock(&self.open).contains_key(&id),
            CommMessageType::Close => lock(&self.open).remove(&id).is_some(),
        };
        let message = CommMessage {
            comm_id: content.comm_id,
            what: message_type,
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
        let token = self.next.fetch_add(1, Ordering::Relaxed);
        // Registered before the message is sent, because its result can arrive immediately.
        let pending = Arc::new(Pending {
            parent: parent.clone(),
            output: CellOutput::new(
                &Handle::current(),
                iopub.clone(),
                parent.clone(),
                false,
                None,
            ),
        });
        lock(&self.pending).insert(token, pending);
        if known
            && self
                .comms
                .get()
                .is_some_and(|comms| comms.send(token, &message))
        {
            return;
        }
        tracing::warn!(
            comm = id,
            ?message_type,
            known,
            "no user code handles this comm"
        );
        if message_type == CommMessageType::Open {
            lock(&self.open).remove(&id);
            let content = json!({ "comm_id": id, "data": {} });
            iopub.publish(Some(parent), "comm_close", &content);
        }
        self.done(iopub, activity, token);
    }

    /// Publishes `idle` when all output of a message was shown.
    fn done(&self, iopub: &IoPub, activity: &Activity, token: u64) {
        let pending = lock(&self.pending).remove(&token);
        if let Some(pending) = pending {
            pending.output.flush();
            activity.end_beside(iopub, &pending.parent);
        }
    }

    /// Publishes a comm message of user code.
    fn publish(&self, iopub: &IoPub, parent: Option<&Parent>, message: CommMessage) {
        let mut content = json!({ "comm_id": message.comm_id, "data": message.data });
        let mut open = lock(&self.open);
        let msg_type = match message.what {
            CommMessageType::Open => {
                content["target_name"] = json!(message.target_name);
                open.insert(message.comm_id, message.target_name);
                "comm_open"
            }
            CommMessageType::Msg => "comm_msg",
            CommMessageType::Close => {
                open.remove(&message.comm_id);
                "comm_close"
            }
        };
        let buffers: Vec<Bytes> = message
            .buffers
            .iter()
            .filter_map(|text| STANDARD.decode(text).ok().map(Bytes::from))
            .collect();
        iopub.publish_with(parent, msg_type, &message.metadata, &content, &buffers);
    }
}

struct Listener {
    /// Weak, because the state owns this listener through its connection to user code.
    state: Weak<CommState>,
    iopub: IoPub,
    activity: Arc<Activity>,
    runtime: Handle,
}

impl CommListener for Listener {
    fn emit(&self, token: Option<u64>, event: Event) {
        let Some(state) = self.state.upgrade() else {
            return;
        };
        // Flushing text needs the runtime.
        let _runtime = self.runtime.enter();
        let pending = token.and_then(|token| lock(&state.pending).get(&token).cloned());
        match (event, pending) {
            (Event::Comm(message), pending) => {
                if let Some(pending) = &pending {
                    pending.output.flush();
                }
                let parent = pending.map_or_else(
                    || self.activity.last(),
                    |pending| Some(pending.parent.clone()),
                );
                state.publish(&self.iopub, parent.as_ref(), *message);
            }
            (event, Some(pending)) => pending.output.emit(event),
            (_, None) => tracing::debug!("the comms' thread showed something for no message"),
        }
    }

    fn handled(&self, token: u64) {
        if let Some(state) = self.state.upgrade() {
            state.done(&self.iopub, &self.activity, token);
        }
    }

    fn gone(&self) {
        let Some(state) = self.state.upgrade() else {
            return;
        };
        let open = std::mem::take(&mut *lock(&state.open));
        let parent = self.activity.last();
        for id in open.into_keys() {
            let content = json!({ "comm_id": id, "data": {} });
            self.iopub.publish(parent.as_ref(), "comm_close", &content);
        }
        let pending: Vec<u64> = lock(&state.pending).keys().copied().collect();
        for token in pending {
            state.done(&self.iopub, &self.activity, token);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
