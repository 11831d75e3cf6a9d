//! The state that cells leave for later cells: attributes, imports, items and variables.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::cell::{Cell, Import, Item, What, mentions};
use super::identity::{Graph, Identity, Node, changes, nodes};
use super::source::Edit;
use super::statics::{Home, Statics};
use super::types::short;
use super::versions::{Typed, Versions, typed};

/// The state between cells.
#[derive(Debug, Clone, Default)]
pub(super) struct Session {
    pub(super) attributes: Vec<String>,
    /// The imports, with the numbers of their cells.
    pub(super) imports: Vec<(u64, Import)>,
    pub(super) items: Vec<Definition>,
    pub(super) variables: BTreeMap<String, Variable>,
    /// The variables that a cell moved and that were not defined again, with the number of that
    /// cell.
    pub(super) moved: BTreeMap<String, u64>,
    /// The names that are no longer variables, with the reason.
    pub(super) ended: BTreeMap<String, String>,
    /// The version of the items and of the meaning of their names. Incremented at each change.
    pub(super) version: u64,
    /// Items that no longer compile because of changes to other items. They are omitted, and
    /// restored when a cell defines something.
    pub(super) stale: Vec<Stale>,
    /// The front end's identifier of the running cell.
    pub(super) running: Option<String>,
    /// The front end's identifiers of the cells that defined something, by cell number.
    pub(super) ids: BTreeMap<u64, String>,
    /// Dependencies of types outside the cells.
    pub(super) outside: Arc<Outside>,
    /// Whether an import and an item have the same name, possibly in different namespaces.
    pub(super) shares_names: bool,
    /// The messages about stale items that the user has already seen.
    pub(super) known_stale: BTreeMap<(u64, usize), String>,
    /// Whether the types of variables must be checked although no cell has defined anything.
    pub(super) unchecked: bool,
    /// The current version of each type.
    pub(super) versions: Versions,
    /// The number of changes of macro-generated types. These cannot be defined in a module for
    /// their version, so the epoch changes the identity of all types of cells for the compiler.
    pub(super) epoch: u64,
    /// The macro calls that may define types, and the definitions that they depend on.
    pub(super) made: BTreeMap<String, Identity>,
}

/// Dependencies of types outside the cells.
#[derive(Debug, Default)]
pub(super) struct Outside {
    pub(super) nodes: Vec<Node>,
    /// The names of the crates that cells can use.
    pub(super) crates: BTreeSet<String>,
}

/// An item of a cell.
#[derive(Debug, Clone)]
pub(super) struct Definition {
    pub(super) what: What,
    pub(super) text: String,
    /// The number of the cell. `start` is the byte offset of the item in the cell.
    pub(super) cell: u64,
    pub(super) start: usize,
    /// The byte offsets in the text at which `pub ` must be inserted to make the item visible to
    /// other crates.
    pub(super) private: Vec<usize>,
    pub(super) statics: Statics,
    /// Whether every crate has a copy of the static, because a constant reads it. Its value never
    /// changes.
    pub(super) copied: bool,
    /// The library that defines the statics of the item, if it is compiled.
    pub(super) home: Option<Arc<Home>>,
    /// The types in the item.
    pub(super) typed: Arc<[Typed]>,
    /// The edits of the text before it is compiled, in byte offsets of the text.
    pub(super) edits: Vec<Edit>,
    /// The parts of the item on which types depend.
    nodes: Arc<[Node]>,
    /// Whether the item is a macro call that may define types.
    calls_macro: bool,
}

/// An item that no longer compiles because of a change to another item.
#[derive(Debug, Clone)]
pub(super) struct Stale {
    pub(super) definition: Definition,
    /// The message about the item.
    pub(super) words: String,
    /// Whether the user has seen the message.
    pub(super) is_known: bool,
}

/// A place in a cell's code at which the compiler reported an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Blame {
    /// The number of the cell, and the byte offset.
    pub(super) place: (u64, usize),
    pub(super) message: String,
    /// Whether the error is a duplicate definition, which the newer definition resolves.
    pub(super) is_double: bool,
}

/// A variable that persists between cells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Variable {
    pub(super) type_name: String,
    pub(super) mutable: bool,
    /// The definitions on which the type depended when the variable was defined.
    pub(super) identity: Identity,
}

/// A variable that was lost because its type changed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Lost {
    pub(super) name: String,
    /// The labels of the changed definitions.
    pub(super) changes: Vec<String>,
}

