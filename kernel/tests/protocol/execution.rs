//! Cells: their outputs, the order of these, and their replies.

use std::sync::Arc;
use std::time::{Duration, Instant};

use azureml_kernel_evaluator::{Analyst, Evaluator, Events, Interrupter, Outcome};
use serde_json::json;

use crate::client::{Kernel, Received, message};
use crate::scripted::Scripted;

/// Returns the types of the messages.
fn kinds(messages: &[Received]) -> Vec<&str> {
    messages
        .iter()
        .map(|message| message.msg_type.as_str())
        .collect()
}

#[tokio::test]
async fn a_cell_shows_its_input_its_output_and_its_value_in_order() {
    let kernel = Kernel::start();
    let mut client = kernel.connect().await;
    let (reply, shown) = client.run("print one\nprint two\nvalue 3").await;
    assert_eq!(reply["status"], "ok");
    assert_eq!(reply["execution_count"], 1);
    assert_eq!(reply["payload"], json!([]));
    assert_eq!(kinds(&shown), ["execute_input", "stream", "execute_result"]);
    assert_eq!(shown[0].content["code"], "print one\nprint two\nvalue 3");
    assert_eq!(shown[0].content["execution_count"], 1);
    assert_eq!(
        shown[1].content,
        json!({ "name": "stdout", "text": "one\ntwo\n" })
    );
    assert_eq!(
        shown[2].content,
        json!({ "execution_count": 1, "data": { "text/plain": "3" }, "metadata": {} })
    );
}

#[tokio::test]
async fn standard_output_and_error_keep_their_order() {
    let kernel = Kernel::start();
    let mut client = kernel.connect().await;
    let (_, shown) = client
        .run("print a\nprint b\neprint c\nprint d\ndisplay e\nprint f")
        .await;
    let texts: Vec<(&str, &str)> = shown[1..]
        .iter()
        .map(|message| {
            let name = message.content["name"].as_str();
            (name.unwrap_or(&message.msg_type), message.text())
        })
        .collect();
    assert_eq!(
        texts,
        [
            ("stdout", "a\nb\n"),
            ("stderr", "c\n"),
            ("stdout", "d\n"),
            ("display_data", ""),
            ("stdout", "f\n"),
        ]
    );
}

#[tokio::test]
async fn many_lines_come_in_few_messages_and_none_is_lost() {
    let kernel = Kernel::start();
    let mut client = kernel.connect().await;
    let (_, shown) = client.run("lines 100000").await;
    let text: String = shown.iter().map(Received::text).collect();
    let lines: Vec<String> = (0..100_000)
        .map(|number| format!("line {number}"))
        .collect();
    let expected = lines.join("\n") + "\n";
    assert!(text == expected, "{} bytes came", text.len());
    assert!(shown.len() < 1000, "{} messages", shown.len());
}

#[tokio::test]
async fn output_comes_while_the_cell_runs() {
    let kernel = Kernel::start();
    let mut client = kernel.connect().await;
    let id = client.send_cell("print early\nwait\nprint late").await;
    loop {
        let message = client.iopub().await;
        if message.msg_type == "stream" {
            assert_eq!(message.text(), "early\n");
            break;
        }
    }
    kernel.gate.open();
    loop {
        let message = client.iopub().await;
        if message.msg_type == "stream" {
            assert_eq!(message.text(), "late\n");
            assert_eq!(message.parent, id);
            break;
        }
    }
}

#[tokio::test]
async fn displays_are_updated_by_their_id() {
    let kernel = Kernel::start();
    let mut client = kernel.connect().await;
    let (_, shown) = client.run("display old\nupdate new\nclear").await;
    assert_eq!(
        kinds(&shown),
        [
            "execute_input",
            "display_data",
            "update_display_data",
            "clear_output"
        ]
    );
    for (message, text) in [(&shown[1], "old"), (&shown[2], "new")] {
        assert_eq!(message.content["data"]["text/plain"], text);
        assert_eq!(message.content["transient"]["display_id"], "id");
    }
    assert_eq!(shown[3].content, json!({ "wait": true }));
}

#[tokio::test]
async fn an_error_is_broadcast_and_in_the_reply() {
    let kernel = Kernel::start();
    let mut client = kernel.connect().await;
    let (reply, shown) = client.run("print before\nfail it broke").await;
    assert_eq!(kinds(&shown), ["execute_input", "stream", "error"]);
    assert_eq!(reply["status"], "error");
    assert_eq!(reply["execution_count"], 1);
    for content in [&reply, &shown[2].content] {
        assert_eq!(content["ename"], "Panic");
        assert_eq!(content["evalue"], "it broke");
        assert_eq!(content["traceback"], json!(["Panic: it broke"]));
    }
}

