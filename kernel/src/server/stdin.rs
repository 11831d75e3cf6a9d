//! The stdin channel: sends input requests of a cell to the front end that runs it, and receives
//! the replies.

use std::sync::Arc;
use std::sync::mpsc::Sender;

use azureml_kernel_evaluator::InputAnswer;
use serde_json::json;
use tokio::sync::mpsc;

use super::verifier::Verifier;
use crate::protocol::content::InputReply;
use crate::protocol::message::{Message, Parent, Session};
use crate::zmtp::Context;
use crate::zmtp::listener::Listener;
use crate::zmtp::router::{self, Receiver, Sender as FrontEnds};

/// The character that a terminal sends for the end of input (Ctrl-D).
const END_OF_INPUT: &str = "\u{4}";

enum Command {
    Ask {
        parent: Parent,
        prompt: String,
        password: bool,
        reply: Sender<InputAnswer>,
    },
    Cancel,
}

/// Sends input requests; cheap to clone, never blocks.
#[derive(Clone)]
pub struct Stdin {
    commands: mpsc::UnboundedSender<Command>,
}

impl Stdin {
    /// Requests input from the front end that sent `parent`.
    pub fn ask(&self, parent: &Parent, prompt: String, password: bool, reply: Sender<InputAnswer>) {
        // Cannot fail: the receiving task ends only with the process.
        let _ = self.commands.send(Command::Ask {
            parent: parent.clone(),
            prompt,
            password,
            reply,
        });
    }

    /// Cancels the pending input request.
    pub fn cancel(&self) {
        let _ = self.commands.send(Command::Cancel);
    }
}

/// Starts the task of the channel.
pub fn start(session: Arc<Session>, listener: Listener, context: &Context) -> Stdin {
    let (commands, receiver) = mpsc::unbounded_channel();
    let verifier = Verifier {
        session: session.clone(),
        channel: "stdin",
    };
    let (front_ends, answers) = router::start(listener, context, verifier);
    tokio::spawn(run(session, front_ends, answers, receiver));
    Stdin { commands }
}

async fn run(
    session: Arc<Session>,
    front_ends: FrontEnds,
    mut answers: Receiver<Message>,
    mut commands: mpsc::UnboundedReceiver<Command>,
) {
    let mut waiting: Option<Sender<InputAnswer>> = None;
    loop {
        tokio::select! {
            command = commands.recv() => match command {
                Some(Command::Ask { parent, prompt, password, reply }) => {
                    let question = session.encode(
                        &parent.identities,
                        "input_request",
                        Some(&parent),
                        &json!({ "prompt": prompt, "password": password }),
                    );
                    finish(&mut waiting, InputAnswer::Cancelled);
                    waiting = Some(reply);
                    if !front_ends.send(question) {
                        tracing::warn!("the front end cannot be asked for input: it has left");
                        finish(&mut waiting, InputAnswer::Unavailable);
                    }
                }
                Some(Command::Cancel) => {
                    finish(&mut waiting, InputAnswer::Cancelled);
                }
                None => return,
            },
            Some(message) = answers.recv() => answer(message, &mut waiting),
        }
    }
}

/// Completes the pending input request, if any; returns whether there was one.
fn finish(waiting: &mut Option<Sender<InputAnswer>>, answer: InputAnswer) -> bool {
    waiting.take().is_some_and(|sender| {
        // Fails if the cell has ended in the meantime.
        let _ = sender.send(answer);
        true
    })
}

fn answer(message: Message, waiting: &mut Option<Sender<InputAnswer>>) {
    if message.header.msg_type != "input_reply" {
        return tracing::warn!(
            msg_type = message.header.msg_type,
            "dropped a message on stdin"
        );
    }
    match serde_json::from_value::<InputReply>(message.content) {
        Ok(reply) => {
            let answer = if reply.value == END_OF_INPUT {
                InputAnswer::End
            } else {
                InputAnswer::Line(reply.value)
            };
            if !finish(waiting, answer) {
                tracing::warn!("dropped an input_reply that nobody asked for");
            }
        }
        Err(error) => tracing::warn!(%error, "dropped an input_reply"),
    }
}
