//! Invalid messages: each is dropped or refused, and the kernel still replies to the next one.

use std::fmt::Write;
use std::sync::{Arc, Mutex};

use azureml_kernel::protocol::message::Session;
use bytes::Bytes;
use serde_json::json;
use zeromq::{SocketSend, ZmqMessage};

use crate::client::{Client, Kernel};

/// Returns a signed message, whose frames a test then corrupts.
fn signed(kernel: &Kernel, msg_type: &str, content: &serde_json::Value) -> Vec<Bytes> {
    Session::new(&kernel.connection.key).encode(&[], msg_type, None, content)
}

/// Signs frames again, so that the error is in their content.
fn sign_again(kernel: &Kernel, frames: &mut [Bytes]) {
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, kernel.connection.key.as_bytes());
    let all: Vec<u8> = frames[2..6].concat();
    let tag = ring::hmac::sign(&key, &all);
    let mut text = String::new();
    for byte in tag.as_ref() {
        write!(text, "{byte:02x}").expect("a String takes all");
    }
    frames[1] = Bytes::from(text);
}

async fn send(client: &mut Client, frames: Vec<Bytes>) {
    for control in [false, true] {
        let message = ZmqMessage::try_from(frames.clone()).expect("frames");
        let sent = if control {
            client.control.socket.send(message).await
        } else {
            client.shell.socket.send(message).await
        };
        sent.expect("it is sent");
    }
}

async fn assert_both_channels_live(client: &mut Client) {
    client.assert_alive().await;
    client.send_control("kernel_info_request", json!({})).await;
    assert_eq!(client.control_reply().await.content["status"], "ok");
}

