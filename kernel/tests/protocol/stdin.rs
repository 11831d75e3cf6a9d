//! Cells that request input.

use serde_json::json;

use crate::client::{Kernel, message};

#[tokio::test]
async fn the_answer_reaches_the_cell() {
    let kernel = Kernel::start();
    let mut client = kernel.connect().await;
    let id = client.send_cell("print before\nask name?\nask age?").await;
    for (prompt, answer) in [("name?", "Ada 한"), ("age?", "36")] {
        let question = client.question().await;
        assert_eq!(question.msg_type, "input_request");
        assert_eq!(question.parent, id);
        assert_eq!(
            question.content,
            json!({ "prompt": prompt, "password": false })
        );
        let answer = message("input_reply", json!({ "value": answer }));
        client.stdin.send(answer).await.expect("it is sent");
    }
    assert_eq!(client.reply().await.content["status"], "ok");
    let shown = client.broadcasts(&id).await;
    let text: String = shown.iter().map(crate::client::Received::text).collect();
    assert_eq!(text, "before\nAda 한\n36\n");
}

#[tokio::test]
async fn a_front_end_that_takes_no_questions_is_not_asked() {
    let kernel = Kernel::start();
    let mut client = kernel.connect().await;
    let cell = json!({ "code": "ask name?", "allow_stdin": false });
    let (reply, shown) = client.ask("execute_request", cell).await;
    assert_eq!(reply["status"], "ok");
    // The request has no reply, which differs from the end of the input.
    assert_eq!(shown[1].text(), "Err(RecvError)\n");
}

#[tokio::test]
async fn ctrl_d_is_the_end_of_the_input() {
    let kernel = Kernel::start();
    let mut client = kernel.connect().await;
    let id = client.send_cell("ask name?").await;
    client.question().await;
    let answer = message("input_reply", json!({ "value": "\u{4}" }));
    client.stdin.send(answer).await.expect("it is sent");
    assert_eq!(client.reply().await.content["status"], "ok");
    assert_eq!(client.broadcasts(&id).await[1].text(), "Ok(End)\n");
}

#[tokio::test]
async fn an_interrupt_ends_the_wait_for_an_answer() {
    let kernel = Kernel::start();
    let mut client = kernel.connect().await;
    let id = client.send_cell("ask name?").await;
    client.question().await;
    client.send_control("interrupt_request", json!({})).await;
    assert_eq!(client.reply().await.parent, id);
    let shown = client.broadcasts(&id).await;
    assert_eq!(shown[1].text(), "Ok(Cancelled)\n");
}

#[tokio::test]
async fn answers_that_nobody_asked_for_are_dropped() {
    let kernel = Kernel::start();
    let mut client = kernel.connect().await;
    let early = message("input_reply", json!({ "value": "early" }));
    client.stdin.send(early).await.expect("it is sent");
    let broken = message("input_reply", json!({ "value": 1 }));
    client.stdin.send(broken).await.expect("it is sent");
    let id = client.send_cell("ask name?").await;
    client.question().await;
    let answer = message("input_reply", json!({ "value": "asked" }));
    client.stdin.send(answer).await.expect("it is sent");
    assert_eq!(client.reply().await.content["status"], "ok");
    assert_eq!(client.broadcasts(&id).await[1].text(), "asked\n");
}
