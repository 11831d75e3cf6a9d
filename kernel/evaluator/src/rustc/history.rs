//! The cells that have run well, for `:replay` and `:export`.

use std::collections::{BTreeSet, VecDeque};

/// So many cells are remembered.
const KEPT: usize = 1000;

/// A cell that has come to its end.
#[derive(Debug, Clone)]
pub(super) struct Ran {
    /// Its Rust code, without commands.
    pub(super) code: String,
    /// The variables that it has made.
    pub(super) makes: BTreeSet<String>,
    /// The variables of earlier cells that it names.
    pub(super) uses: BTreeSet<String>,
    /// Those of them that it may have changed.
    pub(super) changes: BTreeSet<String>,
}

/// What has run, and which variables of it are lost.
#[derive(Debug, Default)]
pub(super) struct History {
    cells: VecDeque<Ran>,
    lost: BTreeSet<String>,
}

impl History {
    pub(super) fn add(&mut self, cell: Ran) {
        self.lost.retain(|name| !cell.makes.contains(name));
        self.cells.push_back(cell);
        if self.cells.len() > KEPT {
            self.cells.pop_front();
        }
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
}
