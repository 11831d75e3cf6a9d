//! The history of successful cells, for `:replay` and `:export`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::plan::Format;
use crate::CellName;

/// The maximum number of cells in the history.
const KEPT: usize = 1000;

/// A cell that ran to its end.
#[derive(Debug, Clone, Default)]
pub(super) struct Ran {
    /// The number of the cell among all cells of the session.
    pub(super) number: u64,
    /// The commands and comments above the code.
    pub(super) heading: String,
    /// The Rust code, without commands.
    pub(super) code: String,
    /// The variables that the cell defined.
    pub(super) makes: BTreeSet<String>,
    /// The variables of earlier cells that the cell uses.
    pub(super) uses: BTreeSet<String>,
    /// The used variables that the cell may have changed or moved.
    pub(super) changes: BTreeSet<String>,
    /// Whether the cell awaits futures.
    pub(super) awaits: bool,
    /// How the value of the cell was shown, if it has one.
    pub(super) shown: Option<Shown>,
    pub(super) name: CellName,
}

/// How a value was shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shown {
    pub(super) format: Format,
    /// Whether the value had other MIME types than `text/plain`.
    pub(super) rich: bool,
}

/// The cells that ran, and the variables that were lost with their process.
#[derive(Debug, Default)]
pub(super) struct History {
    cells: VecDeque<Ran>,
    lost: BTreeSet<String>,
    /// The front end's name of the running cell.
    running: CellName,
    /// The execution counts of cells, by the evaluator's cell numbers.
    counts: BTreeMap<u64, u32>,
    /// Whether the code that runs is not a cell of the user, such as a replay.
    paused: bool,
    /// Whether old cells were removed because of [`KEPT`].
    is_cut: bool,
}

impl History {
    /// Records the front end's name of the cell that begins.
    pub(super) fn begin(&mut self, name: CellName) {
        self.running = name;
    }

    /// Records the evaluator's number of the running cell.
    pub(super) fn count(&mut self, number: u64) {
        if let Some(count) = self.running.count {
            self.counts.insert(number, count);
        }
    }

    /// Clears everything but the name of the running cell.
    pub(super) fn clear(&mut self) {
        *self = Self {
            running: std::mem::take(&mut self.running),
            ..Self::default()
        };
    }

    /// Returns all runs, in order.
    pub(super) fn runs(&self) -> impl Iterator<Item = &Ran> {
        self.cells.iter()
    }

    /// Returns the number that the front end shows beside a cell.
    pub(super) fn label(&self, number: u64) -> u64 {
        self.counts
            .get(&number)
            .map_or(number, |count| u64::from(*count))
    }

    /// Returns the label of the next cell, which has this number.
    pub(super) fn label_of_next(&self, number: u64) -> u64 {
        self.running.count.map_or(number, u64::from)
    }

    /// Stops or resumes recording. Paused runs are not cells of the user.
    pub(super) fn pause(&mut self, paused: bool) {
        self.paused = paused;
    }

    pub(super) fn add(&mut self, cell: Ran) {
        self.lost.retain(|name| !cell.makes.contains(name));
        if self.paused {
            return;
        }
        self.cells.push_back(Ran {
            name: self.running.clone(),
            ..cell
        });
        if self.cells.len() > KEPT {
            self.cells.pop_front();
            self.is_cut = true;
        }
    }

    /// Returns whether old cells were removed from the history.
    pub(super) fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// Returns the last run of each cell, at the position of the first run. A cell that meanwhile
    /// uses a variable of a later cell moves to the end. If the front end sends no cell
    /// identifiers, each run is a separate cell.
    pub(super) fn cells(&self) -> Vec<&Ran> {
        let mut cells: Vec<&Ran> = Vec::new();
        for ran in &self.cells {
            let place = match &ran.name.id {
                Some(id) => cells
                    .iter()
                    .position(|earlier| earlier.name.id.as_ref() == Some(id)),
                None => None,
            };
            let Some(place) = place else {
                cells.push(ran);
                continue;
            };
            cells.remove(place);
            let makes =
                |cells: &[&Ran], name: &String| cells.iter().any(|cell| cell.makes.contains(name));
            let (before, after) = cells.split_at(place);
            let needs_later = ran
                .uses
                .iter()
                .any(|name| makes(after, name) && !makes(before, name));
            cells.insert(if needs_later { cells.len() } else { place }, ran);
        }
        cells
    }

