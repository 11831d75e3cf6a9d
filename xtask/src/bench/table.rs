//! Samples of two competitors, and the table of their medians and goals.

use crate::error::{Error, Result};
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::io::Write;
use std::path::Path;

/// The measured program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Competitor {
    /// This project's program.
    Ours,
    /// The usual alternative.
    Peer,
}

impl Competitor {
    /// Both competitors.
    pub const BOTH: [Self; 2] = [Self::Ours, Self::Peer];

    /// The name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Peer => "peer",
        }
    }
}

/// The goal of a row.
#[derive(Clone, Copy)]
pub enum Goal {
    /// At most this fraction of the peer's value.
    OfPeer(f64),
    /// At least this fraction of the peer's value.
    OfPeerAtLeast(f64),
    /// At most this value, in the row's unit.
    AtMost(f64),
    /// No goal.
    None,
}

/// The definition of a row.
#[derive(Clone, Copy)]
pub struct Definition {
    /// The name.
    pub name: &'static str,
    /// The unit.
    pub unit: &'static str,
    /// The goal of a row.
    pub goal: Goal,
    /// The row by whose median the samples are divided.
    pub over: Option<&'static str>,
}

impl Definition {
    /// A row without a divisor.
    pub const fn new(name: &'static str, unit: &'static str, goal: Goal) -> Self {
        Self {
            name,
            unit,
            goal,
            over: None,
        }
    }
}

/// A line of the table.
pub struct Row {
    definition: Definition,
    ours: Option<f64>,
    peer: Option<f64>,
}

/// The measured samples.
#[derive(Default)]
pub struct Samples(HashMap<(Competitor, String), Vec<f64>>);

impl Samples {
    /// Adds a sample.
    pub fn add(&mut self, competitor: Competitor, name: &str, value: f64) {
        let key = (competitor, name.to_owned());
        self.0.entry(key).or_default().push(value);
    }

    /// The rows with their medians.
    pub fn rows(&self, definitions: &[Definition]) -> Vec<Row> {
        let row = |definition: &Definition| {
            let of = |competitor| {
                let value = self.median(competitor, definition.name)?;
                match definition.over {
                    Some(base) => Some(value / self.median(competitor, base)?),
                    None => Some(value),
                }
            };
            Row {
                definition: *definition,
                ours: of(Competitor::Ours),
                peer: of(Competitor::Peer),
            }
        };
        definitions.iter().map(row).collect()
    }

    fn median(&self, competitor: Competitor, name: &str) -> Option<f64> {
        median(self.0.get(&(competitor, name.to_owned()))?)
    }
}

/// Returns the median: the middle value, or the mean of the two middle values.
fn median(samples: &[f64]) -> Option<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    if sorted.len() % 2 == 1 {
        return Some(upper);
    }
    Some(f64::midpoint(sorted[sorted.len() / 2 - 1], upper))
}

impl Row {
    fn ratio(&self) -> Option<f64> {
        Some(self.ours? / self.peer?)
    }

    /// Returns the goal as text; `None` if the row has none.
    fn goal(&self) -> Option<String> {
        match self.definition.goal {
            Goal::OfPeer(share) => Some(format!("≤ {share} × peer")),
            Goal::OfPeerAtLeast(share) => Some(format!("≥ {share} × peer")),
            Goal::AtMost(value) => Some(format!("≤ {value} {}", self.definition.unit)),
            Goal::None => None,
        }
    }

    /// Whether the goal is met; `None` if the row has none.
    pub fn met(&self) -> Option<bool> {
        let reached = |value: Option<f64>, limit| Some(value.is_some_and(|value| value <= limit));
        match self.definition.goal {
            Goal::OfPeer(share) => reached(self.ratio(), share),
            Goal::OfPeerAtLeast(share) => Some(self.ratio().is_some_and(|ratio| ratio >= share)),
            Goal::AtMost(limit) => reached(self.ours, limit),
            Goal::None => None,
        }
    }

    fn json(&self) -> Value {
        json!({
            "name": self.definition.name,
            "unit": self.definition.unit,
            "ours": self.ours.map(rounded),
            "peer": self.peer.map(rounded),
            "ratio": self.ratio().map(rounded),
            "goal": self.goal(),
            "met": self.met(),
        })
    }
}

/// Rounds to four decimals; further digits are noise.
fn rounded(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}