impl Session {
    /// Adds the items and imports of a cell. Returns the variables that are lost because their
    /// types changed.
    pub(super) fn define(&mut self, number: u64, code: &str, cell: &Cell) -> Vec<Lost> {
        self.shares_names = false;
        let replaces = self.replace_older(number);
        let known: BTreeMap<(u64, usize), String> = if replaces || !cell.items.is_empty() {
            let stale = std::mem::take(&mut self.stale);
            let known = |it: &Stale| ((it.definition.cell, it.definition.start), it.words.clone());
            let places = stale.iter().map(known).collect();
            let back: Vec<Definition> = stale.into_iter().map(|it| it.definition).collect();
            // Macros must be defined before their first use, so older items come first.
            self.items.splice(0..0, back);
            places
        } else {
            BTreeMap::new()
        };
        self.known_stale = known;
        for range in &cell.attributes {
            let text = code[range.clone()].to_owned();
            if !self.attributes.contains(&text) {
                self.attributes.push(text);
            }
        }
        for item in &cell.items {
            match &item.what {
                What::Use(imports) => self.import(number, imports),
                What::ExternCrate(_) => {
                    let code = code[item.range.clone()].to_owned();
                    self.import(number, &[Import { name: None, code }]);
                }
                _ => self.add(number, code, item, &cell.edits),
            }
        }
        let checks = replaces || self.unchecked || !cell.items.is_empty() || !cell.inner.is_empty();
        // Items inside statements are visible in this cell only, so the next cell must check again.
        self.unchecked = !cell.inner.is_empty();
        if !checks {
            return Vec::new();
        }
        self.leave_homes();
        self.update_versions(&cell.inner);
        let mut lost = self.lose(&cell.inner);
        if let Some(label) = self.change_of_macros(&cell.inner) {
            lost.extend(self.begin_epoch(&label));
        }
        lost
    }

    /// Changes the identity of all types of cells. Returns the variables that are lost.
    pub(super) fn begin_epoch(&mut self, reason: &str) -> Vec<Lost> {
        self.epoch += 1;
        self.version += 1;
        let is_local = |variable: &Variable| variable.identity.keys().any(|it| is_of_cell(it));
        let lost: Vec<Lost> = self
            .variables
            .iter()
            .filter(|(_, variable)| is_local(variable))
            .map(|(name, _)| Lost {
                name: name.clone(),
                changes: vec![reason.to_owned()],
            })
            .collect();
        self.take_out(&lost);
        lost
    }

    /// Whether earlier runs of the running cell have left definitions.
    pub(super) fn has_older(&self) -> bool {
        self.clone().replace_older(u64::MAX)
    }

    /// Removes the definitions of earlier runs of the running cell. Returns whether there were any.
    fn replace_older(&mut self, number: u64) -> bool {
        let Some(id) = self.running.clone() else {
            return false;
        };
        let older: BTreeSet<u64> = self
            .ids
            .iter()
            .filter(|(_, known)| **known == id)
            .map(|(number, _)| *number)
            .collect();
        self.ids.retain(|number, _| !older.contains(number));
        self.ids.insert(number, id);
        let before = self.items.len() + self.imports.len() + self.stale.len();
        self.items.retain(|item| !older.contains(&item.cell));
        self.imports.retain(|(cell, _)| !older.contains(cell));
        self.stale
            .retain(|stale| !older.contains(&stale.definition.cell));
        let replaces = before > self.items.len() + self.imports.len() + self.stale.len();
        self.version += u64::from(replaces);
        replaces
    }

    /// Sets aside the items of other cells at which the compiler reported errors. Returns whether
    /// there were any.
    pub(super) fn set_aside(&mut self, number: u64, blamed: &[Blame]) -> bool {
        let own: Vec<String> = self
            .items
            .iter()
            .filter(|item| item.cell == number)
            .filter_map(|item| item.what.name().map(str::to_owned))
            .collect();
        let known = std::mem::take(&mut self.known_stale);
        let (aside, kept): (Vec<_>, Vec<_>) = std::mem::take(&mut self.items)
            .into_iter()
            .map(|item| (blamed.iter().find(|blame| item.holds(blame.place)), item))
            .partition(|(blame, item)| blame.is_some() && item.cell != number);
        self.items = kept.into_iter().map(|(_, item)| item).collect();
        let found = !aside.is_empty();
        for (blame, definition) in aside {
            let Some(blame) = blame.filter(|blame| !blame.is_double) else {
                continue;
            };
            let before = known.get(&(definition.cell, definition.start));
            self.stale.push(Stale {
                is_known: before.is_some(),
                words: before
                    .cloned()
                    .unwrap_or_else(|| definition.words_of_stale(&own, &blame.message)),
                definition,
            });
        }
        self.known_stale = known;
        self.version += u64::from(found);
        found
    }

