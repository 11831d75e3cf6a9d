//! The history: cells of this session with their outputs, and cells of earlier sessions from a
//! file.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use azureml_kernel_evaluator::MimeBundle;
use azureml_kernel_helpers::own;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::protocol::content::{HistoryAccess, HistoryRequest};

/// Number of bytes read from the end of the file; a file four times as large is truncated to this
/// size.
const REMEMBERED: u64 = 1 << 20;

/// Number of entries that `tail` and `search` return by default.
const DEFAULT_COUNT: usize = 100;

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Entry {
    session: i64,
    line: i64,
    input: String,
    #[serde(skip)]
    output: Option<String>,
}

/// Earlier cells, oldest first.
pub struct History {
    session: i64,
    entries: Vec<Entry>,
    store: Option<Store>,
}

impl History {
    /// Opens the history in `path`. Without a path, or if the file cannot be used, the history is
    /// kept in memory.
    pub fn open(path: Option<PathBuf>) -> Self {
        let mut store = path.map(|path| Store { path });
        let entries = store.as_ref().map_or_else(|| Ok(Vec::new()), Store::open);
        let entries = entries.unwrap_or_else(|error| {
            tracing::warn!(%error, "the history of earlier sessions is not available");
            store = None;
            Vec::new()
        });
        Self {
            // Increases from kernel to kernel and differs between concurrent kernels.
            session: chrono::Utc::now().timestamp_millis(),
            entries,
            store,
        }
    }

    /// Adds a cell.
    pub fn add(&mut self, line: u64, input: &str) {
        let entry = Entry {
            session: self.session,
            line: line.try_into().unwrap_or(i64::MAX),
            input: input.to_owned(),
            output: None,
        };
        if let Some(store) = &self.store
            && let Err(error) = store.append(&entry)
        {
            tracing::warn!(%error, "the history is not written any more");
            self.store = None;
        }
        self.entries.push(entry);
    }

    /// Sets the output of the last cell.
    pub fn set_output(&mut self, line: u64, data: &MimeBundle) {
        if let Some(entry) = self.entries.last_mut()
            && u64::try_from(entry.line) == Ok(line)
        {
            entry.output = data
                .get("text/plain")
                .and_then(Value::as_str)
                .map(str::to_owned);
        }
    }

    /// Returns the content of `history_reply`.
    pub fn reply(&self, asked: &HistoryRequest) -> Value {
        let entries: Vec<Value> = self
            .select(&asked.access)
            .into_iter()
            .map(|entry| {
                let session = if entry.session == self.session {
                    0
                } else {
                    entry.session
                };
                if asked.output {
                    json!([
                        session,
                        entry.line,
                        [entry.input, entry.output.as_deref().unwrap_or_default()]
                    ])
                } else {
                    json!([session, entry.line, entry.input])
                }
            })
            .collect();
        json!({ "status": "ok", "history": entries })
    }

    fn select(&self, access: &HistoryAccess) -> Vec<&Entry> {
        match access {
            HistoryAccess::Range {
                session,
                start,
                stop,
            } => {
                let session = self.session_number(*session);
                let start = start.unwrap_or(1);
                let stop = stop.unwrap_or(i64::MAX);
                self.entries
                    .iter()
                    .filter(|entry| Some(entry.session) == session)
                    .filter(|entry| (start..stop).contains(&entry.line))
                    .collect()
            }
            HistoryAccess::Tail { n } => {
                last(self.entries.iter().collect(), n.unwrap_or(DEFAULT_COUNT))
            }
            HistoryAccess::Search { n, pattern, unique } => {
                let pattern = pattern.as_deref().unwrap_or("*");
                let mut seen = HashSet::new();
                let mut found: Vec<&Entry> = self
                    .entries
                    .iter()
                    .rev()
                    .filter(|entry| matches(pattern, &entry.input))
                    .filter(|entry| !unique || seen.insert(entry.input.as_str()))
                    .collect();
                found.reverse();
                last(found, n.unwrap_or(DEFAULT_COUNT))
            }
        }
    }

    /// Resolves a session number: 0 is the current session, a negative number counts backwards from
    /// it.
    fn session_number(&self, asked: i64) -> Option<i64> {
        if asked > 0 {
            return Some(asked);
        }
        let mut earlier: Vec<i64> = self
            .entries
            .iter()
            .map(|entry| entry.session)
            .filter(|session| *session != self.session)
            .collect();
        earlier.sort_unstable();
        earlier.dedup();
        earlier.push(self.session);
        let back = usize::try_from(asked.checked_neg()?).ok()?;
        earlier.iter().rev().nth(back).copied()
    }
}

fn last(mut entries: Vec<&Entry>, count: usize) -> Vec<&Entry> {
    entries.split_off(entries.len().saturating_sub(count))
}

/// The file that kernels share. It is reopened for each entry, because another kernel may have
/// replaced it with a truncated one.
struct Store {
    path: PathBuf,
}

impl Store {
    /// Reads the latest entries, and truncates the file if it is too large.
    fn open(&self) -> io::Result<Vec<Entry>> {
        own::folder(self.folder())?;
        let _turn = self.lock();
        let mut file = self.file()?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(REMEMBERED)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        // The first line, and the last line of a killed kernel, can be incomplete; such lines are
        // skipped.
        let entries: Vec<Entry> = bytes
            .split(|byte| *byte == b'\n')
            .filter_map(|line| serde_json::from_slice(line).ok())
            .collect();
        if length > 4 * REMEMBERED {
            let mut shorter = tempfile::NamedTempFile::new_in(self.folder())?;
            for entry in &entries {
                shorter.write_all(&line(entry)?)?;
            }
            shorter.persist(&self.path).map_err(|error| error.error)?;
        }
        Ok(entries)
    }