#[tokio::test]
async fn an_error_aborts_the_cells_that_wait_and_only_those() {
    let kernel = Kernel::start();
    let mut client = kernel.connect().await;
    client.send_cell("wait\nfail now").await;
    let second = client.send_cell("print never").await;
    client.send_cell("print never either").await;
    client.assert_read().await;
    kernel.gate.open();
    assert_eq!(client.reply().await.content["status"], "error");
    for _ in 0..2 {
        assert_eq!(client.reply().await.content, json!({ "status": "aborted" }));
    }
    assert!(kinds(&client.broadcasts(&second).await).is_empty());
    let (reply, _) = client.run("print again").await;
    assert_eq!(reply["status"], "ok");
    assert_eq!(reply["execution_count"], 2);
}

#[tokio::test]
async fn cells_run_on_after_an_error_when_they_are_asked_to() {
    let kernel = Kernel::start();
    let mut client = kernel.connect().await;
    let failing = json!({ "code": "wait\nfail now", "stop_on_error": false });
    client.send("execute_request", failing).await;
    client.send_cell("value 1").await;
    client.assert_read().await;
    kernel.gate.open();
    assert_eq!(client.reply().await.content["status"], "error");
    assert_eq!(client.reply().await.content["status"], "ok");
}

#[tokio::test]
async fn a_silent_cell_shows_nothing_and_does_not_count() {
    let kernel = Kernel::start();
    let mut client = kernel.connect().await;
    let silent = json!({ "code": "print x\nvalue 1", "silent": true });
    let (reply, shown) = client.ask("execute_request", silent).await;
    assert_eq!(reply["status"], "ok");
    assert!(shown.is_empty(), "{shown:?}");
    let (reply, _) = client.run("value 2").await;
    assert_eq!(reply["execution_count"], 1);
}

#[tokio::test]
async fn a_cell_outside_of_the_history_does_not_count() {
    let kernel = Kernel::start();
    let mut client = kernel.connect().await;
    let hidden = json!({ "code": "value 1", "store_history": false });
    let (_, shown) = client.ask("execute_request", hidden).await;
    assert_eq!(kinds(&shown), ["execute_input", "execute_result"]);
    let (reply, _) = client.run("value 2").await;
    assert_eq!(reply["execution_count"], 1);
    let (history, _) = client
        .ask(
            "history_request",
            json!({ "hist_access_type": "tail", "n": 10, "output": false, "raw": true }),
        )
        .await;
    assert_eq!(history["history"], json!([[0, 1, "value 2"]]));
}

#[tokio::test]
async fn an_empty_cell_is_fine_and_does_not_count() {
    let kernel = Kernel::start();
    let mut client = kernel.connect().await;
    for code in ["", " \n"] {
        let (reply, _) = client.run(code).await;
        assert_eq!(reply["status"], "ok");
    }
    let (reply, _) = client.run("value 1").await;
    assert_eq!(reply["execution_count"], 1);
}

#[tokio::test]
async fn user_expressions_are_evaluated_each() {
    let kernel = Kernel::start();
    let mut client = kernel.connect().await;
    let cell = json!({
        "code": "print x",
        "user_expressions": { "good": "value 7", "bad": "fail here" },
    });
    let (reply, _) = client.ask("execute_request", cell).await;
    let values = &reply["user_expressions"];
    assert_eq!(values["good"]["status"], "ok");
    assert_eq!(values["good"]["data"], json!({ "text/plain": "7" }));
    assert_eq!(values["bad"]["status"], "error");
    assert_eq!(values["bad"]["evalue"], "here");
}

#[tokio::test]
async fn a_panic_of_the_evaluator_is_an_error_and_the_kernel_lives() {
    let kernel = Kernel::start();
    let mut client = kernel.connect().await;
    let (reply, shown) = client.run("panic in the evaluator").await;
    assert_eq!(reply["status"], "error");
    assert_eq!(reply["ename"], "KernelError");
    assert!(
        reply["evalue"]
            .as_str()
            .is_some_and(|text| text.contains("in the evaluator"))
    );
    assert_eq!(kinds(&shown), ["execute_input", "error"]);
    let (reply, _) = client.run("value 1").await;
    assert_eq!(reply["status"], "ok");
}

#[tokio::test]
async fn an_interrupt_stops_the_cell_and_what_waits_behind_it() {
    let kernel = Kernel::start();
    let mut client = kernel.connect().await;
    let id = client.send_cell("print started\nwait").await;
    client.send_cell("print never").await;
    client.assert_read().await;
    while client.iopub().await.msg_type != "stream" {}
    client.send_control("interrupt_request", json!({})).await;
    assert_eq!(client.control_reply().await.content["status"], "ok");
    let reply = client.reply().await;
    assert_eq!(reply.parent, id);
    assert_eq!(reply.content["ename"], "Interrupted");
    assert_eq!(client.reply().await.content["status"], "aborted");
    let (reply, _) = client.run("value 1").await;
    assert_eq!(reply["status"], "ok");
}

#[tokio::test]
async fn the_evaluator_is_told_what_a_front_end_calls_a_cell() {
    let kernel = Kernel::start();
    let mut client = kernel.connect().await;
    client.run("value 1").await;
    let mut request = message("execute_request", json!({ "code": "name" }));
    request.metadata = json!({ "cellId": "5a0f" });
    client.shell.send(request).await.expect("it is sent");
    let reply = client.reply().await;
    let shown = client.broadcasts(&reply.parent).await;
    let value = shown
        .iter()
        .find(|one| one.msg_type == "execute_result")
        .expect("it has a value");
    assert_eq!(
        value.content["data"]["text/plain"],
        "CellName { id: Some(\"5a0f\"), count: Some(2) }"
    );
}