    /// Updates the crates and the compiler's environment. Returns the variables that are lost
    /// because their types changed.
    pub(super) fn surround(&mut self, outside: Outside) -> Vec<Lost> {
        self.outside = Arc::new(outside);
        self.version += 1;
        self.update_versions(&[]);
        self.lose(&[])
    }

    /// Stores a variable. `inner` are the definitions inside the statements of its cell.
    pub(super) fn keep(&mut self, name: &str, type_name: &str, mutable: bool, inner: &[Node]) {
        let identity = self.with_graph(inner, |graph| graph.identity(type_name));
        self.moved.remove(name);
        self.ended.remove(name);
        let variable = Variable {
            type_name: type_name.to_owned(),
            mutable,
            identity,
        };
        self.variables.insert(name.to_owned(), variable);
    }

    /// Assigns a new version to each type whose definitions changed, so that the compiler
    /// distinguishes it from the older type.
    fn update_versions(&mut self, inner: &[Node]) {
        let parts = self.items.iter().flat_map(|item| item.typed.iter());
        let parts: Vec<Typed> = parts.cloned().collect();
        if parts.is_empty() {
            return;
        }
        let now: Vec<_> = self.with_graph(inner, |graph| {
            let identity = |part: &Typed| (part.key().to_owned(), graph.below(part.names()));
            parts.iter().map(identity).collect()
        });
        self.version += u64::from(self.versions.update(now.into_iter()));
    }

    /// Resets the statics whose types changed: the next crate initialises them again.
    fn leave_homes(&mut self) {
        let now = self.identities_of_statics();
        for (item, identity) in self.items.iter_mut().zip(now) {
            if item
                .home
                .as_ref()
                .is_some_and(|home| !changes(&home.identity, &identity).is_empty())
            {
                item.home = None;
            }
        }
    }

    fn identities_of_statics(&self) -> Vec<Identity> {
        if self.items.iter().all(|item| item.statics.is_empty()) {
            return Vec::new();
        }
        self.with_graph(&[], |graph| {
            let code = |item: &Definition| -> String {
                let texts = item.statics.all.iter().map(|it| it.code.as_str());
                texts.collect::<Vec<_>>().join("\n")
            };
            self.items
                .iter()
                .map(|item| graph.below_code(&code(item)))
                .collect()
        })
    }

    /// Returns whether there are statics that no compiled crate defines.
    pub(super) fn has_new_statics(&self) -> bool {
        self.items
            .iter()
            .any(|item| !item.statics.is_empty() && item.home.is_none())
    }

    /// Records the library of a cell as the home of the statics that had none.
    pub(super) fn settle_statics(&mut self, number: u64, library: &Path) {
        if !self.has_new_statics() {
            return;
        }
        let identities = self.identities_of_statics();
        for (item, identity) in self.items.iter_mut().zip(identities) {
            if !item.statics.is_empty() && item.home.is_none() {
                item.home = Some(Arc::new(Home {
                    library: library.to_owned(),
                    cell: number,
                    identity,
                }));
            }
        }
        self.version += 1;
    }

    /// Copies statics that a constant reads into every crate, because the compiler cannot evaluate
    /// statics of other crates. Returns whether any static was found.
    pub(super) fn copy_statics(&mut self, names: &[&str]) -> bool {
        let mut found = false;
        for item in &mut self.items {
            let is_meant =
                matches!(&item.what, What::Value(name) if names.contains(&name.as_str()));
            if is_meant && !item.copied && !item.statics.is_empty() && item.home.is_some() {
                item.copied = true;
                found = true;
            }
        }
        self.version += u64::from(found);
        found
    }

    /// Returns the libraries that define the statics.
    pub(super) fn homes(&self) -> Vec<PathBuf> {
        let homes = self.items.iter().filter_map(|item| item.home.as_ref());
        let libraries: BTreeSet<&PathBuf> = homes.map(|home| &home.library).collect();
        libraries.into_iter().cloned().collect()
    }

