//! Facts on which the results of every benchmark depend.

use super::idle;
use serde_json::{Map, Value, json};
use std::fs;
use std::path::Path;
use std::thread;

/// Returns the description of the machine, the given facts of the benchmark, and the maximum number
/// of processors that other processes kept busy.
pub fn facts<const N: usize>(busiest: f64, others: [(&str, Value); N]) -> Map<String, Value> {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let first = [
        ("processor", json!(field("/proc/cpuinfo", "model name"))),
        ("processors", json!(processors)),
        ("memory", json!(field("/proc/meminfo", "MemTotal"))),
    ];
    let last = [
        ("idle", json!(busiest < idle::ALLOWED)),
        ("others", json!((busiest * 100.0).round() / 100.0)),
    ];
    let all = first.into_iter().chain(others).chain(last);
    all.map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Returns the value of the first line `name: value` in a system file.
fn field(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(Path::new(path)).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}