#[tokio::test]
async fn what_comes_between_cells_belongs_to_the_cell_that_started_it() {
    let kernel = Kernel::start();
    let mut client = kernel.connect().await;
    let first = client.send_cell("later from the first").await;
    client.reply().await;
    client.broadcasts(&first).await;
    client.run("value 2").await;
    kernel.gate.open();
    let late = client.iopub().await;
    assert_eq!(
        (late.msg_type.as_str(), late.text()),
        ("stream", "from the first\n")
    );
    assert_eq!(late.parent, first);
}

/// An evaluator that is busy with work that no cell requested.
struct Warming(Scripted);

impl Evaluator for Warming {
    fn execute(&mut self, code: &str, events: &dyn Events) -> Outcome {
        self.0.execute(code, events)
    }

    fn warm_up(&mut self) {
        self.0.gate.pass();
    }

    fn analyst(&self) -> Arc<dyn Analyst> {
        self.0.analyst()
    }

    fn interrupter(&self) -> Interrupter {
        self.0.interrupter()
    }
}

#[tokio::test]
async fn a_cell_that_waits_for_the_evaluator_is_stopped_at_once() {
    // Checks both states: before the evaluator has started, and while it warms up.
    for warming_up in [false, true] {
        let kernel = Kernel::start_with(move |gate| {
            if warming_up {
                return Ok(Box::new(Warming(Scripted::new(gate))));
            }
            gate.pass();
            Ok(Box::new(Scripted::new(gate)))
        });
        let mut client = kernel.connect().await;
        let first = client.send_cell("print never").await;
        let second = client.send_cell("print never either").await;
        client.assert_read().await;
        client.send_control("interrupt_request", json!({})).await;
        assert_eq!(client.control_reply().await.content["status"], "ok");
        let reply = client.reply().await;
        assert_eq!(reply.parent, first);
        assert_eq!(reply.content["status"], "error");
        assert_eq!(reply.content["ename"], "Interrupted");
        assert_eq!(reply.content["execution_count"], 1);
        assert_eq!(kinds(&client.broadcasts(&first).await), ["error"]);
        let reply = client.reply().await;
        assert_eq!(reply.parent, second);
        assert_eq!(reply.content["status"], "aborted");
        let third = client.send_cell("value 3").await;
        client.assert_read().await;
        kernel.gate.open();
        let reply = client.reply().await;
        assert_eq!(reply.parent, third);
        assert_eq!(reply.content["status"], "ok");
        assert_eq!(reply.content["execution_count"], 1);
    }
}

#[tokio::test]
async fn two_front_ends_get_their_own_replies() {
    let kernel = Kernel::start();
    let mut first = kernel.connect().await;
    let mut second = kernel.connect().await;
    let from_first = first.send_cell("value 1").await;
    let from_second = second.send_cell("value 2").await;
    assert_eq!(first.reply().await.parent, from_first);
    assert_eq!(second.reply().await.parent, from_second);
    assert_eq!(kinds(&first.broadcasts(&from_second).await).len(), 2);
}

#[tokio::test]
async fn a_front_end_that_reads_nothing_keeps_no_other_waiting() {
    let kernel = Kernel::start();
    let mut stalled = Vec::new();
    for _ in 0..3 {
        stalled.push(kernel.connect().await);
    }
    let mut client = kernel.connect().await;
    // More than the buffers between the kernel and a front end can hold.
    let (text, begin) = ("x".repeat(1 << 20), Instant::now());
    for _ in 0..40 {
        let (reply, shown) = client.run(&format!("value {text}")).await;
        assert_eq!(reply["status"], "ok");
        assert_eq!(kinds(&shown), ["execute_input", "execute_result"]);
    }
    assert!(begin.elapsed() < Duration::from_secs(20), "{begin:?}");
    // The unread messages are still available.
    for mut client in stalled {
        while client.iopub().await.msg_type != "execute_result" {}
    }
}

#[tokio::test]
async fn a_question_is_answered_on_a_page() {
    let kernel = Kernel::start();
    let mut client = kernel.connect().await;
    let (reply, shown) = client.run("?한글").await;
    assert_eq!(reply["status"], "ok");
    assert_eq!(
        reply["payload"],
        json!([{ "source": "page", "data": { "text/plain": "글" }, "start": 0 }])
    );
    assert_eq!(kinds(&shown), ["execute_input"]);
    let (complete, _) = client
        .ask("is_complete_request", json!({ "code": "?한글" }))
        .await;
    assert_eq!(complete["status"], "complete");
    let (reply, shown) = client.run("?").await;
    assert_eq!(reply["ename"], "NotFound");
    assert_eq!(kinds(&shown), ["execute_input", "error"]);
}
