//! All requests of a front end other than running cells.

use std::fmt::Write;

use azureml_kernel_evaluator::Evaluator;
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::watch;
use zeromq::{DealerSocket, ReqSocket, Socket, SocketRecv, SocketSend, ZmqMessage};

use crate::client::{Client, Kernel, soon};
use crate::scripted::Scripted;

#[tokio::test]
async fn kernel_info_is_answered_before_the_evaluator_is_up() {
    let kernel = Kernel::start_with(|gate| {
        gate.pass();
        Ok(Box::new(Scripted::new(gate)))
    });
    let mut client = kernel.connect().await;
    let cell = client.send_cell("value 1").await;
    let (info, _) = client.ask("kernel_info_request", json!({})).await;
    assert_eq!(info["status"], "ok");
    assert_eq!(info["protocol_version"], "5.5");
    assert_eq!(info["implementation"], "azureml-kernel");
    let language = &info["language_info"];
    assert_eq!(language["name"], "rust");
    assert_eq!(language["version"], "1.2.3");
    assert_eq!(language["mimetype"], "text/x-rust");
    assert_eq!(language["file_extension"], ".rs");
    assert_eq!(language["pygments_lexer"], "rust");
    assert_eq!(language["codemirror_mode"], "rust");
    assert!(!info["help_links"].as_array().expect("links").is_empty());
    kernel.gate.open();
    let reply = client.reply().await;
    assert_eq!(reply.parent, cell);
    assert_eq!(reply.content["execution_count"], 1);
}

#[tokio::test]
async fn nothing_waits_for_the_version_of_the_language() {
    let start = |gate| Ok(Box::new(Scripted::new(gate)) as Box<dyn Evaluator>);
    let kernel = Kernel::start_as(start, watch::Sender::new(None));
    let mut client = kernel.connect().await;
    let asked = client.send("kernel_info_request", json!({})).await;
    let later = client.send("comm_info_request", json!({})).await;
    assert_eq!(client.reply().await.parent, later);
    kernel.version.send_replace(Some("2.0.0".to_owned()));
    let reply = client.reply().await;
    assert_eq!(reply.parent, asked);
    assert_eq!(reply.content["language_info"]["version"], "2.0.0");
}

#[tokio::test]
async fn control_and_heartbeat_answer_while_a_cell_runs() {
    let kernel = Kernel::start();
    let mut client = kernel.connect().await;
    let cell = client.send_cell("print started\nwait").await;
    while client.iopub().await.msg_type != "stream" {}
    client.send_control("kernel_info_request", json!({})).await;
    assert_eq!(client.control_reply().await.msg_type, "kernel_info_reply");
    // Front ends that evaluate only the last status must still see a busy kernel.
    let mut states = Vec::new();
    while states.len() < 3 {
        let message = client.iopub().await;
        if let Some(state) = message.content["execution_state"].as_str() {
            states.push((state.to_owned(), message.parent == cell));
        }
    }
    assert_eq!(
        states,
        [
            ("busy".to_owned(), false),
            ("idle".to_owned(), false),
            ("busy".to_owned(), true)
        ]
    );
    let mut heartbeat = ReqSocket::new();
    heartbeat
        .connect(&kernel.connection.hb_url())
        .await
        .expect("a heartbeat");
    heartbeat.send("beat".into()).await.expect("it is sent");
    soon("an echo", heartbeat.recv()).await.expect("an echo");
    kernel.gate.open();
    assert_eq!(client.reply().await.content["status"], "ok");
}

#[tokio::test]
async fn the_heartbeat_returns_the_very_bytes() {
    let kernel = Kernel::start();
    let _client = kernel.connect().await;
    let mut request = ReqSocket::new();
    request
        .connect(&kernel.connection.hb_url())
        .await
        .expect("a heartbeat");
    let large = vec![7; 300_000];
    for bytes in [&b"ping"[..], b"", b"\x00\xff\x80", &large] {
        request
            .send(Bytes::copy_from_slice(bytes).into())
            .await
            .expect("it is sent");
        let echo = soon("an echo", request.recv()).await.expect("an echo");
        assert_eq!(echo.into_vec(), [Bytes::copy_from_slice(bytes)]);
    }
    let mut dealer = DealerSocket::new();
    dealer
        .connect(&kernel.connection.hb_url())
        .await
        .expect("a heartbeat");
    let frames = vec![
        Bytes::from_static(b"a"),
        Bytes::new(),
        Bytes::from_static(b"b"),
    ];
    let message = ZmqMessage::try_from(frames.clone()).expect("frames");
    dealer.send(message).await.expect("it is sent");
    let echo = soon("an echo", dealer.recv()).await.expect("an echo");
    assert_eq!(echo.into_vec(), frames);
}

