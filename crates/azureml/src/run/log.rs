//! Reads a growing log in ranges.

use crate::client::Client;
use crate::client::retry::Retry;
use crate::client::sas::VERSION;
use crate::error::{Error, Result};
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, RANGE};

/// The bytes of one range request.
const CHUNK: u64 = 4 << 20;
/// The longest line that is buffered until its end.
const LINE: usize = 1 << 20;
/// The largest log that is read completely into memory.
pub const WHOLE: u64 = 256 << 20;

/// A growing log of which a part has been read.
///
/// It returns complete lines. A line without a newline is returned once the log stops growing: a
/// prompt without a newline is then shown, and a line that a poll has split stays in one piece.
#[derive(Debug, Default)]
pub struct Tail {
    /// The number of bytes of the file that have been read.
    offset: u64,
    /// Bytes that have been read but not returned.
    pending: Vec<u8>,
}

impl Tail {
    /// Adds bytes and returns the complete lines.
    pub fn push(&mut self, bytes: &[u8]) -> String {
        self.offset = self.offset.saturating_add(bytes.len() as u64);
        self.pending.extend_from_slice(bytes);
        // A progress bar ends with a carriage return instead of a newline.
        let end = self
            .pending
            .iter()
            .rposition(|byte| matches!(byte, b'\n' | b'\r'));
        match end {
            Some(end) => self.give(end + 1),
            // A longer line is not buffered until its end.
            None if self.pending.len() > LINE => self.idle(),
            None => String::new(),
        }
    }

    /// No new bytes: returns the incomplete line up to its last complete character.
    pub fn idle(&mut self) -> String {
        let end = match std::str::from_utf8(&self.pending) {
            Ok(text) => text.len(),
            // A character that is cut at the end may be completed later; other invalid bytes may
            // not.
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            Err(_) => self.pending.len(),
        };
        self.give(end)
    }

    /// The end of the log: returns the rest.
    pub fn finish(&mut self) -> String {
        self.give(self.pending.len())
    }

    fn give(&mut self, end: usize) -> String {
        let given: Vec<u8> = self.pending.drain(..end).collect();
        String::from_utf8_lossy(&given).into_owned()
    }

    /// A log that is read from the byte at `offset` on.
    pub fn from(offset: u64) -> Self {
        Self {
            offset,
            pending: Vec::new(),
        }
    }