    /// Records variables that were lost with their process.
    pub(super) fn lose(&mut self, variables: impl Iterator<Item = String>) {
        self.lost.extend(variables);
    }

    pub(super) fn lost(&self) -> &BTreeSet<String> {
        &self.lost
    }

    pub(super) fn forget_lost(&mut self) {
        self.lost.clear();
    }

    /// Returns the cells that restore the lost variables, in order: the cells that defined the
    /// variables, that changed them, and that defined the inputs of these cells.
    pub(super) fn replay(&self) -> Vec<Ran> {
        let mut wanted = self.lost.clone();
        let mut cells: Vec<Ran> = Vec::new();
        for cell in self.cells.iter().rev() {
            if wanted.is_disjoint(&cell.makes) && wanted.is_disjoint(&cell.changes) {
                continue;
            }
            wanted.retain(|name| !cell.makes.contains(name));
            wanted.extend(cell.uses.iter().cloned());
            cells.push(cell.clone());
        }
        cells.reverse();
        cells
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_lost_variable_takes_what_it_was_made_of_and_what_changed_it() {
        let mut history = History::default();
        let ran = [
            ("let mut v = vec![1];", &["v"][..], &[][..], &[][..]),
            ("let other = 1;", &["other"], &[], &[]),
            ("v.push(2);", &[], &["v"], &["v"]),
            ("let w = v;", &["w"], &["v"], &["v"]),
            ("println!(\"{w:?}\");", &[], &["w"], &[]),
            ("let mut v = vec![9];", &["v"], &[], &[]),
        ];
        for (code, makes, uses, changes) in ran {
            history.add(Ran {
                code: code.to_owned(),
                makes: names(makes),
                uses: names(uses),
                changes: names(changes),
                ..Ran::default()
            });
        }
        assert!(history.replay().is_empty());
        history.lose(["w".to_owned()].into_iter());
        let codes = |history: &History| -> Vec<String> {
            history.replay().into_iter().map(|cell| cell.code).collect()
        };
        assert_eq!(
            codes(&history),
            ["let mut v = vec![1];", "v.push(2);", "let w = v;"]
        );
        history.lose(["v".to_owned()].into_iter());
        assert_eq!(codes(&history).last().unwrap(), "let mut v = vec![9];");
    }

    #[test]
    fn a_cell_that_ran_again_stands_once() {
        let mut history = History::default();
        let mut run = |id: &str, code: &str, makes: &[&str], uses: &[&str]| {
            history.begin(CellName {
                id: Some(id.to_owned()),
                count: None,
            });
            history.add(Ran {
                code: code.to_owned(),
                makes: names(makes),
                uses: names(uses),
                ..Ran::default()
            });
        };
        run("a", "let a = 1;", &["a"], &[]);
        run("b", "let b = a;", &["b"], &["a"]);
        run("a", "let a = 2;", &["a"], &["a"]);
        run("c", "c(b);", &[], &["b"]);
        run("c", "c(b, b);", &[], &["b"]);
        let codes = |history: &History| -> Vec<String> {
            let cells = history.cells().into_iter();
            cells.map(|cell| cell.code.clone()).collect()
        };
        run("d", "let d = 4;", &["d"], &["b"]);
        run("b", "let b = d;", &["b"], &["d"]);
        history.pause(true);
        history.add(Ran::default());
        assert_eq!(
            codes(&history),
            ["let a = 2;", "c(b, b);", "let d = 4;", "let b = d;"]
        );
    }
}