#[tokio::test]
async fn completion_inspect_carry_types_and_count_code_points() {
    let kernel = Kernel::start();
    let mut client = kernel.connect().await;
    // Three code points before the cursor, which are more bytes, more UTF-16 units and fewer
    // graphemes.
    let asked = json!({ "code": "한👩\u{200d}x", "cursor_pos": 3 });
    let (reply, _) = client.ask("complete_request", asked).await;
    assert_eq!(reply["status"], "ok");
    assert_eq!(reply["matches"], json!(["한👩\u{200d}!"]));
    assert_eq!(reply["cursor_start"], 0);
    assert_eq!(reply["cursor_end"], 3);
    assert_eq!(
        reply["metadata"]["_jupyter_types_experimental"],
        json!([{
            "start": 0, "end": 3, "text": "한👩\u{200d}!", "type": "function", "signature": "fn()",
        }])
    );
}

#[tokio::test]
async fn completion_inspect_are_answered_while_a_cell_runs() {
    let kernel = Kernel::start();
    let mut client = kernel.connect().await;
    let cell = client.send_cell("print started\nwait").await;
    while client.iopub().await.msg_type != "stream" {}
    let asked = json!({ "code": "ab", "cursor_pos": 1 });
    let (reply, _) = client.ask("complete_request", asked.clone()).await;
    assert_eq!(reply["matches"], json!(["a!"]));
    let (reply, _) = client.ask("inspect_request", asked).await;
    assert_eq!(reply["data"]["text/plain"], "b");
    kernel.gate.open();
    let reply = client.reply().await;
    assert_eq!(reply.parent, cell);
    assert_eq!(reply.content["status"], "ok");
}

#[tokio::test]
async fn a_cursor_behind_the_end_is_at_the_end() {
    let kernel = Kernel::start();
    let mut client = kernel.connect().await;
    let asked = json!({ "code": "ab", "cursor_pos": 99 });
    let (reply, _) = client.ask("complete_request", asked).await;
    assert_eq!(reply["cursor_end"], 2);
}

#[tokio::test]
async fn inspection_finds_something_or_says_so() {
    let kernel = Kernel::start();
    let mut client = kernel.connect().await;
    let asked = json!({ "code": "한글", "cursor_pos": 1, "detail_level": 0 });
    let (reply, _) = client.ask("inspect_request", asked).await;
    assert_eq!(reply["found"], true);
    assert_eq!(reply["data"]["text/plain"], "글");
    let asked = json!({ "code": "한글", "cursor_pos": 2, "detail_level": 0 });
    let (reply, _) = client.ask("inspect_request", asked).await;
    assert_eq!(reply["status"], "ok");
    assert_eq!(reply["found"], false);
    assert_eq!(reply["data"], json!({}));
}

#[tokio::test]
async fn history_is_complete_need_no_evaluator() {
    let kernel = Kernel::start();
    let mut client = kernel.connect().await;
    client.send_cell("wait").await;
    for (code, expected) in [
        ("print x", json!({ "status": "complete" })),
        (
            "open {",
            json!({ "status": "incomplete", "indent": "    " }),
        ),
        ("}", json!({ "status": "invalid" })),
    ] {
        let (reply, _) = client
            .ask("is_complete_request", json!({ "code": code }))
            .await;
        assert_eq!(reply, expected);
    }
    kernel.gate.open();
    assert_eq!(client.reply().await.content["status"], "ok");
}

#[tokio::test]
async fn history_is_complete_know_the_cells_and_their_values() {
    let kernel = Kernel::start();
    let mut client = kernel.connect().await;
    client.run("value 1").await;
    client.run("print x").await;
    client.run("value 3").await;
    for (asked, expected) in [
        (
            json!({ "hist_access_type": "tail", "n": 2, "raw": true, "output": false }),
            json!([[0, 2, "print x"], [0, 3, "value 3"]]),
        ),
        (
            json!({ "hist_access_type": "range", "session": 0, "start": 1, "stop": 3, "raw": true, "output": true }),
            json!([[0, 1, ["value 1", "1"]], [0, 2, ["print x", ""]]]),
        ),
        (
            json!({ "hist_access_type": "search", "pattern": "val*", "n": 1, "raw": true, "output": false }),
            json!([[0, 3, "value 3"]]),
        ),
    ] {
        let (reply, _) = client.ask("history_request", asked).await;
        assert_eq!(reply["status"], "ok");
        assert_eq!(reply["history"], expected);
    }
}