    /// The number of bytes of the file that have been read.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Reads the next range of new content at `url`, at most 4 MiB. A log that does not exist yet
    /// is empty.
    pub async fn read(&mut self, client: &Client, retry: Retry, url: &str) -> Result<Vec<u8>> {
        let last = self.offset.saturating_add(CHUNK - 1);
        let request = client
            .http_for(url)
            .await?
            .get(url)
            .header(RANGE, format!("bytes={}-{last}", self.offset))
            .header("x-ms-version", VERSION);
        let answer = match retry.send_copies(&request).await {
            Ok(answer) => answer,
            // The log does not exist yet, or has no content beyond the offset.
            Err(error) if matches!(error.status(), Some(404 | 416)) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let starts_at = answer.headers.get(CONTENT_RANGE).and_then(|range| {
            range
                .to_str()
                .ok()?
                .strip_prefix("bytes ")?
                .split('-')
                .next()?
                .parse()
                .ok()
        });
        // Without a `Content-Range` the response is the complete log.
        self.unseen(&answer.body, starts_at.unwrap_or(0))
            .ok_or_else(|| Error::Answer {
                call: "reading a log".to_owned(),
                reason: "it begins behind what was asked for".to_owned(),
            })
    }

    /// The unread part of `bytes`, which begin at `starts_at`.
    fn unseen(&self, bytes: &[u8], starts_at: u64) -> Option<Vec<u8>> {
        let skip = self.offset.checked_sub(starts_at)?;
        Some(bytes.get(skip as usize..).unwrap_or_default().to_vec())
    }
}

/// The current size of the log at `url` in bytes. (Azure's blobs do not support ranges relative to
/// the end.)
pub async fn size(client: &Client, retry: Retry, url: &str) -> Result<u64> {
    let request = client
        .http_for(url)
        .await?
        .head(url)
        .header("x-ms-version", VERSION);
    match retry.send_copies(&request).await {
        Ok(answer) => {
            let length = answer.headers.get(CONTENT_LENGTH);
            let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
            length.ok_or_else(|| Error::Answer {
                call: "reading a log".to_owned(),
                reason: "it has no length".to_owned(),
            })
        }
        Err(error) if error.status() == Some(404) => Ok(0),
        Err(error) => Err(error),
    }
}

/// Whether a file is a log of the job itself: `user_logs/std_log.txt`, or one of several processes.
pub fn is_log(name: &str) -> bool {
    name.strip_suffix(".txt")
        .is_some_and(|name| name.starts_with("user_logs/std_log"))
}

/// Whether a log is that of the only or the first process of a job.
pub fn is_first(name: &str) -> bool {
    is_log(name) && rank(name).is_none_or(|rank| rank == 0)
}

/// The rank of the process of a log: 3 for `user_logs/std_log_process_03.txt`.
pub fn rank(name: &str) -> Option<u32> {
    let digits = name.trim_end_matches(|c: char| !c.is_ascii_digit());
    let start = digits.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    digits[start..].parse().ok()
}

/// The last lines of a text.
pub fn last_lines(text: &str, count: usize) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..]
        .iter()
        .map(|line| (*line).to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_given_whole_and_once() {
        let mut tail = Tail::default();
        assert_eq!(tail.push(b"one\ntw"), "one\n");
        assert_eq!(tail.push(b"o\nthree"), "two\n");
        assert_eq!(tail.idle(), "three");
        assert_eq!(tail.idle(), "");
        assert_eq!(tail.push(b"!\n"), "!\n");
        assert_eq!(tail.offset, 15);
        assert_eq!(tail.push(b"end"), "");
        assert_eq!(tail.finish(), "end");
    }

    #[test]
    fn progress_bars_move_and_characters_stay_whole() {
        let mut tail = Tail::default();
        assert_eq!(tail.push(b"10%\r20%"), "10%\r");
        let (last, begin) = "\r학".as_bytes().split_last().unwrap();
        assert_eq!(tail.push(begin), "20%\r");
        assert_eq!(tail.idle(), "");
        assert_eq!(tail.push(&[*last]), "");
        assert_eq!(tail.idle(), "학");
        assert_eq!(tail.push(b"\xff\xfe"), "");
        assert_eq!(tail.idle(), "\u{fffd}\u{fffd}");
    }

    #[test]
    fn a_line_without_an_end_is_not_kept_for_ever() {
        let mut tail = Tail::default();
        let piece = "x".repeat(LINE);
        assert_eq!(tail.push(piece.as_bytes()), "");
        assert_eq!(tail.push(b"y").len(), LINE + 1);
        assert_eq!(tail.push(b"z\n"), "z\n");
    }

    #[test]
    fn answers_of_all_kinds_add_only_what_is_new() {
        let mut tail = Tail::default();
        tail.push(b"abc");
        assert_eq!(tail.unseen(b"abcdef", 0), Some(b"def".to_vec()));
        assert_eq!(tail.unseen(b"def", 3), Some(b"def".to_vec()));
        assert_eq!(tail.unseen(b"ab", 0), Some(Vec::new()));
        assert_eq!(tail.unseen(b"xyz", 9), None);
    }

    #[test]
    fn logs_belong_to_processes() {
        for (name, log, first, of) in [
            ("user_logs/std_log.txt", true, true, None),
            ("user_logs/std_log_0.txt", true, true, Some(0)),
            ("user_logs/std_log_process_00.txt", true, true, Some(0)),
            ("user_logs/std_log_process_01.txt", true, false, Some(1)),
            ("user_logs/std_log_process_12_ps.txt", true, false, Some(12)),
            ("system_logs/lifecycler.log", false, false, None),
        ] {
            assert_eq!(
                (is_log(name), is_first(name), rank(name)),
                (log, first, of),
                "{name}"
            );
        }
    }

    #[test]
    fn last_lines_are_few() {
        assert_eq!(last_lines("a\nb\nc\n", 2), ["b", "c"]);
        assert_eq!(last_lines("", 2), Vec::<String>::new());
    }
}
