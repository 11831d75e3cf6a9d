//! The language of comments and documents: short sentences about a component, in the field's terms.
//!
//! Three properties are counted, because they decide whether a reader finds and understands a text.
//! The limits are shares of all lines; the test prints the lines when a limit is exceeded.

use std::fs;
use std::path::{Path, PathBuf};

/// The folders and documents that are read.
const ROOTS: [&str; 10] = [
    "crates",
    "kernel",
    "xtask",
    "tests",
    "notebooks",
    "docs",
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
];

/// Openings of sentences that hide the subject.
const OPENINGS: [&str; 7] = [
    "What", "Who", "Whoever", "Whose", "Where", "That", "Whatever",
];

/// Verbs that make a person of a component.
const PERSONAL: [&str; 10] = [
    "say", "says", "said", "tell", "tells", "told", "ask", "asks", "asked", "heard",
];

/// The longest line of prose, in characters.
const COLUMNS: usize = 100;

/// A line of prose: a comment, or a line of a document outside tables and code.
struct Line {
    place: String,
    text: String,
    columns: usize,
}

/// A property of lines, its test, and the maximum share of such lines, in per mille.
type Limit = (&'static str, fn(&Line) -> bool, usize);

impl Line {
    fn hides_its_subject(&self) -> bool {
        let starts = self
            .text
            .split(['.', ':', '!', '?'])
            .map(str::trim_start)
            .filter_map(|sentence| sentence.split_whitespace().next());
        starts.into_iter().any(|word| OPENINGS.contains(&word))
    }

    fn makes_a_person(&self) -> bool {
        // Every second part is code between backticks.
        let prose = self.text.split('`').step_by(2).collect::<String>();
        prose
            .split(|character: char| !character.is_alphanumeric())
            .any(|word| PERSONAL.contains(&word.to_lowercase().as_str()))
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Adds the sources and documents at and below a path.
fn files(path: &Path, found: &mut Vec<PathBuf>) {
    if path.is_dir() {
        let is_built = |name: &str| name == "target" || name == "node_modules";
        for entry in fs::read_dir(path)
            .expect("a folder of the repository")
            .flatten()
        {
            if !entry.file_name().to_str().is_some_and(is_built) {
                files(&entry.path(), found);
            }
        }
    } else if path
        .extension()
        .is_some_and(|kind| kind == "rs" || kind == "md")
    {
        found.push(path.to_owned());
    }
}

/// Returns the lines of prose in a file. Korean documents are not read.
fn prose(file: &Path) -> Vec<Line> {
    let text = fs::read_to_string(file).expect("UTF-8");
    let is_source = file.extension().is_some_and(|kind| kind == "rs");
    if file.to_string_lossy().ends_with(".ko.md") {
        return Vec::new();
    }
    let mut in_code = false;
    let mut lines = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let prose = if is_source {
            let comment = line.trim_start().strip_prefix("//");
            comment.map(|comment| comment.trim_start_matches(['/', '!']))
        } else {
            let fence = line.trim_start().starts_with("```");
            in_code ^= fence;
            (!fence && !in_code && !line.starts_with('|')).then_some(line)
        };
        if let Some(prose) = prose.map(str::trim).filter(|prose| !prose.is_empty()) {
            lines.push(Line {
                place: format!("{}:{}", file.display(), number + 1),
                text: prose.to_owned(),
                columns: line.chars().count(),
            });
        }
    }
    lines
}

#[test]
fn comments_and_documents_are_plain_english() {
    let mut found = Vec::new();
    for part in ROOTS {
        files(&root().join(part), &mut found);
    }
    let lines: Vec<_> = found.iter().flat_map(|file| prose(file)).collect();
    assert!(lines.len() > 5_000, "{} lines were read", lines.len());
    let limits: [Limit; 3] = [
        (
            "open with What, Who, Where or That",
            Line::hides_its_subject,
            20,
        ),
        ("say, tell, ask or hear", Line::makes_a_person, 5),
        (
            "are longer than 100 columns",
            |line| line.columns > COLUMNS,
            10,
        ),
    ];
    for (property, has, per_mille) in limits {
        let bad: Vec<_> = lines.iter().filter(|line| has(line)).collect();
        let listed = bad
            .iter()
            .map(|line| format!("{}: {}\n", line.place, line.text));
        assert!(
            bad.len() * 1000 <= lines.len() * per_mille,
            "{} of {} lines {property}:\n{}",
            bad.len(),
            lines.len(),
            listed.collect::<String>()
        );
    }
}