#[tokio::test]
async fn an_unknown_comm_target_is_closed() {
    let kernel = Kernel::start();
    let mut client = kernel.connect().await;
    let id = client
        .send(
            "comm_open",
            json!({ "comm_id": "c1", "target_name": "jupyter.widget", "data": {} }),
        )
        .await;
    let shown = client.broadcasts(&id).await;
    assert_eq!(shown.len(), 1);
    assert_eq!(shown[0].msg_type, "comm_close");
    assert_eq!(shown[0].content["comm_id"], "c1");
    for msg_type in ["comm_msg", "comm_close"] {
        let id = client
            .send(msg_type, json!({ "comm_id": "c1", "data": {} }))
            .await;
        assert!(client.broadcasts(&id).await.is_empty());
    }
    let (reply, _) = client.ask("comm_info_request", json!({})).await;
    assert_eq!(reply, json!({ "status": "ok", "comms": {} }));
}

/// Sends a request for a subshell on the shell channel; returns its id.
async fn send_to(
    kernel: &Kernel,
    client: &mut Client,
    subshell: &str,
    msg_type: &str,
    content: Value,
) -> String {
    let id = uuid::Uuid::new_v4().to_string();
    let header = json!({ "msg_id": id, "msg_type": msg_type, "subshell_id": subshell });
    let frames = [header, json!({}), json!({}), content].map(|part| part.to_string());
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, kernel.connection.key.as_bytes());
    let tag = ring::hmac::sign(&key, frames.concat().as_bytes());
    let mut signature = String::new();
    for byte in tag.as_ref() {
        write!(signature, "{byte:02x}").expect("a String takes all");
    }
    let mut all = vec![Bytes::from_static(b"<IDS|MSG>"), Bytes::from(signature)];
    all.extend(frames.map(Bytes::from));
    let message = ZmqMessage::try_from(all).expect("frames");
    client.shell.socket.send(message).await.expect("it is sent");
    id
}

/// Sends a request on the control channel; returns the content of its reply.
async fn control(client: &mut Client, msg_type: &str, content: Value) -> Value {
    client.send_control(msg_type, content).await;
    client.control_reply().await.content
}

#[tokio::test]
async fn protocol_subshells_answer_while_a_cell_runs() {
    let kernel = Kernel::start();
    let mut client = kernel.connect().await;
    let (info, _) = client.ask("kernel_info_request", json!({})).await;
    let features = info["supported_features"].as_array().expect("features");
    assert!(features.contains(&json!("kernel subshells")));
    client.run("value 1").await;
    let made = control(&mut client, "create_subshell_request", json!({})).await;
    let subshell = made["subshell_id"].as_str().expect("an id").to_owned();
    let list = control(&mut client, "list_subshell_request", json!({})).await;
    assert_eq!(list["subshell_id"], json!([subshell]));

    let cell = client.send_cell("wait").await;
    for (msg_type, content) in [
        ("kernel_info_request", json!({})),
        ("complete_request", json!({ "code": "a" })),
        ("inspect_request", json!({ "code": "a", "cursor_pos": 0 })),
        ("is_complete_request", json!({ "code": "a" })),
        (
            "history_request",
            json!({ "hist_access_type": "tail", "n": 9, "raw": true, "output": false }),
        ),
        ("comm_info_request", json!({})),
    ] {
        let id = send_to(&kernel, &mut client, &subshell, msg_type, content).await;
        let reply = client.reply().await;
        assert_eq!(reply.parent, id, "{msg_type}");
        assert_ne!(reply.content["status"], "error", "{msg_type}");
        if msg_type == "history_request" {
            assert_eq!(reply.content["history"], json!([[0, 1, "value 1"]]));
        }
    }
    // There is one evaluator, so a cell of a subshell waits in the queue.
    let content = json!({ "code": "fail here" });
    let failing = send_to(&kernel, &mut client, &subshell, "execute_request", content).await;
    let behind = client.send_cell("value 3").await;
    client.assert_read().await;
    kernel.gate.open();
    // A failure in one shell aborts no cells of another.
    for (id, status) in [(&cell, "ok"), (&failing, "error"), (&behind, "ok")] {
        let reply = client.reply().await;
        assert_eq!(
            (&reply.parent, &reply.content["status"]),
            (id, &json!(status))
        );
    }
    let content = json!({ "subshell_id": subshell });
    let deleted = control(&mut client, "delete_subshell_request", content.clone()).await;
    assert_eq!(deleted, json!({ "status": "ok" }));
    let again = control(&mut client, "delete_subshell_request", content).await;
    assert_eq!(again["status"], "error");
    let content = json!({ "code": "value 4" });
    let id = send_to(&kernel, &mut client, &subshell, "execute_request", content).await;
    let reply = client.reply().await;
    assert_eq!(reply.parent, id);
    assert_eq!(reply.content["ename"], "BadRequest");
    client.assert_alive().await;
}

