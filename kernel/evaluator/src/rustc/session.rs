//! What earlier cells have left: attributes, imports, items and variables.

use std::collections::{BTreeMap, BTreeSet};

use super::cell::{Cell, Import, Item, Member, What, mentions};
use super::types::short;

/// The state between cells.
#[derive(Debug, Clone, Default)]
pub(super) struct Session {
    pub(super) attributes: Vec<String>,
    /// With the number of the cell.
    pub(super) imports: Vec<(u64, Import)>,
    pub(super) items: Vec<Definition>,
    pub(super) variables: BTreeMap<String, Variable>,
    /// The variables that a cell moved away and none has made again, with the number of that cell.
    pub(super) moved: BTreeMap<String, u64>,
    /// Counts the changes of the items, and of what their words mean.
    pub(super) version: u64,
}

/// An item of a cell.
#[derive(Debug, Clone)]
pub(super) struct Definition {
    pub(super) what: What,
    pub(super) text: String,
    /// The number of the cell, and where in it the item begins.
    pub(super) cell: u64,
    pub(super) start: usize,
    /// Where `pub ` is missing for another crate, in bytes of the text.
    pub(super) private: Vec<usize>,
}

/// A variable that lives on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Variable {
    pub(super) type_name: String,
    pub(super) mutable: bool,
}

impl Session {
    /// Takes in what a cell defines beside its variables; gives the names of the variables whose types are not what they were.
    pub(super) fn define(&mut self, number: u64, code: &str, cell: &Cell) -> Vec<String> {
        for range in &cell.attributes {
            let text = code[range.clone()].to_owned();
            if !self.attributes.contains(&text) {
                self.attributes.push(text);
            }
        }
        let mut changed = BTreeSet::new();
        for item in &cell.items {
            match &item.what {
                What::Use(imports) => self.import(number, imports),
                What::ExternCrate(_) => {
                    let code = code[item.range.clone()].to_owned();
                    self.import(number, &[Import { name: None, code }]);
                }
                _ => changed.extend(self.add(number, code, item)),
            }
        }
        let lost = self.lost(changed);
        for name in &lost {
            self.variables.remove(name);
        }
        lost
    }

    /// The variables as the reader knows their types.
    pub(super) fn shown_variables(&self) -> Vec<crate::Variable> {
        self.variables
            .iter()
            .map(|(name, variable)| crate::Variable {
                name: name.clone(),
                type_name: short(&variable.type_name),
            })
            .collect()
    }

    fn import(&mut self, number: u64, imports: &[Import]) {
        for import in imports {
            self.imports.retain(|(_, earlier)| {
                let replaced = match &import.name {
                    Some(_) => earlier.name == import.name,
                    None => earlier.code == import.code,
                };
                if replaced && earlier.code != import.code {
                    self.version += 1;
                }
                !replaced
            });
            if let Some(name) = &import.name {
                let before = self.items.len();
                self.items.retain(|item| item.what.name() != Some(name));
                self.version += (before - self.items.len()) as u64;
            }
            self.imports.push((number, import.clone()));
        }
    }

    /// Adds an item in the place of an earlier one; gives the name of a type that is not what it was.
    fn add(&mut self, number: u64, code: &str, item: &Item) -> Option<String> {
        self.version += 1;
        let new = Definition {
            what: item.what.moved(item.range.start),
            text: code[item.range.clone()].to_owned(),
            cell: number,
            start: item.range.start,
            private: item
                .private
                .iter()
                .map(|place| place - item.range.start)
                .collect(),
        };
        let mut changed = None;
        if let Some(name) = new.what.name() {
            self.imports
                .retain(|(_, import)| import.name.as_deref() != Some(name));
        }
        self.items.retain_mut(|old| match (&old.what, &new.what) {
            (What::Type(one), What::Type(other)) if one == other => {
                if old.text != new.text {
                    changed = Some(one.clone());
                }
                false
            }
            (What::Value(one), What::Value(other)) if one == other => {
                // The length of an array may be a constant.
                if old.text != new.text && old.text.starts_with("const ") {
                    changed = Some(one.clone());
                }
                false
            }
            (What::Macro(one), What::Macro(other)) => one != other,
            (
                What::Impl { header: one, .. },
                What::Impl {
                    header: other,
                    members,
                    ..
                },
            ) if one == other => old.lose(members),
            _ => old.what != What::Other || old.text != new.text,
        });
        self.items.push(new);
        changed
    }

    /// The variables whose types are built of these ones.
    fn lost(&self, mut changed: BTreeSet<String>) -> Vec<String> {
        if changed.is_empty() {
            return Vec::new();
        }
        loop {
            let further: Vec<_> = self
                .items
                .iter()
                .filter_map(|item| match &item.what {
                    What::Type(name) if !changed.contains(name) => Some((name, &item.text)),
                    _ => None,
                })
                .filter(|(_, text)| changed.iter().any(|name| mentions(text, name)))
                .map(|(name, _)| name.clone())
                .collect();
            if further.is_empty() {
                break;
            }
            changed.extend(further);
        }
        self.variables
            .iter()
            .filter(|(_, variable)| {
                changed
                    .iter()
                    .any(|name| mentions(&variable.type_name, name))
            })
            .map(|(name, _)| name.clone())
            .collect()
    }
}

