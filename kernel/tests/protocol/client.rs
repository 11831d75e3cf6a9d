//! A front end for tests: sends requests and reads all replies through an independent client
//! library.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use azureml_kernel::server::{self, End, Engine, Options};
use azureml_kernel::zmtp::Limits;
use azureml_kernel_evaluator::{CellError, Completeness, Evaluator};
use jupyter_protocol::connection_info::{ConnectionInfo, Transport};
use jupyter_protocol::messaging::{JupyterMessage, JupyterMessageContent, UnknownMessage};
use jupyter_zmq_client::{
    ClientControlConnection, ClientIoPubConnection, ClientShellConnection, ClientStdinConnection,
    RawMessage, create_client_control_connection, create_client_iopub_connection,
    create_client_shell_connection_with_identity, create_client_stdin_connection_with_identity,
    peer_identity_for_session,
};
use ring::hmac;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use zeromq::{SocketRecv, ZmqMessage};

use crate::scripted::{Gate, Scripted};

/// Timeout after which a test reports a hang.
const HANGS: Duration = Duration::from_mins(1);

/// Awaits a future; fails the test when it hangs.
pub async fn soon<F: Future>(what: &str, future: F) -> F::Output {
    tokio::time::timeout(HANGS, future)
        .await
        .unwrap_or_else(|_| panic!("nothing came: {what}"))
}

/// Returns a connection with Unix sockets in a folder.
pub fn connection_in(folder: &Path) -> ConnectionInfo {
    ConnectionInfo {
        ip: folder.join("kernel").display().to_string(),
        transport: Transport::IPC,
        shell_port: 1,
        iopub_port: 2,
        stdin_port: 3,
        control_port: 4,
        hb_port: 5,
        key: "the key".to_owned(),
        signature_scheme: "hmac-sha256".to_owned(),
        kernel_name: None,
    }
}

/// A kernel inside the test process.
pub struct Kernel {
    pub connection: ConnectionInfo,
    pub serving: JoinHandle<End>,
    /// Blocks the cells that execute `wait`.
    pub gate: Arc<Gate>,
    /// The version of the language; known from the start unless a test delays it.
    pub version: watch::Sender<Option<String>>,
    _folder: tempfile::TempDir,
}

impl Kernel {
    /// Starts a kernel whose evaluator is ready at once.
    pub fn start() -> Self {
        Self::start_with(|gate| Ok(Box::new(Scripted::new(gate))))
    }

    /// Starts a kernel whose evaluator is created by `start`.
    pub fn start_with(
        start: impl FnOnce(Arc<Gate>) -> Result<Box<dyn Evaluator>, CellError> + Send + 'static,
    ) -> Self {
        let version = watch::Sender::new(Some("1.2.3".to_owned()));
        Self::start_as(start, version)
    }

    /// Like [`start_with`](Self::start_with), with a channel for the version of the language.
    pub fn start_as(
        start: impl FnOnce(Arc<Gate>) -> Result<Box<dyn Evaluator>, CellError> + Send + 'static,
        version: watch::Sender<Option<String>>,
    ) -> Self {
        Self::start_all(start, version, Options::default())
    }

    /// Starts a kernel with other limits for its peers.
    pub fn start_within(limits: Limits) -> Self {
        let options = Options {
            limits,
            ..Options::default()
        };
        let version = watch::Sender::new(Some("1.2.3".to_owned()));
        Self::start_all(|gate| Ok(Box::new(Scripted::new(gate))), version, options)
    }

    fn start_all(
        start: impl FnOnce(Arc<Gate>) -> Result<Box<dyn Evaluator>, CellError> + Send + 'static,
        version: watch::Sender<Option<String>>,
        options: Options,
    ) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let connection = connection_in(folder.path());
        let gate = Arc::new(Gate::default());
        let engine = Engine {
            start: Box::new({
                let gate = gate.clone();
                move || start(gate)
            }),
            is_complete: |code| match code {
                "open {" => Completeness::Incomplete {
                    indent: "    ".to_owned(),
                },
                "}" => Completeness::Invalid,
                "panic" => panic!("as the test asked"),
                _ => Completeness::Complete,
            },
            language_version: version.subscribe(),
        };
        let serving = tokio::spawn({
            let connection = connection.clone();
            async move {
                server::serve(&connection, engine, options)
                    .await
                    .expect("the sockets are free")
            }
        });
        Self {
            connection,
            serving,
            gate,
            version,
            _folder: folder,
        }
    }

    /// Connects a front end that is subscribed to IOPub.
    pub async fn connect(&self) -> Client {
        let mut client = Client::connect(&self.connection).await;
        loop {
            // Earlier broadcasts do not belong to a request of this client.
            if client.iopub().await.msg_type == "iopub_welcome" {
                return client;
            }
        }
    }
}

/// A message from the kernel.
#[derive(Debug)]
pub struct Received {
    pub msg_type: String,
    /// Id of the request that the message belongs to; empty if none.
    pub parent: String,
    pub content: Value,
}

impl Received {
    /// Returns the `text` of the content.
    pub fn text(&self) -> &str {
        self.content["text"].as_str().unwrap_or_default()
    }
}

/// A front end.
pub struct Client {
    pub shell: ClientShellConnection,
    pub control: ClientControlConnection,
    pub stdin: ClientStdinConnection,
    pub iopub: ClientIoPubConnection,
}

