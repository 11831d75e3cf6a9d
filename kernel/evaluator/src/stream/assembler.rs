//! Converts frames of the cell process to events, and to the lines that another engine needs.
//!
//! Generated code of such an engine prints [marker](crate::compatibility) lines on standard output.
//! The assembler removes them from the stream. Markers addressed to the engine itself (a panic, a
//! failed `?`, a variable that changed its type) are forwarded only at the positions where generated
//! code prints them. The same text printed by user code remains ordinary output.

use serde::Deserialize;

use super::decoder::Decoder;
use super::run_end::{Panic, RunEnd};
use crate::comm::Notice;
use crate::compatibility::{
    BEGIN_CONTENT, END_CONTENT, ERROR_FOLLOWS, INPUT_REQUEST, LEFT_EARLY, MARKER, PANICKED,
    PASSWORD_REQUEST, TYPE_CHANGED,
};
use crate::ending::CANCELED;
use crate::{CommMessage, Event, MimeBundle};

/// A message from the crate `notebook`.
#[derive(Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum DisplayMessage {
    Display {
        data: MimeBundle,
        id: Option<String>,
    },
    Update {
        data: MimeBundle,
        id: String,
    },
    Clear {
        #[serde(default)]
        wait: bool,
    },
    Result {
        data: MimeBundle,
    },
    Comm(CommMessage),
    CommListen,
    CommHandling {
        token: u64,
    },
    CommHandled {
        token: u64,
    },
}

/// Output that is held back until the next output shows its meaning.
#[derive(Debug)]
enum Held {
    /// A panic that either ends the cell or is caught by user code.
    Panic(Panic),
    /// Text after the error marker: of a failed `?`, or of user code that prints a variable
    /// `error`.
    Error(String),
    /// A marker that generated code prints last; user code may print it at any time.
    Line(&'static str),
}

/// A value in several representations, while it is being assembled.
#[derive(Debug)]
struct Bundle {
    data: MimeBundle,
    /// Whether further representations may be added.
    open: bool,
}

/// Assembles events; see the module documentation.
#[derive(Debug, Default)]
pub(crate) struct Assembler {
    stdout: Decoder,
    stderr: Decoder,
    thread_stdout: Decoder,
    thread_stderr: Decoder,
    piped_stdout: Decoder,
    piped_stderr: Decoder,
    /// An incomplete line that may become a marker, or that is inside a content block.
    line: Vec<u8>,
    /// The MIME type of the current content block and its lines so far.
    content: Option<(String, Vec<u8>)>,
    bundle: Option<Bundle>,
    display: Vec<u8>,
    /// The text of the cell's value so far.
    value: Vec<u8>,
    held: Option<Held>,
    /// The last panic. Kept when other output follows it, such as output of a `Drop`
    /// implementation.
    last_panic: Option<Panic>,
    panic: Option<Panic>,
    error: Option<String>,
    prompt: Option<(String, bool)>,
    /// The text written to standard error since the last standard output.
    last_stderr: String,
    for_engine: String,
    events: Vec<Event>,
    notices: Vec<Notice>,
    /// Length of the prefix of `display` that contains no newline.
    searched: usize,
}

impl Assembler {
    /// Takes the notices for the comms, in order.
    pub(crate) fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    /// Takes all output of the comm thread as notices.
    pub(crate) fn take_all_notices(&mut self) -> Vec<Notice> {
        self.show_bundle();
        self.note_events();
        self.take_notices()
    }

    fn note_events(&mut self) {
        self.notices
            .extend(self.events.drain(..).map(Notice::Event));
    }

    /// Takes the events so far, in order.
    pub(crate) fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// Whether text is held back that must be shown when no output follows soon.
    pub(crate) fn holds_text(&self) -> bool {
        matches!(self.held, Some(Held::Error(_)))
    }

    /// Shows the held-back output.
    pub(crate) fn release(&mut self) {
        match self.held.take() {
            // Caused by an interrupt; the error of the cell reports it.
            Some(Held::Panic(panic)) if panic.message.contains(CANCELED) => {}
            Some(Held::Panic(panic)) => self.push_stderr(&panic.text()),
            Some(Held::Error(text)) => self.push_stderr(&text),
            Some(Held::Line(line)) => self.push_stdout(&format!("{line}\n")),
            None => {}
        }
    }