#[tokio::test]
async fn variable_view_shows_names_types_and_values() {
    let kernel = Kernel::start();
    let mut client = kernel.connect().await;
    client.run("print x").await;
    let mut seq = 0;
    let mut command = |command: &str, arguments: Value| {
        seq += 1;
        json!({ "type": "request", "seq": seq, "command": command, "arguments": arguments })
    };
    let info = command("debugInfo", json!({}));
    let reply = control(&mut client, "debug_request", info.clone()).await;
    assert_eq!(reply["success"], true);
    assert_eq!(
        (&reply["command"], &reply["request_seq"]),
        (&json!("debugInfo"), &json!(1))
    );
    assert_eq!(reply["body"]["isStarted"], false);
    assert_eq!(reply["body"]["richRendering"], true);
    for name in ["initialize", "attach", "configurationDone"] {
        let reply = control(&mut client, "debug_request", command(name, json!({}))).await;
        assert_eq!(reply["success"], true, "{name}");
    }
    let reply = control(&mut client, "debug_request", info).await;
    assert_eq!(reply["body"]["isStarted"], true);
    let shown = |value: &str| {
        json!([{
            "name": "x", "value": value, "type": "Vec<u8>", "evaluateName": "x", "variablesReference": 0,
        }])
    };
    // While a cell runs, the last known values are returned, and no user code runs.
    let cell = client.send_cell("print started\nwait").await;
    while client.iopub().await.content["text"] != "started\n" {}
    let inspect = command("inspectVariables", json!({}));
    let reply = control(&mut client, "debug_request", inspect.clone()).await;
    assert_eq!(reply["body"]["variables"], shown(""));
    kernel.gate.open();
    assert_eq!(client.reply().await.parent, cell);
    let reply = control(&mut client, "debug_request", inspect.clone()).await;
    assert_eq!(reply["body"]["variables"], shown("value <1>"));

    let rich = command("richInspectVariables", json!({ "variableName": "x" }));
    let reply = control(&mut client, "debug_request", rich).await;
    let data = &reply["body"]["data"];
    assert_eq!(data["text/plain"], "x: Vec<u8> = value <1>");
    assert_eq!(
        data["text/html"],
        "<code>x: Vec&lt;u8&gt;</code><pre>value &lt;1&gt;</pre>"
    );
    let other = command("richInspectVariables", json!({ "variableName": "y" }));
    let reply = control(&mut client, "debug_request", other).await;
    assert_eq!(reply["success"], false);

    let points = command("setBreakpoints", json!({ "breakpoints": [{ "line": 2 }] }));
    let reply = control(&mut client, "debug_request", points).await;
    assert_eq!(reply["body"]["breakpoints"][0]["verified"], false);
    for name in ["evaluate", "stepIn"] {
        let reply = control(&mut client, "debug_request", command(name, json!({}))).await;
        assert_eq!(reply["success"], false, "{name}");
        assert!(reply["message"].is_string(), "{name}");
    }
    control(
        &mut client,
        "debug_request",
        command("disconnect", json!({})),
    )
    .await;
    let reply = control(
        &mut client,
        "debug_request",
        command("debugInfo", json!({})),
    )
    .await;
    assert_eq!(reply["body"]["isStarted"], false);
}

#[tokio::test]
async fn a_panic_while_answering_does_not_end_the_kernel() {
    let kernel = Kernel::start();
    let mut client = kernel.connect().await;
    let (reply, _) = client
        .ask("is_complete_request", json!({ "code": "panic" }))
        .await;
    assert_eq!(reply["status"], "unknown");
    client.assert_alive().await;
}
