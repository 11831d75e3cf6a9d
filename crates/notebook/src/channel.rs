//! The way from a cell to the kernel: JSON lines on an inherited file descriptor.

use std::fs::File;
use std::io::Write;
use std::mem::ManuallyDrop;
use std::os::fd::{FromRawFd, RawFd};
use std::sync::{Mutex, OnceLock, PoisonError};

use serde::Serialize;

use crate::MimeBundle;

/// The environment variable that names the file descriptor; set only in the process that runs cells.
const DISPLAY_FD: &str = "NOTEBOOK_DISPLAY_FD";

/// The environment variable that names that process. Programs that a cell starts inherit the variables but not the descriptor.
const DISPLAY_PID: &str = "NOTEBOOK_DISPLAY_PID";

/// What a cell can tell the kernel.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(crate) enum Message<'a> {
    /// Show this now.
    Display {
        /// The forms.
        data: MimeBundle,
        /// By which it can be updated.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a str>,
    },
    /// Replace what was shown under this id.
    Update {
        /// The forms.
        data: MimeBundle,
        /// Of the display to replace.
        id: &'a str,
    },
    /// Clear the cell's output.
    Clear {
        /// Whether to wait for new output.
        wait: bool,
    },
    /// This is the cell's value.
    Result {
        /// The forms.
        data: MimeBundle,
    },
}

/// The kernel's end of the way, when there is one.
#[derive(Debug)]
pub(crate) struct Channel {
    fd: RawFd,
    /// A large message takes several writes, which those of other threads must not come between.
    turn: Mutex<()>,
}

impl Channel {
    /// The channel of this process; `None` outside a notebook.
    pub(crate) fn get() -> Option<&'static Self> {
        static CHANNEL: OnceLock<Option<Channel>> = OnceLock::new();
        CHANNEL
            .get_or_init(|| {
                descriptor(DISPLAY_FD).map(|fd| Self {
                    fd,
                    turn: Mutex::new(()),
                })
            })
            .as_ref()
    }

    /// Sends a message after everything that was printed before it.
    pub(crate) fn send(&self, message: &Message<'_>) {
        let Ok(mut line) = serde_json::to_vec(message) else {
            // Unreachable: keys are strings and values are JSON already.
            return;
        };
        line.push(b'\n');
        // Text without a newline may still wait in the buffer; it was printed earlier and must be shown earlier.
        std::io::stdout().flush().ok();
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: the kernel keeps this descriptor open for the life of the process, and `ManuallyDrop` leaves it open here.
        #[allow(unsafe_code)]
        let mut file = ManuallyDrop::new(unsafe { File::from_raw_fd(self.fd) });
        if let Err(error) = file.write_all(&line) {
            eprintln!("cannot show this in the notebook: {error}\nhint: restart the kernel");
        }
    }
}

/// Sends a message to the kernel or, outside a notebook, prints the plain text in it.
pub(crate) fn send_or_print(message: &Message<'_>) {
    match (Channel::get(), message) {
        (Some(channel), message) => channel.send(message),
        (
            None,
            Message::Display { data, .. } | Message::Update { data, .. } | Message::Result { data },
        ) => {
            println!("{}", data.for_terminal());
        }
        (None, Message::Clear { .. }) => {}
    }
}

/// The descriptor that a variable names, when it was given to this process.
pub(crate) fn descriptor(variable: &str) -> Option<RawFd> {
    let fd = parse_fd(&std::env::var(variable).ok()?)?;
    let pid = std::env::var(DISPLAY_PID).ok();
    is_this_process(pid.as_deref()).then_some(fd)
}

/// A file descriptor apart from the standard streams.
fn parse_fd(text: &str) -> Option<RawFd> {
    text.parse().ok().filter(|fd| *fd > 2)
}

/// Whether the descriptor was given to this process; without a word about it, it was.
fn is_this_process(pid: Option<&str>) -> bool {
    pid.is_none_or(|pid| pid.parse() == Ok(std::process::id()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(message: &Message<'_>) -> String {
        serde_json::to_string(message).expect("messages are valid JSON")
    }

    #[test]
    fn messages_are_tagged_by_kind() {
        let data = MimeBundle::new().text("x");
        assert_eq!(
            json(&Message::Display {
                data: data.clone(),
                id: None
            }),
            r#"{"kind":"display","data":{"text/plain":"x"}}"#
        );
        assert_eq!(
            json(&Message::Update {
                data: data.clone(),
                id: "a"
            }),
            r#"{"kind":"update","data":{"text/plain":"x"},"id":"a"}"#
        );
        assert_eq!(
            json(&Message::Clear { wait: true }),
            r#"{"kind":"clear","wait":true}"#
        );
        assert_eq!(
            json(&Message::Result { data }),
            r#"{"kind":"result","data":{"text/plain":"x"}}"#
        );
    }

    #[test]
    fn a_message_is_one_line() {
        let data = MimeBundle::new().text("two\nlines");
        assert!(!json(&Message::Result { data }).contains('\n'));
    }

    #[test]
    fn a_descriptor_of_another_process_is_no_channel() {
        let own = std::process::id().to_string();
        assert!(is_this_process(Some(&own)));
        assert!(is_this_process(None));
        assert!(!is_this_process(Some("1")));
        assert!(!is_this_process(Some("")));
    }

    #[test]
    fn standard_streams_and_nonsense_are_no_channel() {
        assert_eq!(parse_fd("7"), Some(7));
        assert_eq!(parse_fd("1"), None);
        assert_eq!(parse_fd("-1"), None);
        assert_eq!(parse_fd("seven"), None);
    }
}
