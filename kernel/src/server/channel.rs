//! The shell and control channels: receive requests and send replies.

use std::sync::Arc;

use super::handlers;
use super::kernel::Kernel;
use super::request::{Channel, Request};
use super::verifier::Verifier;
use crate::protocol::message::Message;
use crate::zmtp::Context;
use crate::zmtp::listener::Listener;
use crate::zmtp::router::{self, Receiver, Sender};

/// Starts the task that reads requests from a channel until the process ends. No message can end
/// it.
pub fn start(kernel: Arc<Kernel>, channel: Channel, listener: Listener, context: &Context) {
    let verifier = Verifier {
        session: kernel.session.clone(),
        channel: match channel {
            Channel::Shell => "shell",
            Channel::Control => "control",
        },
    };
    let (replies, requests) = router::start(listener, context, verifier);
    tokio::spawn(run(kernel, channel, replies, requests));
}

async fn run(
    kernel: Arc<Kernel>,
    channel: Channel,
    replies: Sender,
    mut requests: Receiver<Message>,
) {
    while let Some(message) = requests.recv().await {
        let request = Request::new(message, kernel.session.clone(), replies.clone());
        handlers::handle(&kernel, channel, request).await;
    }
}