/// Formats the table for the terminal.
pub fn text(rows: &[Row], peer: &str) -> String {
    let mut text = format!(
        "{:<24}{:>12}{:>22}{:>9}  goal\n",
        "median", "ours", peer, "ratio"
    );
    for row in rows {
        let value = |value: Option<f64>| match value {
            Some(value) => format!("{} {}", digits(value), row.definition.unit),
            None => "–".to_owned(),
        };
        let ratio = row.ratio().map_or_else(String::new, digits);
        let goal = match (row.goal(), row.met()) {
            (Some(goal), Some(true)) => format!("{goal} ✓"),
            (Some(goal), _) => format!("{goal} ✗"),
            (None, _) => String::new(),
        };
        let line = format!(
            "{:<24}{:>12}{:>22}{ratio:>9}  {goal}",
            row.definition.name,
            value(row.ours),
            value(row.peer)
        );
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

/// Formats a value with three digits, or with all digits before the decimal point.
fn digits(value: f64) -> String {
    let decimals = match value.abs() {
        value if value >= 100.0 => 0,
        value if value >= 10.0 => 1,
        value if value >= 1.0 => 2,
        _ => 3,
    };
    format!("{value:.decimals$}")
}

/// Writes the rows atomically.
pub fn write(path: &Path, machine: &Map<String, Value>, rows: &[Row]) -> Result<()> {
    let rows: Vec<Value> = rows.iter().map(Row::json).collect();
    let new = path.with_extension("json.new");
    let text = format!("{:#}\n", json!({"machine": machine, "rows": rows}));
    crate::process::create(&new)?
        .write_all(text.as_bytes())
        .map_err(Error::io("write", &new))?;
    fs::rename(&new, path).map_err(Error::io("write", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFINITIONS: [Definition; 6] = [
        Definition {
            name: "statement",
            unit: "s",
            goal: Goal::OfPeer(0.4),
            over: None,
        },
        Definition {
            name: "lines",
            unit: "s",
            goal: Goal::None,
            over: None,
        },
        Definition {
            name: "loaded",
            unit: "×",
            goal: Goal::AtMost(1.3),
            over: Some("statement"),
        },
        Definition {
            name: "memory",
            unit: "MB",
            goal: Goal::OfPeer(0.7),
            over: None,
        },
        Definition {
            name: "speed",
            unit: "/s",
            goal: Goal::OfPeerAtLeast(1.6),
            over: None,
        },
        Definition {
            name: "unmeasured",
            unit: "s",
            goal: Goal::AtMost(2.0),
            over: None,
        },
    ];

    fn rows() -> Vec<Row> {
        let mut samples = Samples::default();
        for (competitor, name, values) in [
            (Competitor::Ours, "statement", &[0.08, 5.0, 0.07][..]),
            (Competitor::Peer, "statement", &[0.2, 0.3]),
            (Competitor::Ours, "lines", &[1.0]),
            (Competitor::Peer, "lines", &[0.5]),
            (Competitor::Ours, "loaded", &[0.1]),
            (Competitor::Ours, "memory", &[400.0]),
            (Competitor::Peer, "memory", &[500.0]),
            (Competitor::Ours, "speed", &[3000.0]),
            (Competitor::Peer, "speed", &[2000.0]),
        ] {
            for value in values {
                samples.add(competitor, name, *value);
            }
        }
        samples.rows(&DEFINITIONS)
    }

    #[test]
    fn a_median_is_the_value_in_the_middle() {
        let near = |samples: &[f64], expected: f64| {
            let median = median(samples).expect("samples");
            assert!((median - expected).abs() < 1e-9, "{samples:?}: {median}");
        };
        near(&[3.0], 3.0);
        near(&[9.0, 1.0, 2.0], 2.0);
        near(&[4.0, 1.0, 100.0, 2.0], 3.0);
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn goals_are_held_against_the_ratio_or_our_own_value() {
        let met: Vec<_> = rows().iter().map(Row::met).collect();
        let expected = [
            Some(true),
            None,
            Some(true),
            Some(false),
            Some(false),
            Some(false),
        ];
        assert_eq!(met, expected);
    }

    #[test]
    fn the_file_holds_the_machine_and_every_row() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("bench/kernel.json");
        let machine = Map::from_iter([("processors".to_owned(), json!(2))]);
        write(&path, &machine, &rows()).expect("written");
        let written: Value =
            serde_json::from_slice(&fs::read(&path).expect("the file")).expect("JSON");
        assert_eq!(written["machine"], json!({"processors": 2}));
        assert_eq!(
            written["rows"],
            json!([
                {"name": "statement", "unit": "s", "ours": 0.08, "peer": 0.25, "ratio": 0.32, "goal": "≤ 0.4 × peer", "met": true},
                {"name": "lines", "unit": "s", "ours": 1.0, "peer": 0.5, "ratio": 2.0, "goal": null, "met": null},
                {"name": "loaded", "unit": "×", "ours": 1.25, "peer": null, "ratio": null, "goal": "≤ 1.3 ×", "met": true},
                {"name": "memory", "unit": "MB", "ours": 400.0, "peer": 500.0, "ratio": 0.8, "goal": "≤ 0.7 × peer", "met": false},
                {"name": "speed", "unit": "/s", "ours": 3000.0, "peer": 2000.0, "ratio": 1.5, "goal": "≥ 1.6 × peer", "met": false},
                {"name": "unmeasured", "unit": "s", "ours": null, "peer": null, "ratio": null, "goal": "≤ 2 s", "met": false},
            ])
        );
        let left = fs::read_dir(path.parent().expect("a folder")).expect("a folder");
        assert_eq!(left.count(), 1, "nothing half-written stays");
    }

    #[test]
    fn the_table_shows_three_digits() {
        let expected = "\
median                          ours         evcxr_jupyter    ratio  goal
statement                    0.080 s               0.250 s    0.320  ≤ 0.4 × peer ✓
lines                         1.00 s               0.500 s     2.00
loaded                        1.25 ×                     –           ≤ 1.3 × ✓
memory                        400 MB                500 MB    0.800  ≤ 0.7 × peer ✗
speed                        3000 /s               2000 /s     1.50  ≥ 1.6 × peer ✗
unmeasured                         –                     –           ≤ 2 s ✗
";
        assert_eq!(text(&rows(), "evcxr_jupyter"), expected);
    }
}
