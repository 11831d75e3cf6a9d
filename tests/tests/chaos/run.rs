//! The acknowledged data of an MLflow run.

use std::collections::BTreeMap;

/// The acknowledged data of a run.
#[derive(Debug, Clone, Default)]
pub struct Run {
    /// The value of each step.
    pub metrics: BTreeMap<i64, f64>,
    pub params: BTreeMap<String, String>,
    pub tags: BTreeMap<String, String>,
    pub finished: bool,
}
