//! The ways between a cell and the kernel: JSON lines on two inherited file descriptors.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::mem::ManuallyDrop;
use std::os::fd::{FromRawFd, RawFd};
use std::sync::{Mutex, OnceLock, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::MimeBundle;

/// The environment variable that names the file descriptor; set only in the process that runs cells.
const DISPLAY_FD: &str = "NOTEBOOK_DISPLAY_FD";

/// The environment variable that names that process. Programs that a cell starts inherit the variables but not the descriptor.
const DISPLAY_PID: &str = "NOTEBOOK_DISPLAY_PID";

/// The environment variable that names the file descriptor on which the kernel passes on what front ends say to comms.
const COMM_FD: &str = "NOTEBOOK_COMM_FD";

/// What a cell can tell the kernel.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
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
    /// Says something on a comm.
    Comm {
        /// What.
        #[serde(flatten)]
        message: &'a CommMessage,
    },
    /// Somebody reads what front ends say to comms, from now on.
    CommListen,
    /// What this thread shows from now on belongs to the message of this number.
    CommHandling {
        /// The number.
        token: u64,
    },
    /// The message is dealt with.
    CommHandled {
        /// Its number.
        token: u64,
    },
}

/// What one side says to the other on a comm.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct CommMessage {
    pub(crate) comm_id: String,
    pub(crate) what: CommWhat,
    /// Whom the new comm is for; of `open` only.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) target_name: String,
    #[serde(default)]
    pub(crate) data: Value,
    #[serde(default)]
    pub(crate) metadata: Value,
    /// Bytes beside the data, as base64 text.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) buffers: Vec<String>,
}

/// The kinds of what is said on a comm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum CommWhat {
    Open,
    Msg,
    Close,
}

/// What the kernel passes on.
#[derive(Debug, Deserialize)]
pub(crate) struct Incoming {
    /// The message's number.
    pub(crate) token: u64,
    #[serde(flatten)]
    pub(crate) message: CommMessage,
}

/// Reads what front ends say to comms and hands each message on, until the kernel is gone. `false` when there is no way for it.
pub(crate) fn read_comms(mut handle: impl FnMut(Incoming)) -> bool {
    let Some(fd) = std::env::var(COMM_FD).ok().and_then(|fd| parse_fd(&fd)) else {
        return false;
    };
    // SAFETY: the kernel keeps this descriptor open for the life of the process, and `ManuallyDrop` leaves it open here.
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
        // The kernel writes what it has read itself; a line that is none is left out like an unknown comm.
        if let Ok(incoming) = serde_json::from_slice(&line) {
            handle(incoming);
        }
    }
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
        (None, _) => {}
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