impl Client {
    /// Connects; returns before the kernel has received the subscription.
    pub async fn connect(connection: &ConnectionInfo) -> Self {
        let session = uuid::Uuid::new_v4().to_string();
        let identity = peer_identity_for_session(&session).expect("an identity");
        soon("connections", async {
            Self {
                shell: create_client_shell_connection_with_identity(
                    connection,
                    &session,
                    identity.clone(),
                )
                .await
                .expect("shell"),
                control: create_client_control_connection(connection, &session)
                    .await
                    .expect("control"),
                stdin: create_client_stdin_connection_with_identity(connection, &session, identity)
                    .await
                    .expect("stdin"),
                iopub: create_client_iopub_connection(connection, "", &session)
                    .await
                    .expect("iopub"),
            }
        })
        .await
    }

    /// Sends a request on the shell channel; returns its id.
    pub async fn send(&mut self, msg_type: &str, content: Value) -> String {
        let message = message(msg_type, content);
        let id = message.header.msg_id.clone();
        self.shell.send(message).await.expect("it is sent");
        id
    }

    /// Sends a request on the control channel; returns its id.
    pub async fn send_control(&mut self, msg_type: &str, content: Value) -> String {
        let message = message(msg_type, content);
        let id = message.header.msg_id.clone();
        self.control.send(message).await.expect("it is sent");
        id
    }

    /// Sends a cell; returns the id of the request.
    pub async fn send_cell(&mut self, code: &str) -> String {
        self.send("execute_request", json!({ "code": code })).await
    }

    /// Receives the next reply on the shell channel.
    pub async fn reply(&mut self) -> Received {
        let frames = soon("a reply on shell", self.shell.socket.recv()).await;
        received(frames.expect("a message"), self.shell.mac.as_ref())
    }

    /// Receives the next reply on the control channel.
    pub async fn control_reply(&mut self) -> Received {
        let frames = soon("a reply on control", self.control.socket.recv()).await;
        received(frames.expect("a message"), self.control.mac.as_ref())
    }

    /// Receives the next input request on the stdin channel.
    pub async fn question(&mut self) -> Received {
        let frames = soon("a question on stdin", self.stdin.socket.recv()).await;
        received(frames.expect("a message"), self.stdin.mac.as_ref())
    }

    /// Receives the next IOPub message.
    pub async fn iopub(&mut self) -> Received {
        let frames = soon("a broadcast", self.iopub.socket.recv()).await;
        received(frames.expect("a message"), self.iopub.mac.as_ref())
    }

    /// Receives the IOPub messages of a request until its `idle`; `busy` and `idle` are not
    /// included.
    pub async fn broadcasts(&mut self, request: &str) -> Vec<Received> {
        let mut found = Vec::new();
        let mut busy = false;
        loop {
            let message = self.iopub().await;
            if message.parent != request {
                continue;
            }
            match message.content["execution_state"].as_str() {
                Some("busy") => busy = true,
                Some("idle") => {
                    assert!(busy, "idle without busy");
                    return found;
                }
                _ => {
                    assert!(busy, "{message:?} came before busy");
                    found.push(message);
                }
            }
        }
    }

    /// Runs a cell; returns its reply and its IOPub messages.
    pub async fn run(&mut self, code: &str) -> (Value, Vec<Received>) {
        self.ask("execute_request", json!({ "code": code })).await
    }

    /// Sends a request; returns its reply and its IOPub messages.
    pub async fn ask(&mut self, msg_type: &str, content: Value) -> (Value, Vec<Received>) {
        let id = self.send(msg_type, content).await;
        let reply = self.reply().await;
        assert_eq!(reply.parent, id);
        assert_eq!(reply.msg_type, msg_type.replace("_request", "_reply"));
        (reply.content, self.broadcasts(&id).await)
    }

    /// Waits until the kernel has read all earlier messages on the shell channel.
    pub async fn assert_read(&mut self) {
        self.send("comm_info_request", json!({})).await;
        assert_eq!(self.reply().await.msg_type, "comm_info_reply");
    }

    /// Asserts that the kernel still replies.
    pub async fn assert_alive(&mut self) {
        let (reply, _) = self.ask("kernel_info_request", json!({})).await;
        assert_eq!(reply["status"], "ok");
    }
}

/// Creates a request with the client library.
pub fn message(msg_type: &str, content: Value) -> JupyterMessage {
    JupyterMessage::new(
        UnknownMessage {
            msg_type: msg_type.to_owned(),
            content,
        },
        None,
    )
}

/// Decodes a message with the client library, which verifies its signature, and checks that its
/// content has the members that the library expects.
fn received(frames: ZmqMessage, key: Option<&hmac::Key>) -> Received {
    let parts = RawMessage::from_multipart(frames, &key.cloned())
        .expect("well signed")
        .jparts;
    let json = |index: usize| -> Value { serde_json::from_slice(&parts[index]).expect("JSON") };
    let header = json(0);
    let content = json(3);
    let msg_type = header["msg_type"].as_str().expect("a type").to_owned();
    assert_eq!(header["version"], "5.5");
    // A reply with the status `error` has only the members of an error.
    if content["status"] != "error"
        && let Err(error) = JupyterMessageContent::from_type_and_content(&msg_type, content.clone())
    {
        panic!("{msg_type} is not as the specification says: {error}: {content}");
    }
    Received {
        msg_type,
        parent: json(1)["msg_id"].as_str().unwrap_or_default().to_owned(),
        content,
    }
}