    /// Takes the bytes of one write to standard output by the cell thread.
    pub(crate) fn stdout(&mut self, bytes: &[u8]) {
        let contains = |word: &str| {
            bytes
                .windows(word.len())
                .any(|window| window == word.as_bytes())
        };
        if self.line.is_empty() && self.content.is_none() && !contains(MARKER) {
            self.stdout_text(bytes);
            return;
        }
        let joined = [std::mem::take(&mut self.line), bytes.to_vec()].concat();
        for line in joined.split_inclusive(|byte| *byte == b'\n') {
            match line.strip_suffix(b"\n") {
                Some(whole) => self.stdout_line(whole),
                None if self.content.is_some() || line.starts_with(MARKER.as_bytes()) => {
                    line.clone_into(&mut self.line);
                }
                None => self.stdout_text(line),
            }
        }
    }

    /// Takes the bytes of one write to standard error by the cell thread.
    pub(crate) fn stderr(&mut self, bytes: &[u8]) {
        if bytes == ERROR_FOLLOWS {
            self.release();
            self.held = Some(Held::Error(String::new()));
            return;
        }
        let text = self.stderr.push(bytes);
        if let Some(Held::Error(held)) = &mut self.held {
            held.push_str(&text);
        } else {
            self.stderr_text(&text);
        }
    }

    /// Takes standard output of another thread of user code, independent of the cell's own output.
    pub(crate) fn thread_stdout(&mut self, bytes: &[u8]) {
        let text = self.thread_stdout.push(bytes);
        self.add_text(&text, Event::Stdout);
    }

    /// Takes standard error of another thread of user code.
    pub(crate) fn thread_stderr(&mut self, bytes: &[u8]) {
        let text = self.thread_stderr.push(bytes);
        self.add_text(&text, Event::Stderr);
    }

    /// Takes bytes from the standard output pipe: output of C code or of a started program.
    pub(crate) fn piped_stdout(&mut self, bytes: &[u8]) {
        let text = self.piped_stdout.push(bytes);
        self.release();
        self.push_stdout(&text);
    }

    /// Takes bytes from the standard error pipe.
    pub(crate) fn piped_stderr(&mut self, bytes: &[u8]) {
        let text = self.piped_stderr.push(bytes);
        self.release();
        self.push_stderr(&text);
    }

    /// Takes bytes of the display channel.
    pub(crate) fn display(&mut self, bytes: &[u8]) {
        self.display.extend_from_slice(bytes);
        // Searches only the new bytes: a message may arrive in hundreds of parts.
        while let Some(end) = self.display[self.searched..]
            .iter()
            .position(|byte| *byte == b'\n')
        {
            let line: Vec<u8> = self.display.drain(..=self.searched + end).collect();
            self.searched = 0;
            match serde_json::from_slice(&line) {
                Ok(message) => self.display_message(message),
                Err(error) => tracing::warn!(%error, "a cell sent a display message that is none"),
            }
        }
        self.searched = self.display.len();
    }

    /// Takes a panic on the cell thread: `place NUL message`.
    pub(crate) fn panic(&mut self, text: &[u8]) {
        self.release();
        if self.content.is_none() && !self.line.is_empty() {
            let line = std::mem::take(&mut self.line);
            self.stdout_text(&line);
        }
        let text = String::from_utf8_lossy(text);
        let (place, message) = text.split_once('\0').unwrap_or(("", &text));
        let panic = Panic {
            place: place.to_owned(),
            message: message.to_owned(),
        };
        // A panic caused by an earlier panic that cannot unwind adds no information.
        let follows = panic
            .message
            .starts_with("panic in a function that cannot unwind")
            || panic
                .message
                .starts_with("panic in a destructor during cleanup");
        if !follows || self.last_panic.is_none() {
            self.last_panic = Some(panic.clone());
        }
        self.held = Some(Held::Panic(panic));
    }