    /// Removes the variables whose types changed.
    pub(super) fn lose(&mut self, inner: &[Node]) -> Vec<Lost> {
        if self.variables.is_empty() {
            return Vec::new();
        }
        let now: Vec<Identity> = self.with_graph(inner, |graph| {
            let variables = self.variables.values();
            variables.map(|it| graph.identity(&it.type_name)).collect()
        });
        let mut lost = Vec::new();
        for ((name, variable), identity) in self.variables.iter_mut().zip(now) {
            let changes = changes(&variable.identity, &identity);
            if changes.is_empty() {
                // Additions do not change a type. Later changes to the added definitions do.
                variable.identity = identity;
            } else {
                lost.push(Lost {
                    name: name.clone(),
                    changes,
                });
            }
        }
        self.take_out(&lost);
        lost
    }

    fn take_out(&mut self, lost: &[Lost]) {
        for Lost { name, changes } in lost {
            self.variables.remove(name);
            let words = format!(
                "`{name}` was lost when `{}` changed; run the cell again that makes `{name}`",
                changes.join("`, `")
            );
            self.ended.insert(name.clone(), words);
        }
    }

    /// Returns a macro call whose generated types changed.
    fn change_of_macros(&mut self, inner: &[Node]) -> Option<String> {
        let calls = self.items.iter().filter(|item| item.calls_macro);
        let texts: BTreeSet<String> = calls.map(|item| item.text.clone()).collect();
        if texts.is_empty() && self.made.is_empty() {
            return None;
        }
        let now: BTreeMap<String, Identity> = self.with_graph(inner, |graph| {
            let below = |text: &String| (text.clone(), graph.below_code(text));
            texts.iter().map(below).collect()
        });
        let is_other = |(text, before): &(&String, &Identity)| {
            now.get(*text)
                .is_none_or(|identity| !changes(before, identity).is_empty())
        };
        let changed = self.made.iter().find(is_other);
        let label = changed.map(|(text, _)| text.lines().next().unwrap_or_default().to_owned());
        self.made = now;
        label
    }

