//! The cells that have run well, for `:replay` and `:export`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::plan::Format;
use crate::CellName;

/// So many cells are remembered.
const KEPT: usize = 1000;

/// A cell that has come to its end.
#[derive(Debug, Clone, Default)]
pub(super) struct Ran {
    /// Its number among all cells.
    pub(super) number: u64,
    /// The commands and comments above its code.
    pub(super) heading: String,
    /// Its Rust code, without commands.
    pub(super) code: String,
    /// The variables that it has made.
    pub(super) makes: BTreeSet<String>,
    /// The variables of earlier cells that it names.
    pub(super) uses: BTreeSet<String>,
    /// Those of them that it may have changed.
    pub(super) changes: BTreeSet<String>,
    /// Whether it waits for futures.
    pub(super) awaits: bool,
    /// How its value was shown, if it has one.
    pub(super) shown: Option<Shown>,
    pub(super) name: CellName,
}

/// How a value was shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shown {
    pub(super) format: Format,
    /// Whether as more than text.
    pub(super) rich: bool,
}

/// What has run, and which variables of it are lost.
#[derive(Debug, Default)]
pub(super) struct History {
    cells: VecDeque<Ran>,
    lost: BTreeSet<String>,
    /// What the front end calls the cell that runs.
    running: CellName,
    /// The counts of cells, by their numbers.
    counts: BTreeMap<u64, u32>,
    /// Whether what runs is no cell of the reader's.
    paused: bool,
    /// Whether cells were forgotten because there are so many.
    is_cut: bool,
}

impl History {
    /// A cell begins that the front end calls so.
    pub(super) fn begin(&mut self, name: CellName) {
        self.running = name;
    }

    /// The cell that runs has this number.
    pub(super) fn count(&mut self, number: u64) {
        if let Some(count) = self.running.count {
            self.counts.insert(number, count);
        }
    }

    /// Forgets all but the cell that runs.
    pub(super) fn clear(&mut self) {
        *self = Self {
            running: std::mem::take(&mut self.running),
            ..Self::default()
        };
    }

    /// All that ran, in order.
    pub(super) fn runs(&self) -> impl Iterator<Item = &Ran> {
        self.cells.iter()
    }

    /// What the reader sees beside a cell.
    pub(super) fn label(&self, number: u64) -> u64 {
        self.counts
            .get(&number)
            .map_or(number, |count| u64::from(*count))
    }

    /// What the next cell is to be called, which has this number.
    pub(super) fn label_of_next(&self, number: u64) -> u64 {
        self.running.count.map_or(number, u64::from)
    }

    /// From now on cells are not the reader's, or are again.
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

    /// Whether cells were forgotten because there are so many.
    pub(super) fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// The cells as they stand: each as it ran last, where it ran first. A cell that has come to use a variable of a later one
    /// stands where it ran last. Without a front end that tells cells apart, each run is a cell.
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

    /// The process has gone, with these variables.
    pub(super) fn lose(&mut self, variables: impl Iterator<Item = String>) {
        self.lost.extend(variables);
    }

    pub(super) fn lost(&self) -> &BTreeSet<String> {
        &self.lost
    }

    pub(super) fn forget_lost(&mut self) {
        self.lost.clear();
    }

    /// The cells that make the lost variables again, in their order: those that made them, those that changed them, and those that
    /// made what these used.
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