    /// Records that the last panic has ended the cell.
    pub(crate) fn panicked(&mut self) {
        self.held = None;
        self.panic = self.last_panic.take();
    }

    /// Records the error with which `?` has ended the cell.
    pub(crate) fn failed(&mut self, text: &[u8]) {
        self.release();
        self.error = Some(String::from_utf8_lossy(text).trim_end().to_owned());
    }

    /// Takes part of the text of the cell's value; an empty part ends it.
    pub(crate) fn value(&mut self, text: &[u8]) {
        self.value.extend_from_slice(text);
        if text.is_empty() {
            let value = std::mem::take(&mut self.value);
            self.add_content("text/plain".to_owned(), &value);
        }
    }

    /// Takes the prompt of the input request, and whether the front end must hide the typed text.
    pub(crate) fn take_prompt(&mut self) -> (String, bool) {
        self.release();
        self.prompt.take().unwrap_or_default()
    }

    /// Finishes the run after the function has returned.
    pub(crate) fn finish(&mut self) -> RunEnd {
        self.flush_parts();
        match self.held.take() {
            Some(Held::Line(PANICKED)) => {
                let panic = self.last_panic.take().unwrap_or_else(|| Panic {
                    place: String::new(),
                    message: "the cell panicked".to_owned(),
                });
                self.accept_panic(panic);
            }
            Some(Held::Line(_)) => {
                let text = std::mem::take(&mut self.last_stderr);
                self.accept_error(
                    text.lines()
                        .last()
                        .unwrap_or("an error was returned")
                        .to_owned(),
                );
            }
            other => {
                self.held = other;
                self.release();
            }
        }
        let (panic, error) = (self.panic.take(), self.error.take());
        if panic.is_some() || error.is_some() {
            self.show_bundle();
        }
        self.prompt = None;
        self.last_panic = None;
        self.last_stderr.clear();
        RunEnd {
            for_engine: std::mem::take(&mut self.for_engine),
            panic,
            error,
            value: self.bundle.take().map(|bundle| bundle.data),
        }
    }

    /// Handles the end of the process during a function.
    ///
    /// Returns the last panic, which may be the cause.
    pub(crate) fn died(&mut self) -> Option<Panic> {
        self.flush_parts();
        let panic = self.last_panic.take();
        self.release();
        self.show_bundle();
        let events = self.take_events();
        *self = Self {
            events,
            ..Self::default()
        };
        panic
    }

    /// Shows incomplete lines, content blocks and characters.
    fn flush_parts(&mut self) {
        if let Some((mime_type, mut content)) = self.content.take() {
            content.append(&mut self.line);
            self.add_content(mime_type, &content);
        } else if !self.line.is_empty() {
            let line = std::mem::take(&mut self.line);
            self.stdout_text(&line);
        }
        for (text, to_stderr) in [
            (self.stdout.finish(), false),
            (self.thread_stdout.finish(), false),
            (self.piped_stdout.finish(), false),
            (self.thread_stderr.finish(), true),
            (self.stderr.finish(), true),
            (self.piped_stderr.finish(), true),
        ] {
            if to_stderr {
                self.push_stderr(&text);
            } else {
                self.push_stdout(&text);
            }
        }
        // `display` is kept: another thread may be in the middle of a message.
    }