    /// Appends an entry.
    fn append(&self, entry: &Entry) -> io::Result<()> {
        let _turn = self.lock();
        let mut file = self.file()?;
        let mut text = line(entry)?;
        if file.metadata()?.len() > 0 {
            let mut last = [0];
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
            if last != *b"\n" {
                // The last line is incomplete because a kernel was killed or the disk was full; it
                // must not corrupt this one.
                text.insert(0, b'\n');
            }
        }
        file.write_all(&text)
    }

    fn file(&self) -> io::Result<File> {
        own::append(&self.path)
    }

    /// Locks the file against other kernels until the result is dropped. On file systems without
    /// locks, kernels continue without one.
    fn lock(&self) -> Option<File> {
        let path = self.path.with_extension("lock");
        let file = own::create(&path).ok()?;
        file.lock().ok()?;
        Some(file)
    }

    fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("."))
    }
}

fn line(entry: &Entry) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(entry)?;
    line.push(b'\n');
    Ok(line)
}

/// Whether `text` matches the glob `pattern`: `*` matches any text, `?` one character.
fn matches(pattern: &str, text: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let text: Vec<char> = text.chars().collect();
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(wanted) if *wanted == '?' || *wanted == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((star_p, star_t)) => {
                    p = star_p + 1;
                    t = star_t + 1;
                    star = Some((star_p, star_t + 1));
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|wanted| *wanted == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_block_or_lead_elsewhere_are_not_opened() {
        use rustix::fs::{CWD, FileType, Mode, mknodat};
        let folder = tempfile::tempdir().expect("a folder");
        for blocked in ["history.lock", "history.jsonl"] {
            let place = folder.path().join(blocked);
            mknodat(CWD, &place, FileType::Fifo, Mode::RWXU, 0).expect("the folder is ours");
            // Returns at once: entries that cannot be written are kept in memory.
            let mut history = History::open(Some(folder.path().join("history.jsonl")));
            history.add(1, "1");
            for file in ["history.lock", "history.jsonl"] {
                let _ = std::fs::remove_file(folder.path().join(file));
            }
        }
        let elsewhere = folder.path().join("elsewhere");
        std::fs::write(&elsewhere, "").expect("the folder is ours");
        let link = folder.path().join("history.jsonl");
        std::os::unix::fs::symlink(&elsewhere, &link).expect("the folder is ours");
        History::open(Some(link)).add(1, "1");
        assert_eq!(std::fs::read(elsewhere).expect("it is ours"), b"");
    }

    #[test]
    fn patterns_match_as_in_a_shell() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("let*", "let x = 1;", true),
            ("*x*1;", "let x = 1;", true),
            ("?et *", "let x = 1;", true),
            ("let", "let x = 1;", false),
            ("*println*", "let x = 1;", false),
            ("*한*", "let 한글 = 1;", true),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} on {text}");
        }
    }

    #[test]
    fn a_session_finds_the_cells_of_the_one_before() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("state/history.jsonl");
        let mut first = History::open(Some(path.clone()));
        first.session -= 1;
        first.add(1, "let x = 1;");
        first.add(2, "x + 1");
        drop(first);
        let mut second = History::open(Some(path));
        second.add(1, "3");
        let asked = |access| HistoryRequest {
            access,
            output: false,
        };
        let range = |session| {
            second.reply(&asked(HistoryAccess::Range {
                session,
                start: Some(1),
                stop: Some(3),
            }))["history"]
                .clone()
        };
        assert_eq!(range(0), json!([[0, 1, "3"]]));
        let earlier = range(-1);
        assert_eq!(earlier[0][2], "let x = 1;");
        assert_eq!(earlier[1][2], "x + 1");
        let tail = second.reply(&asked(HistoryAccess::Tail { n: Some(2) }));
        assert_eq!(tail["history"][0][2], "x + 1");
        assert_eq!(tail["history"][1], json!([0, 1, "3"]));
    }

    #[test]
    fn a_broken_line_does_not_hide_the_others() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("history.jsonl");
        std::fs::write(
            &path,
            b"\xff{\"broken\n{\"session\":1,\"line\":1,\"input\":\"kept\"}\n{\"sess",
        )
        .expect("a file");
        let history = History::open(Some(path));
        assert_eq!(history.entries.len(), 1);
        assert_eq!(history.entries[0].input, "kept");
    }

    /// Returns the inputs that a new kernel reads.
    fn inputs(path: &Path) -> Vec<String> {
        let history = History::open(Some(path.to_owned()));
        let inputs = history.entries.iter();
        inputs.map(|entry| entry.input.clone()).collect()
    }

    #[test]
    fn a_torn_line_does_not_take_the_next_cell_with_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("history.jsonl");
        History::open(Some(path.clone())).add(1, "before");
        let mut text = std::fs::read(&path).expect("a file");
        text.extend_from_slice(b"{\"session\":1,\"li");
        std::fs::write(&path, text).expect("a file");
        History::open(Some(path.clone())).add(1, "after");
        assert_eq!(inputs(&path), ["before", "after"]);
    }

    #[test]
    fn cells_are_kept_when_another_kernel_cuts_the_file_down() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("history.jsonl");
        let mut running = History::open(Some(path.clone()));
        let long = "x".repeat(64 << 10);
        for number in 0..80 {
            running.add(number, &long);
        }
        running.add(81, "the last before");
        let length = || std::fs::metadata(&path).expect("a file").len();
        assert!(length() > 4 * REMEMBERED);
        drop(History::open(Some(path.clone())));
        assert!(length() <= REMEMBERED);
        running.add(82, "the first after");
        let inputs = inputs(&path);
        assert_eq!(
            inputs[inputs.len() - 2..],
            ["the last before", "the first after"]
        );
    }
}
