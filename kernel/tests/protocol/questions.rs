//! Everything that a front end asks besides running cells.

use azureml_kernel_evaluator::Evaluator;
use bytes::Bytes;
use serde_json::json;
use tokio::sync::watch;
use zeromq::{DealerSocket, ReqSocket, Socket, SocketRecv, SocketSend, ZmqMessage};

use crate::client::{Kernel, soon};
use crate::scripted::Scripted;

#[tokio::test]
async fn kernel_info_is_answered_before_the_evaluator_is_up() {
    let kernel = Kernel::start_with(|gate| {
        gate.pass();
        Ok(Box::new(Scripted { gate }))
    });
    let mut client = kernel.connect().await;
    let cell = client.send_cell("value 1").await;
    let (info, _) = client.ask("kernel_info_request", json!({})).await;
    assert_eq!(info["status"], "ok");
    assert_eq!(info["protocol_version"], "5.4");
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
    let start = |gate| Ok(Box::new(Scripted { gate }) as Box<dyn Evaluator>);
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
    // Front ends that look at the last status alone must still see a busy kernel.
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
async fn completions_carry_types_and_count_code_points() {
    let kernel = Kernel::start();
    let mut client = kernel.connect().await;
    // Three code points before the cursor; more bytes, more UTF-16 units, fewer letters.
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
async fn completion_and_inspection_do_not_wait_for_a_running_cell() {
    let kernel = Kernel::start();
    let mut client = kernel.connect().await;
    client.send_cell("wait").await;
    let asked = json!({ "code": "ab", "cursor_pos": 1 });
    let (reply, _) = client.ask("complete_request", asked.clone()).await;
    assert_eq!(reply["status"], "ok");
    assert_eq!(reply["matches"], json!([]));
    let (reply, _) = client.ask("inspect_request", asked.clone()).await;
    assert_eq!(reply["found"], false);
    kernel.gate.open();
    assert_eq!(client.reply().await.content["status"], "ok");
    // From the reply on, the evaluator answers.
    let (reply, _) = client.ask("complete_request", asked).await;
    assert_eq!(reply["matches"], json!(["a!"]));
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
async fn completeness_is_judged_without_the_evaluator() {
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
async fn history_knows_the_cells_and_their_values() {
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

#[tokio::test]
async fn debugging_is_refused_politely() {
    let kernel = Kernel::start();
    let mut client = kernel.connect().await;
    let asked = json!({ "type": "request", "seq": 1, "command": "debugInfo" });
    client.send_control("debug_request", asked).await;
    let reply = client.control_reply().await;
    assert_eq!(reply.msg_type, "debug_reply");
    assert_eq!(reply.content["success"], false);
    assert_eq!(reply.content["command"], "debugInfo");
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