    /// Handles a whole line of standard output, without its newline.
    fn stdout_line(&mut self, line: &[u8]) {
        if let Some((mime_type, content)) = &mut self.content {
            if line != END_CONTENT.as_bytes() {
                content.extend_from_slice(line);
                content.push(b'\n');
                return;
            }
            let (mime_type, mut content) = (std::mem::take(mime_type), std::mem::take(content));
            self.content = None;
            content.pop_if(|byte| *byte == b'\n');
            self.add_content(mime_type, &content);
            return;
        }
        let text = String::from_utf8_lossy(line);
        if text == PANICKED {
            match self.held.take() {
                Some(Held::Panic(panic)) => self.accept_panic(panic),
                other => self.hold(other, PANICKED),
            }
        } else if text == LEFT_EARLY {
            match self.held.take() {
                Some(Held::Error(error)) => self.accept_error(error.trim_end().to_owned()),
                other => self.hold(other, LEFT_EARLY),
            }
        } else if let Some(variable) = text.strip_prefix(TYPE_CHANGED)
            && self.last_stderr.ends_with(&format!(
                "The type of the variable {variable} was redefined, so was lost.\n"
            ))
        {
            self.for_engine.push_str(&text);
            self.for_engine.push('\n');
        } else if let Some(prompt) = text.strip_prefix(PASSWORD_REQUEST) {
            self.prompt = Some((prompt.to_owned(), true));
        } else if let Some(prompt) = text.strip_prefix(INPUT_REQUEST) {
            self.prompt = Some((prompt.to_owned(), false));
        } else if let Some((before, mime_type)) = content_start(&text) {
            if !before.is_empty() {
                self.stdout_text(before.as_bytes());
            }
            self.release();
            self.content = Some((mime_type.to_owned(), Vec::new()));
        } else {
            let mut line = line.to_owned();
            line.push(b'\n');
            self.stdout_text(&line);
        }
    }

    fn hold(&mut self, earlier: Option<Held>, line: &'static str) {
        self.held = earlier;
        self.release();
        self.held = Some(Held::Line(line));
    }

    fn accept_panic(&mut self, panic: Panic) {
        self.for_engine.push_str(PANICKED);
        self.for_engine.push('\n');
        self.panic = Some(panic);
    }

    fn accept_error(&mut self, error: String) {
        self.for_engine.push_str(LEFT_EARLY);
        self.for_engine.push('\n');
        self.error = Some(error);
    }

    fn stdout_text(&mut self, bytes: &[u8]) {
        let text = self.stdout.push(bytes);
        self.release();
        self.push_stdout(&text);
    }

    fn stderr_text(&mut self, text: &str) {
        self.release();
        self.push_stderr(text);
    }

    fn push_stdout(&mut self, text: &str) {
        self.last_stderr.clear();
        self.show_bundle_before(text);
        self.add_text(text, Event::Stdout);
    }

    fn push_stderr(&mut self, text: &str) {
        self.last_stderr.push_str(text);
        self.show_bundle_before(text);
        self.add_text(text, Event::Stderr);
    }

    /// Appends text to the last event if it is of the same stream; otherwise adds an event.
    fn add_text(&mut self, text: &str, stream: fn(String) -> Event) {
        let event = stream(text.to_owned());
        match (self.events.last_mut(), event) {
            _ if text.is_empty() => {}
            (Some(Event::Stdout(last)), Event::Stdout(text))
            | (Some(Event::Stderr(last)), Event::Stderr(text)) => last.push_str(&text),
            (_, event) => self.events.push(event),
        }
    }

    /// Displays a pending value before the text that follows it. A value with no text after it
    /// becomes the cell's value.
    fn show_bundle_before(&mut self, text: &str) {
        if !text.trim().is_empty() {
            self.show_bundle();
        }
    }

    fn show_bundle(&mut self) {
        if let Some(bundle) = self.bundle.take() {
            self.events.push(Event::Display {
                data: bundle.data,
                id: None,
            });
        }
    }

    /// Adds a representation to the pending value, or starts the next value if that type is already
    /// present.
    fn add_content(&mut self, mime_type: String, content: &[u8]) {
        self.release();
        let text = String::from_utf8_lossy(content);
        let is_json = mime_type == "application/json" || mime_type.ends_with("+json");
        let content = is_json
            .then(|| serde_json::from_str(&text).ok())
            .flatten()
            .unwrap_or_else(|| text.into());
        match &mut self.bundle {
            Some(bundle) if bundle.open && !bundle.data.contains_key(&mime_type) => {
                bundle.data.insert(mime_type, content);
            }
            _ => {
                self.show_bundle();
                self.bundle = Some(Bundle {
                    data: MimeBundle::from([(mime_type, content)]),
                    open: true,
                });
            }
        }
    }