    fn with_graph<T>(&self, inner: &[Node], ask: impl FnOnce(&Graph<'_>) -> T) -> T {
        let imports: Vec<Node> = self
            .imports
            .iter()
            .map(|(cell, import)| {
                let is_local = |name: &str| {
                    let by_import = |(number, other): &(u64, Import)| {
                        (*number, other) != (*cell, import) && other.name.as_deref() == Some(name)
                    };
                    self.items.iter().any(|it| it.what.name() == Some(name))
                        || self.imports.iter().any(by_import)
                };
                let is_foreign = |root: &str| self.outside.crates.contains(root) && !is_local(root);
                Node::import(&import.code, import.name.as_deref(), is_foreign)
            })
            .collect();
        let items = self.items.iter().flat_map(|item| item.nodes.iter());
        let all = items
            .chain(&imports)
            .chain(&self.outside.nodes)
            .chain(inner);
        ask(&Graph::new(all, &self.outside.crates))
    }

    /// Returns the variables with type names shortened for display.
    pub(super) fn shown_variables(&self) -> Vec<crate::Variable> {
        self.variables
            .iter()
            .map(|(name, variable)| crate::Variable {
                name: name.clone(),
                type_name: short(&variable.type_name),
            })
            .collect()
    }

    /// Returns the names that cells define or import, without variables.
    pub(super) fn names(&self) -> Vec<String> {
        let items = self.items.iter().filter_map(|item| item.what.name());
        let imports = self.imports.iter();
        let imports = imports.filter_map(|(_, import)| import.name.as_deref());
        items.chain(imports).map(str::to_owned).collect()
    }

    /// Returns whether code uses a crate, by its name or through items and imports that refer to
    /// it.
    pub(super) fn reaches(&self, code: &str, name: &str) -> bool {
        let imports = self.imports.iter();
        let imports = imports.map(|(_, import)| (import.code.as_str(), import.name.as_deref()));
        let items = self.items.iter();
        let items = items.map(|item| (item.text.as_str(), item.what.name()));
        let mut others: Vec<(&str, Option<&str>)> = imports.chain(items).collect();
        let mut known = BTreeSet::from([name]);
        loop {
            let uses = |text: &str| known.iter().any(|name| mentions(text, name));
            let (using, rest): (Vec<_>, Vec<_>) =
                others.into_iter().partition(|(text, _)| uses(text));
            // Code may use an item without a name, such as an `impl`, without mentioning it.
            if using.iter().any(|(_, name)| name.is_none()) {
                return true;
            }
            if using.is_empty() {
                return uses(code);
            }
            others = rest;
            known.extend(using.into_iter().filter_map(|(_, name)| name));
        }
    }

    /// Returns whether a name is a variable, or may be another value.
    pub(super) fn is_value(&self, name: &str) -> bool {
        self.variables.contains_key(name) || self.knows_value(name)
    }

    /// Returns whether an item or an import with this name may be a value.
    pub(super) fn knows_value(&self, name: &str) -> bool {
        let imported = self
            .imports
            .iter()
            .any(|(_, import)| import.name.as_deref() == Some(name));
        let is_value = |item: &Definition| match &item.what {
            // A type may be a unit struct.
            What::Type(known) | What::Value(known) if known == name => true,
            What::Type(_) => item.text.contains("enum ") && mentions(&item.text, name),
            _ => false,
        };
        imported || self.items.iter().any(is_value)
    }

    fn import(&mut self, number: u64, imports: &[Import]) {
        for import in imports {
            let before = self.imports.len();
            let mut is_new = true;
            self.imports.retain(|(_, earlier)| {
                let replaced = match &import.name {
                    Some(_) => earlier.name == import.name,
                    None => earlier.code == import.code,
                };
                is_new &= earlier.code != import.code;
                !replaced
            });
            let replaces = before > self.imports.len();
            if let Some(name) = &import.name {
                let before = self.items.len();
                // The compiler reports collisions between definitions of the same cell.
                self.items.retain(|item| {
                    item.cell == number || item.what.name() != Some(name) || item.what.is_value()
                });
                self.shares_names |= self.items.iter().any(|item| item.what.name() == Some(name));
                self.version += (before - self.items.len()) as u64;
            }
            let concerns = |item: &Definition| match &import.name {
                Some(name) => item.text.contains(name.as_str()),
                None => true,
            };
            if is_new && (replaces || self.items.iter().any(concerns)) {
                self.version += 1;
            }
            self.imports.push((number, import.clone()));
        }
    }

    /// Keeps only the newer one of an import and an item with the same name, regardless of their
    /// namespaces.
    pub(super) fn separate_names(&mut self) {
        let newer = |cell: u64, name: &str, items: &[Definition]| {
            items
                .iter()
                .any(|item| item.cell > cell && item.what.name() == Some(name))
        };
        let items = std::mem::take(&mut self.items);
        self.imports.retain(|(cell, import)| {
            import
                .name
                .as_ref()
                .is_none_or(|name| !newer(*cell, name, &items))
        });
        self.items = items;
        let imports = &self.imports;
        self.items.retain(|item| {
            !imports.iter().any(|(cell, import)| {
                *cell > item.cell
                    && import.name.as_deref() == item.what.name()
                    && import.name.is_some()
            })
        });
        self.version += 1;
    }

    /// Adds an item, replacing an earlier definition of it.
    fn add(&mut self, number: u64, code: &str, item: &Item, edits: &[Edit]) {
        self.version += 1;
        let text = code[item.range.clone()].to_owned();
        let nodes = nodes(item.expansion.as_deref().unwrap_or(&text));
        let new = Definition {
            what: item.what.clone(),
            calls_macro: item.what == What::Other
                && (item.expansion.is_some() || nodes.iter().any(Node::is_call)),
            nodes,
            statics: Statics::of(&text, self.outside.crates.contains("lazy_static")),
            typed: typed(&text),
            copied: false,
            home: None,
            edits: edits_within(edits, &item.range),
            text,
            cell: number,
            start: item.range.start,
            private: item
                .private
                .iter()
                .map(|place| place - item.range.start)
                .collect(),
        };
        if let Some(name) = new.what.name() {
            let is_value = new.what.is_value();
            self.imports.retain(|(cell, import)| {
                let same = import.name.as_deref() == Some(name);
                // Functions and modules are in different namespaces.
                !same || *cell == number || is_value
            });
            self.shares_names |= self
                .imports
                .iter()
                .any(|(_, import)| import.name.as_deref() == Some(name));
        }
        self.items.retain(|old| {
            // The compiler reports duplicate definitions in the same cell.
            old.cell == number
                || match (&old.what, &new.what) {
                    (What::Type(one), What::Type(other))
                    | (What::Value(one), What::Value(other))
                    | (What::Macro(one), What::Macro(other)) => one != other,
                    (
                        What::Impl {
                            header: one,
                            members: own,
                            ..
                        },
                        What::Impl {
                            header: other,
                            members,
                            ..
                        },
                    ) if one == other => adds_only(own, members),
                    _ => (old.what != What::Other || old.text != new.text) && !new.hides(old),
                }
        });
        self.items.push(new);
    }
}

/// Returns whether a dependency of a type is defined in a cell.
fn is_of_cell(label: &str) -> bool {
    !label.starts_with("crate ") && !label.starts_with("use ")
}

/// Returns the edits inside an item, in byte offsets of its text.
fn edits_within(edits: &[Edit], range: &std::ops::Range<usize>) -> Vec<Edit> {
    let inside = edits.iter().filter(|(from, _, _)| range.contains(from));
    let moved = inside.map(|(from, to, text)| (from - range.start, to - range.start, text.clone()));
    moved.collect()
}

/// Returns whether an `impl` has only members that another `impl` of the same type does not have.
fn adds_only(own: &[String], members: &[String]) -> bool {
    !own.is_empty() && !members.is_empty() && members.iter().all(|name| !own.contains(name))
}

impl Definition {
    fn holds(&self, (cell, place): (u64, usize)) -> bool {
        self.cell == cell && (self.start..self.start + self.text.len()).contains(&place)
    }