#[tokio::test]
async fn frames_that_are_no_message_are_dropped() {
    let kernel = Kernel::start();
    let mut client = kernel.connect().await;
    let good = signed(&kernel, "kernel_info_request", &json!({}));
    let mut wrong_signature = good.clone();
    wrong_signature[1] =
        Bytes::from_static(b"0000000000000000000000000000000000000000000000000000000000000000");
    let mut no_hex = good.clone();
    no_hex[1] = Bytes::from_static(b"\xff\x00 not hex");
    let mut tampered = good.clone();
    tampered[5] = Bytes::from_static(br#"{"code":"other"}"#);
    let mut cases = vec![
        wrong_signature,
        no_hex,
        tampered,
        vec![Bytes::new()],
        vec![Bytes::from_static(b"<IDS|MSG>")],
        vec![
            Bytes::from_static(b"no delimiter"),
            Bytes::from_static(b"{}"),
        ],
    ];
    for frames in 1..6 {
        cases.push(good[..frames].to_vec());
    }
    for frames in cases {
        send(&mut client, frames).await;
        assert_both_channels_live(&mut client).await;
    }
}

#[tokio::test]
async fn signed_nonsense_is_dropped() {
    let kernel = Kernel::start();
    let mut client = kernel.connect().await;
    for (frame, bytes) in [
        (2, &b"{broken"[..]),
        (2, b""),
        (2, b"[]"),
        (2, br#"{"msg_id": 5, "msg_type": "x"}"#),
        (2, br#"{"msg_id": "1"}"#),
        (3, b"{broken"),
        (3, b""),
        (3, b"\xff"),
        (4, b"{\"open\": "),
        (4, b""),
        (4, b"{} {}"),
        (5, b"{broken"),
        (5, b"\xff\xfe{}"),
        (5, b"[1]"),
        (5, b"null"),
        (5, b""),
    ] {
        let mut frames = signed(&kernel, "execute_request", &json!({ "code": "print x" }));
        frames[frame] = Bytes::copy_from_slice(bytes);
        sign_again(&kernel, &mut frames);
        send(&mut client, frames).await;
        assert_both_channels_live(&mut client).await;
    }
}

#[tokio::test]
async fn a_request_of_an_unknown_kind_is_refused() {
    let kernel = Kernel::start();
    let mut client = kernel.connect().await;
    let (reply, _) = client.ask("teleport_request", json!({})).await;
    assert_eq!(reply["status"], "error");
    assert!(
        reply["evalue"]
            .as_str()
            .is_some_and(|text| text.contains("teleport_request"))
    );
    let id = client.send("no_request_at_all", json!({})).await;
    assert!(client.broadcasts(&id).await.is_empty());
    client.assert_alive().await;
}

#[tokio::test]
async fn a_request_without_its_members_is_refused() {
    let kernel = Kernel::start();
    let mut client = kernel.connect().await;
    for (msg_type, content) in [
        ("execute_request", json!({})),
        ("execute_request", json!({ "code": 7 })),
        ("complete_request", json!({ "code": "x", "cursor_pos": -1 })),
        ("inspect_request", json!({ "cursor_pos": 1 })),
        ("history_request", json!({ "hist_access_type": "nonsense" })),
        ("shutdown_request", json!({ "restart": "perhaps" })),
    ] {
        let (reply, _) = client.ask(msg_type, content).await;
        assert_eq!(reply["status"], "error", "{msg_type}");
        assert_eq!(reply["ename"], "BadRequest", "{msg_type}");
    }
    let (reply, _) = client.ask("is_complete_request", json!({})).await;
    assert_eq!(reply["status"], "unknown");
    client.assert_alive().await;
}

#[tokio::test]
async fn a_cell_does_not_run_on_control() {
    let kernel = Kernel::start();
    let mut client = kernel.connect().await;
    client
        .send_control("execute_request", json!({ "code": "value 1" }))
        .await;
    assert_eq!(client.control_reply().await.content["status"], "error");
}

#[tokio::test]
async fn a_huge_cell_is_refused() {
    let kernel = Kernel::start();
    let mut client = kernel.connect().await;
    client.run("value 1").await;
    let (reply, shown) = client.run(&"x".repeat(100 << 20)).await;
    assert_eq!(reply["status"], "error");
    assert_eq!(reply["execution_count"], 2);
    // The notebook shows only this message.
    assert_eq!(shown.len(), 1, "{shown:?}");
    assert_eq!(shown[0].msg_type, "error");
    for content in [&reply, &shown[0].content] {
        assert_eq!(content["ename"], "BadRequest");
        assert!(
            content["traceback"][1]
                .as_str()
                .is_some_and(|text| text.starts_with("hint: "))
        );
    }
    client.assert_alive().await;
}

#[tokio::test]
async fn a_refused_cell_is_answered_in_its_turn_and_aborts_those_behind_it() {
    let kernel = Kernel::start();
    let mut client = kernel.connect().await;
    let first = client.send_cell("wait").await;
    let refused = client
        .send("execute_request", json!({ "code": 7, "silent": true }))
        .await;
    let third = client.send_cell("value 3").await;
    client.assert_read().await;
    kernel.gate.open();
    for (id, status) in [(first, "ok"), (refused, "error"), (third, "aborted")] {
        let reply = client.reply().await;
        assert_eq!(reply.parent, id);
        assert_eq!(reply.content["status"], status);
        assert!(
            client
                .broadcasts(&id)
                .await
                .iter()
                .all(|message| { message.msg_type != "error" })
        );
    }
}

#[tokio::test]
async fn what_is_dropped_is_logged() {
    let log = Log::default();
    let _logging = tracing::subscriber::set_default(
        tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer({
                let log = log.clone();
                move || log.clone()
            })
            .finish(),
    );
    let kernel = Kernel::start();
    let mut client = kernel.connect().await;
    let good = signed(&kernel, "kernel_info_request", &json!({}));
    for (frame, bytes, line) in [
        (1, &b"00"[..], "the signature is wrong"),
        (2, b"{", "the header is not valid"),
        (3, b"{", "the parent header is not valid"),
        (4, b"{", "the metadata is not valid"),
        (5, b"{", "the content is not valid"),
    ] {
        let mut frames = good.clone();
        frames[frame] = Bytes::from_static(bytes);
        if frame > 1 {
            sign_again(&kernel, &mut frames);
        }
        send(&mut client, frames).await;
        assert_both_channels_live(&mut client).await;
        let text = log.text();
        let lines: Vec<&str> = text.lines().filter(|text| text.contains(line)).collect();
        assert_eq!(lines.len(), 2, "one for each channel:\n{text}");
        assert!(lines[0].contains("WARN"), "{}", lines[0]);
    }
}

/// The captured log.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().expect("no panic")).into_owned()
    }
}

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no panic").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