    fn display_message(&mut self, message: DisplayMessage) {
        let notice = match message {
            DisplayMessage::Comm(message) => Notice::Event(Event::Comm(Box::new(message))),
            DisplayMessage::CommListen => Notice::Listening,
            DisplayMessage::CommHandling { token } => Notice::Handling(token),
            DisplayMessage::CommHandled { token } => Notice::Handled(token),
            shown => return self.shown(shown),
        };
        if matches!(notice, Notice::Handled(_)) {
            // Sent by the comm thread: the output of the callback precedes the notice.
            self.show_bundle();
            self.note_events();
        }
        self.notices.push(notice);
    }

    fn shown(&mut self, message: DisplayMessage) {
        self.release();
        self.show_bundle();
        match message {
            DisplayMessage::Display { data, id } => self.events.push(Event::Display { data, id }),
            DisplayMessage::Update { data, id } => {
                self.events.push(Event::UpdateDisplay { data, id });
            }
            DisplayMessage::Clear { wait } => self.events.push(Event::ClearOutput { wait }),
            DisplayMessage::Result { data } => {
                self.bundle = Some(Bundle { data, open: false });
            }
            // These variants were handled by `display_message`.
            DisplayMessage::Comm(_)
            | DisplayMessage::CommListen
            | DisplayMessage::CommHandling { .. }
            | DisplayMessage::CommHandled { .. } => {}
        }
    }
}

/// Returns the text before a content block and the MIME type, if the line starts a block.
fn content_start(line: &str) -> Option<(&str, &str)> {
    let (before, mime_type) = line.split_once(BEGIN_CONTENT)?;
    // Drops parameters such as the character set.
    let mime_type = mime_type.split(';').next().unwrap_or_default().trim_end();
    let (kind, rest) = mime_type.split_once('/')?;
    let is_word = |text: &str| {
        !text.is_empty()
            && text
                .chars()
                .all(|character| character.is_ascii_alphanumeric() || "-+._".contains(character))
    };
    (is_word(kind) && is_word(rest)).then_some((before, mime_type))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The events as lines, for comparison.
    fn shown(assembler: &mut Assembler) -> Vec<String> {
        assembler
            .take_events()
            .into_iter()
            .map(|event| match event {
                Event::Stdout(text) => format!("out {text}"),
                Event::Stderr(text) => format!("err {text}"),
                Event::Display { data, id } => format!("display {} {id:?}", json!(data)),
                Event::UpdateDisplay { data, id } => format!("update {} {id}", json!(data)),
                Event::ClearOutput { wait } => format!("clear {wait}"),
                Event::Comm(message) => format!("comm {}", message.comm_id),
                Event::Input { prompt, .. } => format!("input {prompt}"),
            })
            .collect()
    }

    #[test]
    fn text_passes_at_once_and_in_order() {
        let mut assembler = Assembler::default();
        assembler.stdout(b"a");
        assembler.stderr(b"b\n");
        assembler.stdout(b"c");
        assembler.stdout(b"d\n");
        assert_eq!(shown(&mut assembler), ["out a", "err b\n", "out cd\n"]);
    }

    #[test]
    fn a_panic_is_taken_out_of_the_stream() {
        let mut assembler = Assembler::default();
        assembler.stdout(b"before");
        assembler.panic(b"src/lib.rs:3:4\0went wrong");
        assembler.stdout(b"EVCXR_PANIC_NOTIFICATION\n");
        let end = assembler.finish();
        assert_eq!(end.for_engine, "EVCXR_PANIC_NOTIFICATION\n");
        assert_eq!(end.panic.expect("a panic").message, "went wrong");
        assert_eq!(shown(&mut assembler), ["out before"]);
    }

    #[test]
    fn a_panic_that_is_caught_is_shown() {
        let mut assembler = Assembler::default();
        assembler.panic(b"src/lib.rs:3:4\0went wrong");
        assembler.stdout(b"caught\n");
        let end = assembler.finish();
        assert!(end.panic.is_none());
        assert_eq!(end.for_engine, "");
        assert_eq!(
            shown(&mut assembler),
            [
                "err thread 'main' panicked at src/lib.rs:3:4:\nwent wrong\n",
                "out caught\n"
            ]
        );
    }

    #[test]
    fn another_thread_does_not_come_between_a_panic_and_its_word() {
        let mut assembler = Assembler::default();
        assembler.panic(b"src/lib.rs:3:4\0went wrong");
        assembler.thread_stdout(b"tick\n");
        assembler.stdout(b"EVCXR_PANIC_NOTIFICATION\n");
        assembler.thread_stderr(b"tock\n");
        let end = assembler.finish();
        assert_eq!(end.panic.expect("a panic").message, "went wrong");
        assert_eq!(end.for_engine, "EVCXR_PANIC_NOTIFICATION\n");
        assert_eq!(shown(&mut assembler), ["out tick\n", "err tock\n"]);
    }

    #[test]
    fn a_value_that_prints_when_it_is_dropped_does_not_hide_the_panic() {
        let mut assembler = Assembler::default();
        assembler.panic(b"src/lib.rs:3:4\0went wrong");
        assembler.stdout(b"dropped\n");
        assembler.stdout(b"EVCXR_PANIC_NOTIFICATION\n");
        let panic = assembler.finish().panic.expect("a panic");
        assert_eq!(
            (panic.place.as_str(), panic.message.as_str()),
            ("src/lib.rs:3:4", "went wrong")
        );
    }

    #[test]
    fn a_panic_is_seen_when_user_code_has_replaced_the_hook() {
        let mut assembler = Assembler::default();
        assembler.stderr(b"my own words\n");
        assembler.stdout(b"EVCXR_PANIC_NOTIFICATION\n");
        assert!(assembler.finish().panic.is_some());
    }

    #[test]
    fn words_of_the_protocol_printed_by_user_code_are_words() {
        let mut assembler = Assembler::default();
        let words = "EVCXR_EXECUTION_COMPLETE\nEVCXR_PANIC_NOTIFICATION\nEVCXR_ERROR_OCCURRED\n\
                     EVCXR_VARIABLE_CHANGED_TYPE:x\nEVCXR_BEGIN_CONTENT\nEVCXR_END_CONTENT\nend\n";
        for line in words.split_inclusive('\n') {
            assembler.stdout(line.as_bytes());
        }
        let end = assembler.finish();
        assert_eq!(shown(&mut assembler), [format!("out {words}")]);
        assert_eq!(end.for_engine, "");
        assert!(end.panic.is_none() && end.error.is_none() && end.value.is_none());
    }

    #[test]
    fn the_text_of_a_failed_question_mark_is_the_error() {
        let mut assembler = Assembler::default();
        assembler.stderr(b"mine\n");
        assembler.stderr(ERROR_FOLLOWS);
        assembler.stderr(b"no such ");
        assembler.stderr("파일\nhint: look elsewhere".as_bytes());
        assembler.stderr(b"\n");
        assembler.stdout(b"EVCXR_ERROR_OCCURRED\n");
        let end = assembler.finish();
        assert_eq!(
            end.error.as_deref(),
            Some("no such 파일\nhint: look elsewhere")
        );
        assert_eq!(end.for_engine, "EVCXR_ERROR_OCCURRED\n");
        assert_eq!(shown(&mut assembler), ["err mine\n"]);
    }

    #[test]
    fn an_error_that_user_code_prints_is_text() {
        let mut assembler = Assembler::default();
        assembler.stderr(ERROR_FOLLOWS);
        assembler.stderr(b"handled\n");
        assert!(assembler.holds_text());
        assembler.stdout(b"going on\n");
        assert!(assembler.finish().error.is_none());
        assert_eq!(shown(&mut assembler), ["err handled\n", "out going on\n"]);
    }

    #[test]
    fn a_changed_type_is_forwarded_to_the_engine() {
        let mut assembler = Assembler::default();
        assembler.stderr(b"The type of the variable ");
        assembler.stderr(b"x was redefined, so was lost.\n");
        assembler.stdout(b"EVCXR_VARIABLE_CHANGED_TYPE:x\n");
        assert_eq!(
            assembler.finish().for_engine,
            "EVCXR_VARIABLE_CHANGED_TYPE:x\n"
        );
    }

    #[test]
    fn forms_of_one_value_are_one_bundle_and_the_last_is_the_value() {
        let mut assembler = Assembler::default();
        assembler.stdout(b"EVCXR_BEGIN_CONTENT text/plain\na\nb\nEVCXR_END_CONTENT\n");
        assembler.stdout(b"EVCXR_BEGIN_CONTENT application/json\n");
        assembler.stdout(b"{\"x\": 1}\nEVCXR_END_CONTENT\n");
        let end = assembler.finish();
        assert!(shown(&mut assembler).is_empty());
        assert_eq!(
            json!(end.value),
            json!({"application/json": {"x": 1}, "text/plain": "a\nb"})
        );
    }

    #[test]
    fn each_of_several_values_of_one_type_survives() {
        let mut assembler = Assembler::default();
        for number in 1..=3 {
            assembler.stdout(
                format!("EVCXR_BEGIN_CONTENT text/html\n<b>{number}</b>\nEVCXR_END_CONTENT\n")
                    .as_bytes(),
            );
        }
        let end = assembler.finish();
        assert_eq!(
            shown(&mut assembler),
            [
                r#"display {"text/html":"<b>1</b>"} None"#,
                r#"display {"text/html":"<b>2</b>"} None"#
            ]
        );
        assert_eq!(json!(end.value), json!({"text/html": "<b>3</b>"}));
    }

    #[test]
    fn a_value_followed_by_text_is_shown_where_it_stands() {
        let mut assembler = Assembler::default();
        assembler.stdout(b"partEVCXR_BEGIN_CONTENT text/plain\nv\nEVCXR_END_CONTENT\nafter");
        assert!(assembler.finish().value.is_none());
        assert_eq!(
            shown(&mut assembler),
            [
                "out part",
                r#"display {"text/plain":"v"} None"#,
                "out after"
            ]
        );
    }

    #[test]
    fn display_messages_keep_their_place() {
        let mut assembler = Assembler::default();
        assembler.stdout(b"1\n");
        assembler.display(b"{\"kind\":\"display\",\"data\":{\"text/plain\":\"d\"},");
        assembler.display(b"\"id\":\"x\"}\n{\"kind\":\"update\",\"data\":{},\"id\":\"x\"}\n");
        assembler.stdout(b"2\n");
        assembler.display(b"{\"kind\":\"clear\",\"wait\":true}\nnonsense\n");
        assembler.display(b"{\"kind\":\"result\",\"data\":{\"text/plain\":\"r\"}}\n");
        let end = assembler.finish();
        assert_eq!(
            shown(&mut assembler),
            [
                "out 1\n",
                r#"display {"text/plain":"d"} Some("x")"#,
                "update {} x",
                "out 2\n",
                "clear true"
            ]
        );
        assert_eq!(json!(end.value), json!({"text/plain": "r"}));
    }

    #[test]
    fn a_question_to_the_user_is_the_prompt_of_the_next_read() {
        let mut assembler = Assembler::default();
        assembler.stdout("EVCXR_INPUT_REQUEST:이름? \n".as_bytes());
        assert_eq!(assembler.take_prompt(), ("이름? ".to_owned(), false));
        assembler.stdout(b"EVCXR_INPUT_REQUEST_PASSWORD:key\n");
        assert_eq!(assembler.take_prompt(), ("key".to_owned(), true));
        assert_eq!(assembler.take_prompt(), (String::new(), false));
        assert!(shown(&mut assembler).is_empty());
    }

    #[test]
    fn what_a_dying_process_left_is_shown() {
        let mut assembler = Assembler::default();
        assembler.stdout(b"EVCXR_");
        assembler.stderr(b"half \xec");
        assembler.panic(b"src/lib.rs:1:1\0while panicking");
        assembler.died();
        assert_eq!(
            shown(&mut assembler),
            [
                "err half ",
                "out EVCXR_",
                "err \u{fffd}thread 'main' panicked at src/lib.rs:1:1:\nwhile panicking\n"
            ]
        );
    }
}