    /// Returns whether the statics of the item replace all statics that an older item defines.
    fn hides(&self, old: &Self) -> bool {
        let defines = |item: &Self| -> Vec<String> {
            match &item.what {
                What::Value(name) => vec![name.clone()],
                What::Other => item.statics.all.iter().map(|it| it.name.clone()).collect(),
                _ => Vec::new(),
            }
        };
        let (own, olds) = (defines(self), defines(old));
        !olds.is_empty() && olds.iter().all(|name| own.contains(name))
    }

    /// Returns the label of the item for messages.
    pub(super) fn label(&self) -> String {
        self.what.name().map_or_else(
            || {
                let head = self.text.split('{').next().unwrap_or_default();
                head.split_whitespace().collect::<Vec<_>>().join(" ")
            },
            str::to_owned,
        )
    }

    fn words_of_stale(&self, changed: &[String], message: &str) -> String {
        let label = self.label();
        let uses: Vec<String> = changed
            .iter()
            .filter(|name| mentions(&self.text, name))
            .map(|name| format!("`{name}`"))
            .collect();
        if uses.is_empty() {
            format!("`{label}` does not fit any more ({message}); run its cell again")
        } else {
            format!(
                "`{label}` uses {} as it was; run its cell again",
                uses.join(", ")
            )
        }
    }
}

impl What {
    /// Returns the name that the item defines.
    pub(super) fn name(&self) -> Option<&str> {
        match self {
            Self::Macro(name) | Self::Type(name) | Self::Value(name) => Some(name),
            _ => None,
        }
    }

