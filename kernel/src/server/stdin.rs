//! The stdin channel: carries a cell's question to the front end that runs it, and the answer back.

use std::sync::Arc;
use std::sync::mpsc::Sender;

use azureml_kernel_evaluator::InputAnswer;
use serde_json::json;
use tokio::sync::mpsc;
use zeromq::{RouterSendHalf, RouterSocket, SocketRecv, SocketSend, ZmqMessage};

use crate::protocol::content::InputReply;
use crate::protocol::message::{Parent, Session};

/// What a terminal sends for the end of the input (Ctrl-D).
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

/// Asks the front end; cheap to clone, never blocks.
#[derive(Clone)]
pub struct Stdin {
    commands: mpsc::UnboundedSender<Command>,
}

impl Stdin {
    /// Asks the front end that sent `parent`.
    pub fn ask(&self, parent: &Parent, prompt: String, password: bool, reply: Sender<InputAnswer>) {
        // The task that reads only ends with the process.
        let _ = self.commands.send(Command::Ask {
            parent: parent.clone(),
            prompt,
            password,
            reply,
        });
    }

    /// Gives up the question that waits for an answer.
    pub fn cancel(&self) {
        let _ = self.commands.send(Command::Cancel);
    }
}

/// Starts the task of the channel.
pub fn start(session: Arc<Session>, socket: RouterSocket) -> Stdin {
    let (commands, receiver) = mpsc::unbounded_channel();
    tokio::spawn(run(session, socket, receiver));
    Stdin { commands }
}

async fn run(
    session: Arc<Session>,
    socket: RouterSocket,
    mut commands: mpsc::UnboundedReceiver<Command>,
) {
    let (mut send_half, mut recv_half) = socket.split();
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
                    if !ask(&mut send_half, question).await {
                        finish(&mut waiting, InputAnswer::Unavailable);
                    }
                }
                Some(Command::Cancel) => {
                    finish(&mut waiting, InputAnswer::Cancelled);
                }
                None => return,
            },
            frames = recv_half.recv() => match frames {
                Ok(frames) => answer(&session, frames, &mut waiting),
                Err(error) => {
                    tracing::warn!(%error, "cannot receive on stdin");
                    tokio::task::yield_now().await;
                }
            },
        }
    }
}

async fn ask(half: &mut RouterSendHalf, question: ZmqMessage) -> bool {
    match half.send(question).await {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!(%error, "the front end cannot be asked for input");
            false
        }
    }
}

/// Answers the question that waits, if any; says whether there was one.
fn finish(waiting: &mut Option<Sender<InputAnswer>>, answer: InputAnswer) -> bool {
    waiting.take().is_some_and(|sender| {
        // The cell may have ended in the meantime.
        let _ = sender.send(answer);
        true
    })
}

fn answer(session: &Session, frames: ZmqMessage, waiting: &mut Option<Sender<InputAnswer>>) {
    let message = match session.decode(frames) {
        Ok(message) => message,
        Err(error) => return tracing::warn!(%error, "dropped a message on stdin"),
    };
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
