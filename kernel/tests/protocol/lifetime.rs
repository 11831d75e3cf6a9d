//! The start and the end of a kernel.

use azureml_kernel::server::End;
use azureml_kernel_evaluator::CellError;
use serde_json::json;

use crate::client::{Client, Kernel, soon};

#[tokio::test]
async fn shutdown_ends_a_kernel_whose_cell_runs() {
    let kernel = Kernel::start();
    let mut client = kernel.connect().await;
    client.send_cell("print started\nwait").await;
    while client.iopub().await.msg_type != "stream" {}
    client
        .send_control("shutdown_request", json!({ "restart": false }))
        .await;
    let reply = client.control_reply().await;
    assert_eq!(reply.msg_type, "shutdown_reply");
    assert_eq!(reply.content, json!({ "status": "ok", "restart": false }));
    while client.iopub().await.msg_type != "shutdown_reply" {}
    let end = soon("the end", kernel.serving).await.expect("no panic");
    assert_eq!(end, End::Shutdown);
}

#[tokio::test]
async fn a_restart_is_a_shutdown_that_says_so() {
    let kernel = Kernel::start();
    let mut client = kernel.connect().await;
    client
        .send_control("shutdown_request", json!({ "restart": true }))
        .await;
    assert_eq!(client.control_reply().await.content["restart"], true);
    let end = soon("the end", kernel.serving).await.expect("no panic");
    assert_eq!(end, End::Restart);
}

#[tokio::test]
async fn shutdown_is_heard_on_shell_as_well() {
    let kernel = Kernel::start();
    let mut client = kernel.connect().await;
    client
        .send("shutdown_request", json!({ "restart": false }))
        .await;
    assert_eq!(client.reply().await.content["status"], "ok");
    let end = soon("the end", kernel.serving).await.expect("no panic");
    assert_eq!(end, End::Shutdown);
}

#[tokio::test]
async fn the_first_front_end_hears_what_was_said_before_it_came() {
    let kernel = Kernel::start();
    // Waits for the sockets with a connection that does not subscribe.
    soon("the sockets", async {
        while jupyter_zmq_client::create_client_control_connection(&kernel.connection, "probe")
            .await
            .is_err()
        {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let mut client = Client::connect(&kernel.connection).await;
    assert_eq!(client.iopub().await.msg_type, "iopub_welcome");
    let first = client.iopub().await;
    assert_eq!(first.content, json!({ "execution_state": "starting" }));
    assert_eq!(first.parent, "");
}

#[tokio::test]
async fn a_kernel_without_an_evaluator_says_why() {
    let kernel = Kernel::start_with(|_| {
        Err(CellError {
            ename: "KernelError".to_owned(),
            evalue: "there is no rustc".to_owned(),
            traceback: vec!["there is no rustc".to_owned(), "hint: get one".to_owned()],
        })
    });
    let mut client = kernel.connect().await;
    client.assert_alive().await;
    for _ in 0..2 {
        let (reply, shown) = client.run("value 1").await;
        assert_eq!(reply["status"], "error");
        assert_eq!(reply["evalue"], "there is no rustc");
        assert_eq!(shown[1].content["traceback"][1], "hint: get one");
    }
    let (reply, _) = client
        .ask("complete_request", json!({ "code": "ab", "cursor_pos": 1 }))
        .await;
    assert_eq!(reply["matches"], json!([]));
}

#[tokio::test]
async fn an_evaluator_that_panics_while_it_starts_is_a_kernel_without_one() {
    let kernel = Kernel::start_with(|_| panic!("no luck"));
    let mut client = kernel.connect().await;
    let (reply, _) = client.run("value 1").await;
    assert_eq!(reply["ename"], "KernelError");
    assert!(
        reply["evalue"]
            .as_str()
            .is_some_and(|text| text.contains("no luck"))
    );
}
