//! The output of a running cell, on its way to the IOPub channel.
//!
//! Text is buffered and sent as one message every 50 ms, when the stream changes, or before another
//! output. This keeps the order and the number of messages small. All output is sent under one
//! lock, so no output of a cell can follow its end.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use azureml_kernel_evaluator::{Event, Events, MimeBundle};
use serde_json::json;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::stdin::Stdin;
use crate::protocol::iopub::IoPub;
use crate::protocol::message::Parent;

/// Maximum time that text is buffered.
const INTERVAL: Duration = Duration::from_millis(50);

/// Number of buffered bytes after which text is sent early.
const LARGEST_TEXT: usize = 256 << 10;

/// Number of bytes queued for front ends after which further text is dropped.
const LARGEST_BACKLOG: usize = 256 << 20;

/// Receives the events of one cell.
pub struct CellOutput {
    shared: Arc<Shared>,
    stdin: Option<Stdin>,
    flusher: JoinHandle<()>,
}

struct Shared {
    iopub: IoPub,
    parent: Parent,
    silent: bool,
    buffer: Mutex<Buffer>,
    filled: Notify,
}

#[derive(Default)]
struct Buffer {
    stream: &'static str,
    text: String,
    left_out: bool,
}

impl CellOutput {
    /// Creates the output of the cell of `parent`. Without `stdin`, the cell cannot request input.
    pub fn new(
        runtime: &Handle,
        iopub: IoPub,
        parent: Parent,
        silent: bool,
        stdin: Option<Stdin>,
    ) -> Self {
        let shared = Arc::new(Shared {
            iopub,
            parent,
            silent,
            buffer: Mutex::default(),
            filled: Notify::new(),
        });
        let flusher = runtime.spawn({
            let shared = shared.clone();
            async move {
                loop {
                    shared.filled.notified().await;
                    tokio::time::sleep(INTERVAL).await;
                    shared.flush(&mut shared.lock());
                }
            }
        });
        Self {
            shared,
            stdin,
            flusher,
        }
    }

    /// Publishes a message of the cell, after all of its earlier output.
    pub fn publish(&self, msg_type: &str, content: &serde_json::Value) {
        let mut buffer = self.shared.lock();
        self.shared.flush(&mut buffer);
        if !self.shared.silent {
            self.shared
                .iopub
                .publish(Some(&self.shared.parent), msg_type, content);
        }
    }

    /// Ends the output; all of it is queued when this returns.
    pub fn finish(self) {
        self.flush();
    }

    /// Sends the buffered text.
    pub fn flush(&self) {
        self.shared.flush(&mut self.shared.lock());
    }

    fn text(&self, stream: &'static str, text: &str) {
        if self.shared.silent || text.is_empty() {
            return;
        }
        let mut buffer = self.shared.lock();
        if buffer.stream != stream {
            self.shared.flush(&mut buffer);
            buffer.stream = stream;
        }
        if buffer.text.is_empty() {
            self.shared.filled.notify_one();
        }
        buffer.text.push_str(text);
        if buffer.text.len() >= LARGEST_TEXT {
            self.shared.flush(&mut buffer);
        }
    }
}

impl Drop for CellOutput {
    fn drop(&mut self) {
        self.flusher.abort();
    }
}

impl Events for CellOutput {
    fn emit(&self, event: Event) {
        match event {
            Event::Stdout(text) => self.text("stdout", &text),
            Event::Stderr(text) => self.text("stderr", &text),
            Event::Display { data, id } => {
                self.publish("display_data", &display(&data, id.as_deref()));
            }
            Event::UpdateDisplay { data, id } => {
                self.publish("update_display_data", &display(&data, Some(&id)));
            }
            Event::ClearOutput { wait } => self.publish("clear_output", &json!({ "wait": wait })),
            // Comm messages go to the comm listener, independent of the running cell.
            Event::Comm(_) => {}
            Event::Input {
                prompt,
                password,
                reply,
            } => {
                self.shared.flush(&mut self.shared.lock());
                // Without `stdin`, dropping `reply` reports that no front end can provide input.
                if let Some(stdin) = &self.stdin {
                    stdin.ask(&self.shared.parent, prompt, password, reply);
                }
            }
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Buffer> {
        self.buffer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn flush(&self, buffer: &mut Buffer) {
        if buffer.text.is_empty() {
            return;
        }
        let text = std::mem::take(&mut buffer.text);
        if self.iopub.waiting() < LARGEST_BACKLOG {
            self.stream(buffer.stream, &text);
        } else if !buffer.left_out {
            buffer.left_out = true;
            tracing::warn!("the front end does not keep up with a cell's output");
            self.stream(
                "stderr",
                "\n[the front end does not keep up: output was left out from here on]\n",
            );
        }
    }

    fn stream(&self, name: &str, text: &str) {
        self.iopub.publish(
            Some(&self.parent),
            "stream",
            &json!({ "name": name, "text": text }),
        );
    }
}

fn display(data: &MimeBundle, id: Option<&str>) -> serde_json::Value {
    let transient = id.map_or_else(|| json!({}), |id| json!({ "display_id": id }));
    json!({ "data": data, "metadata": {}, "transient": transient })
}