    /// Returns whether the item is in the value namespace, which contains no modules and types.
    fn is_value(&self) -> bool {
        matches!(self, Self::Value(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn define(session: &mut Session, number: u64, code: &str) -> Vec<String> {
        let lost = session.define(number, code, &Cell::parse(code));
        lost.into_iter().map(|lost| lost.name).collect()
    }

    fn texts(session: &Session) -> Vec<&str> {
        session
            .items
            .iter()
            .map(|item| item.text.as_str())
            .collect()
    }

    fn imports(session: &Session) -> Vec<&str> {
        let imports = session.imports.iter();
        imports.map(|(_, import)| import.code.as_str()).collect()
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
        assert_eq!(imports(&session), ["use core::fmt;"]);
        define(&mut session, 3, "use crate::other::S;");
        assert_eq!(texts(&session), ["fn f() -> i32 { 2 }"]);
        define(&mut session, 4, "struct S;");
        assert_eq!(imports(&session), ["use core::fmt;"]);
    }

    #[test]
    fn a_function_and_an_import_of_one_name_live_side_by_side() {
        let mut session = Session::default();
        define(&mut session, 1, "use std::process;");
        define(&mut session, 2, "fn process() {}");
        assert!(session.shares_names);
        assert_eq!(imports(&session), ["use std::process;"]);
        assert_eq!(texts(&session), ["fn process() {}"]);
        // The compiler has reported a collision in one namespace.
        session.separate_names();
        assert!(session.imports.is_empty());
        define(&mut session, 3, "use std::mem::swap as process;");
        assert!(session.shares_names);
        session.separate_names();
        assert!(session.items.is_empty());
    }

    #[test]
    fn an_impl_takes_the_place_of_another_unless_it_adds_members() {
        let mut session = Session::default();
        define(&mut session, 1, "struct S; impl S { fn a() {} fn b() {} }");
        define(&mut session, 2, "impl S { fn c() {} }");
        assert_eq!(session.items.len(), 3);
        define(&mut session, 3, "impl  S { fn a() { } }");
        assert_eq!(
            texts(&session),
            [
                "struct S;",
                "impl S { fn c() {} }",
                "impl  S { fn a() { } }"
            ]
        );
        define(&mut session, 4, "impl Drop for S { fn drop(&mut self) {} }");
        define(
            &mut session,
            5,
            "impl Drop for S { fn drop(&mut self) { } }",
        );
        assert_eq!(session.items.len(), 4);
    }

    #[test]
    fn a_cell_takes_the_place_of_its_older_self() {
        let mut session = Session {
            running: Some("one".to_owned()),
            ..Session::default()
        };
        define(
            &mut session,
            1,
            "use std::fmt; struct S; impl S { fn a() {} }",
        );
        session.running = Some("two".to_owned());
        define(&mut session, 2, "fn f() {}");
        session.running = Some("one".to_owned());
        define(&mut session, 3, "struct T;");
        assert_eq!(texts(&session), ["fn f() {}", "struct T;"]);
        assert!(session.imports.is_empty());
        session.running = None;
        define(&mut session, 4, "fn g() {}");
        define(&mut session, 5, "fn h() {}");
        assert_eq!(session.items.len(), 4);
    }

    #[test]
    fn what_does_not_fit_is_set_aside_and_tried_again() {
        let mut session = Session::default();
        define(&mut session, 1, "fn f() {} fn g() { f() }");
        define(&mut session, 2, "fn f(n: u8) {}");
        let blame = Blame {
            place: (1, 15),
            message: String::new(),
            is_double: false,
        };
        assert!(session.set_aside(2, std::slice::from_ref(&blame)));
        assert_eq!(texts(&session), ["fn f(n: u8) {}"]);
        assert_eq!(
            session.stale[0].words,
            "`g` uses `f` as it was; run its cell again"
        );
        assert!(!session.stale[0].is_known);
        define(&mut session, 3, "fn h() {}");
        assert_eq!(session.items.len(), 3);
        assert!(session.set_aside(3, &[blame]));
        assert!(session.stale[0].is_known);
        define(&mut session, 4, "fn g() {}");
        assert!(session.stale.is_empty());
        assert_eq!(session.items.len(), 3);
    }

    #[test]
    fn variables_of_a_type_that_changed_are_lost() {
        let mut session = Session::default();
        define(
            &mut session,
            1,
            "struct A { x: i32 } struct B { a: A } struct C;",
        );
        session.keep("b", "std::vec::Vec<B>", false, &[]);
        session.keep("c", "C", false, &[]);
        assert_eq!(define(&mut session, 2, "struct A { x: i32 }"), [""; 0]);
        let code = "struct A { x: f32 }";
        assert_eq!(
            session.define(3, code, &Cell::parse(code)),
            [Lost {
                name: "b".to_owned(),
                changes: vec!["A".to_owned()]
            }]
        );
        assert_eq!(session.variables.len(), 1);

        define(&mut session, 4, "const N: usize = 1; struct D([u8; N]);");
        session.keep("d", "D", false, &[]);
        assert_eq!(define(&mut session, 5, "const N: usize = 2;"), ["d"]);

        define(&mut session, 6, "struct E([u8; <C as T>::N]);");
        let inner = |n| format!("{{ impl T for C {{ const N: usize = {n}; }} }}");
        session.keep("e", "E", false, &Cell::parse(&inner(1)).inner);
        assert_eq!(define(&mut session, 7, &inner(2)), ["e"]);
    }

    #[test]
    fn an_import_that_hides_a_name_of_an_item_makes_another_library() {
        let mut session = Session::default();
        define(&mut session, 1, "struct A { x: Num }");
        let before = session.version;
        define(&mut session, 2, "use std::collections::BTreeMap;");
        assert_eq!(session.version, before);
        define(&mut session, 3, "use other::Num;");
        assert!(session.version > before);
    }
}
