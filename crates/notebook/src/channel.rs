//! The channels between a cell and the kernel: JSON lines on two inherited file descriptors.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::mem::ManuallyDrop;
use std::os::fd::{FromRawFd, RawFd};
use std::sync::{Mutex, OnceLock, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::MimeBundle;

/// The environment variable with the number of the file descriptor for messages to the kernel. It
/// is set only in the process that runs cells.
const DISPLAY_FD: &str = "NOTEBOOK_DISPLAY_FD";

/// The environment variable with the id of that process. Programs that a cell starts inherit the
/// variables but not the descriptor.
const DISPLAY_PID: &str = "NOTEBOOK_DISPLAY_PID";

/// The environment variable with the number of the file descriptor on which the kernel forwards
/// comm messages of front ends.
const COMM_FD: &str = "NOTEBOOK_COMM_FD";

/// A message from a cell to the kernel.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Message<'a> {
    /// Shows a value now.
    Display {
        /// The representations, by MIME type.
        data: MimeBundle,
        /// The id by which the display can be updated.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a str>,
    },
    /// Replaces the display of this id.
    Update {
        /// The representations, by MIME type.
        data: MimeBundle,
        /// The id of the display to replace.
        id: &'a str,
    },
    /// Clears the output of the cell.
    Clear {
        /// Whether to wait for new output before clearing.
        wait: bool,
    },
    /// Sets the value of the cell.
    Result {
        /// The representations, by MIME type.
        data: MimeBundle,
    },
    /// Sends a comm message to the front ends.
    Comm {
        /// The message.
        #[serde(flatten)]
        message: &'a CommMessage,
    },
    /// This process reads comm messages of front ends from now on.
    CommListen,
    /// Output of this thread from now on belongs to the comm message with this token.
    CommHandling {
        /// The token of the message.
        token: u64,
    },
    /// The comm message has been handled.
    CommHandled {
        /// The token of the message.
        token: u64,
    },
}

/// A comm message, in either direction.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct CommMessage {
    pub(crate) comm_id: String,
    pub(crate) what: CommMessageType,
    /// The target that opens the comm; set in `open` messages only.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) target_name: String,
    #[serde(default)]
    pub(crate) data: Value,
    #[serde(default)]
    pub(crate) metadata: Value,
    /// Binary buffers beside the data, as base64 text.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) buffers: Vec<String>,
}

/// The type of a comm message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum CommMessageType {
    Open,
    Msg,
    Close,
}

/// A comm message of a front end, as the kernel forwards it.
#[derive(Debug, Deserialize)]
pub(crate) struct Incoming {
    /// Identifies the message in [`Message::CommHandling`] and [`Message::CommHandled`].
    pub(crate) token: u64,
    #[serde(flatten)]
    pub(crate) message: CommMessage,
}

/// Reads comm messages of front ends and passes each to `handle`, until the kernel closes the
/// channel. Returns `false` when this process has no such channel.
pub(crate) fn read_comms(mut handle: impl FnMut(Incoming)) -> bool {
    let Some(fd) = std::env::var(COMM_FD).ok().and_then(|fd| parse_fd(&fd)) else {
        return false;
    };
    // SAFETY: the kernel keeps this descriptor open for the life of the process, and `ManuallyDrop`
    // leaves it open here.
    #[allow(unsafe_code)]
    let file = ManuallyDrop::new(unsafe { File::from_raw_fd(fd) });
    let mut reader = BufReader::with_capacity(64 << 10, &*file);
    let mut line = Vec::new();
    loop {
        line.clear();
        match reader.read_until(b'\n', &mut line) {
            Ok(length) if length > 0 => {}
            _ => return true,
        }
        // The kernel serialises each line itself. An invalid line is ignored, like a message to an
        // unknown comm.
        if let Ok(incoming) = serde_json::from_slice(&line) {
            handle(incoming);
        }
    }
}

/// The channel from this process to the kernel.
#[derive(Debug)]
pub(crate) struct Channel {
    fd: RawFd,
    /// A large message takes several writes. The lock prevents writes of other threads between
    /// them.
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

    /// Sends a message after all output that was printed before it.
    pub(crate) fn send(&self, message: &Message<'_>) {
        let Ok(mut line) = serde_json::to_vec(message) else {
            // Unreachable: keys are strings and values are JSON already.
            return;
        };
        line.push(b'\n');
        // Text without a newline may still be in the buffer. It was printed earlier and must be
        // shown earlier.
        std::io::stdout().flush().ok();
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: the kernel keeps this descriptor open for the life of the process, and
        // `ManuallyDrop` leaves it open here.
        #[allow(unsafe_code)]
        let mut file = ManuallyDrop::new(unsafe { File::from_raw_fd(self.fd) });
        if let Err(error) = file.write_all(&line) {
            eprintln!("cannot show this in the notebook: {error}\nhint: restart the kernel");
        }
    }
}

/// Sends a message to the kernel or, outside a notebook, prints its plain text.
pub(crate) fn send_or_print(message: &Message<'_>) {
    match (Channel::get(), message) {
        (Some(channel), message) => channel.send(message),
        (
            None,
            Message::Display { data, .. } | Message::Update { data, .. } | Message::Result { data },
        ) => {
            println!("{}", data.for_terminal());
        }
        (None, _) => {}
    }
}

/// The descriptor that a variable contains, when it was set for this process.
pub(crate) fn descriptor(variable: &str) -> Option<RawFd> {
    let fd = parse_fd(&std::env::var(variable).ok()?)?;
    let pid = std::env::var(DISPLAY_PID).ok();
    is_this_process(pid.as_deref()).then_some(fd)
}

/// Parses a file descriptor; the standard streams are not accepted.
fn parse_fd(text: &str) -> Option<RawFd> {
    text.parse().ok().filter(|fd| *fd > 2)
}

/// Whether the descriptor was set for this process. Without a process id in the environment it was.
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