impl Definition {
    /// Takes members out that another `impl` of the same type defines anew; whether anything is left.
    fn lose(&mut self, members: &[Member]) -> bool {
        let What::Impl { members: own, .. } = &mut self.what else {
            return true;
        };
        let redefined = |name: &str| members.iter().any(|member| member.name == name);
        let mut text = std::mem::take(&mut self.text).into_bytes();
        let mut taken_out = Vec::new();
        own.retain(|member| {
            if !redefined(&member.name) {
                return true;
            }
            // Lines and columns of what is left stay the same.
            for byte in &mut text[member.range.clone()] {
                if *byte != b'\n' {
                    *byte = b' ';
                }
            }
            taken_out.push(member.range.clone());
            false
        });
        self.private
            .retain(|place| !taken_out.iter().any(|range| range.contains(place)));
        // Whole members were exchanged for spaces, so this is still valid.
        self.text = String::from_utf8(text).unwrap_or_default();
        !own.is_empty() || taken_out.is_empty() && !members.is_empty()
    }
}

impl What {
    /// The name that it defines.
    pub(super) fn name(&self) -> Option<&str> {
        match self {
            Self::Macro(name) | Self::Type(name) | Self::Value(name) => Some(name),
            _ => None,
        }
    }

    /// With its places counted from the start of the item.
    fn moved(&self, start: usize) -> Self {
        let mut moved = self.clone();
        if let Self::Impl { members, .. } = &mut moved {
            for member in members {
                member.range = member.range.start - start..member.range.end - start;
            }
        }
        moved
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn define(session: &mut Session, number: u64, code: &str) -> Vec<String> {
        session.define(number, code, &Cell::parse(code))
    }

    fn texts(session: &Session) -> Vec<&str> {
        session
            .items
            .iter()
            .map(|item| item.text.as_str())
            .collect()
    }

    fn variable(session: &mut Session, name: &str, type_name: &str) {
        session.variables.insert(
            name.to_owned(),
            Variable {
                type_name: type_name.to_owned(),
                mutable: false,
            },
        );
    }

    #[test]
    fn a_later_item_takes_the_place_of_an_earlier_one() {
        let mut session = Session::default();
        define(
            &mut session,
            1,
            "fn f() -> i32 { 1 } use std::fmt; struct S;",
        );
        define(&mut session, 2, "fn f() -> i32 { 2 } use core::fmt;");
        assert_eq!(texts(&session), ["struct S;", "fn f() -> i32 { 2 }"]);
        let imports: Vec<_> = session
            .imports
            .iter()
            .map(|(_, import)| &import.code)
            .collect();
        assert_eq!(imports, ["use core::fmt;"]);
        define(&mut session, 3, "use crate::other::f;");
        assert_eq!(texts(&session), ["struct S;"]);
        define(&mut session, 4, "fn f() {}");
        assert_eq!(session.imports.len(), 1);
    }

    #[test]
    fn an_impl_that_is_run_again_is_no_duplicate() {
        let mut session = Session::default();
        define(&mut session, 1, "struct S; impl S { fn a() {} fn b() {} }");
        define(&mut session, 2, "impl S { fn c() {} }");
        define(&mut session, 3, "impl  S { fn a() { } }");
        assert_eq!(
            texts(&session),
            [
                "struct S;",
                "impl S {           fn b() {} }",
                "impl S { fn c() {} }",
                "impl  S { fn a() { } }"
            ]
        );
        assert_eq!(session.items[1].private, [19]);
        define(&mut session, 4, "impl S { fn b() {} }");
        assert_eq!(session.items.len(), 4);
        define(&mut session, 5, "impl Drop for S { fn drop(&mut self) {} }");
        define(
            &mut session,
            6,
            "impl Drop for S { fn drop(&mut self) { } }",
        );
        assert_eq!(session.items.len(), 5);
    }

    #[test]
    fn variables_of_a_type_that_changed_are_lost() {
        let mut session = Session::default();
        define(
            &mut session,
            1,
            "struct A { x: i32 } struct B { a: A } struct C;",
        );
        variable(&mut session, "b", "std::vec::Vec<B>");
        variable(&mut session, "c", "C");
        assert_eq!(define(&mut session, 2, "struct A { x: i32 }"), [""; 0]);
        assert_eq!(define(&mut session, 3, "struct A { x: f32 }"), ["b"]);
        assert_eq!(session.variables.len(), 1);

        define(&mut session, 4, "const N: usize = 1; struct D([u8; N]);");
        variable(&mut session, "d", "D");
        assert_eq!(define(&mut session, 5, "const N: usize = 2;"), ["d"]);
    }
}
