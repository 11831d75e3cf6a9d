//! Generates the crate of a cell, and adapts it to the compiler's errors.

use std::collections::{BTreeMap, BTreeSet};

use super::cell::{Cell, Local, What};
use super::diagnostics::Message;
use super::generated::{ITEMS, RESERVED, RUNTIME, WITH_ITEMS, WITHOUT_ITEMS};
use super::session::{Blame, Definition, Session, Variable};
use super::source::{Edit, Origin, Source};
use super::statics::Static;
use super::types::VariableType;
use crate::compatibility::DISPLAY_METHOD;

/// An expression for the handle of the shared asynchronous runtime.
const THREADS: &str = "::__azk_runtime::shared(|| ::tokio::runtime::Runtime::new().expect(\"threads for futures\")).handle()";

/// The text before a value.
pub(super) const OPENS_VALUE: &str = "(\n";

/// Lints that are not useful in a notebook.
const QUIET: &str = "#![allow(unused, dead_code, private_interfaces, private_bounds, redundant_imports, \
                     macro_expanded_macro_exports_accessed_by_absolute_paths, non_local_definitions, \
                     static_mut_refs, unsafe_op_in_unsafe_fn, non_snake_case, \
                     improper_ctypes, clashing_extern_declarations)]\n#![warn(unused_must_use)]\n";

/// The format of the last expression's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Format {
    /// `{:?}`
    #[default]
    Debug,
    /// `{:#?}`
    Pretty,
    /// `{}`
    Display,
}

/// Settings for showing values.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Show {
    pub(super) format: Format,
    pub(super) types: bool,
}

/// The way in which a cell is compiled into a crate.
// Each flag is independent, and they occur in all combinations.
#[allow(clippy::struct_excessive_bools)]
#[derive(Debug, Clone, Default)]
pub(super) struct Plan {
    /// Whether the items of earlier cells come from the library.
    pub(super) from_library: bool,
    /// The variables of earlier cells that the cell may use.
    taken: BTreeMap<String, Variable>,
    /// The used variables that the cell moves.
    moved: BTreeSet<String>,
    /// The new variables that are not stored.
    gone: BTreeMap<String, Gone>,
    /// The new variables that are functions, with the function pointer types as which they are
    /// stored.
    pointers: BTreeMap<String, String>,
    /// The variables of earlier cells whose types the cell cannot name.
    pub(super) unwritable: BTreeSet<String>,
    /// The name of the function that runs the cell.
    function: String,
    pub(super) awaits: bool,
    /// Whether the cell enters the asynchronous runtime, so that it can spawn tasks without
    /// awaiting.
    pub(super) enters: bool,
    /// Whether the value is shown with plain `Debug`, for clearer compiler errors.
    plain_value: bool,
    /// Whether the statements are directly in the function, for clearer compiler errors.
    pub(super) explain: bool,
    /// The byte offsets of each `?` of the cell that is applied to an `Option`.
    options: BTreeSet<usize>,
}

/// Reasons why a new variable is not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gone {
    /// The cell itself moves it.
    Moved,
    /// It borrows from a local value of the cell. It is dropped before that value is stored.
    Borrows,
    /// Like [`Gone::Borrows`], but it cannot be dropped, because the cell may have moved it.
    BorrowsAndMoves,
    /// It is a closure.
    Closure,
    /// Another cell cannot name its type.
    Unnamed,
}

/// The reaction to the compiler's errors.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// The plan has changed: compile again.
    Again,
    /// The plan has not changed: report the errors to the user.
    None,
}

impl Plan {
    pub(super) fn new(
        number: u64,
        code: &str,
        cell: &Cell,
        session: &Session,
        from_library: bool,
    ) -> Self {
        let taken = session
            .variables
            .iter()
            .filter(|(name, _)| cell.uses.contains(*name))
            .map(|(name, variable)| (name.clone(), variable.clone()));
        let mut function = format!("{RESERVED}cell_{number}");
        let items = session.items.iter().map(|item| item.text.as_str());
        let texts: Vec<&str> = items
            .chain([code])
            .filter(|text| text.contains(RESERVED))
            .collect();
        while texts.iter().any(|text| text.contains(&function)) {
            function.push('_');
        }
        Self {
            from_library,
            taken: taken.collect(),
            function,
            awaits: cell.awaits,
            ..Self::default()
        }
    }

    /// Returns the name of the function that runs the cell.
    pub(super) fn function(&self) -> &str {
        &self.function
    }

    /// Returns the name of the crate.
    pub(super) fn crate_name(&self) -> &'static str {
        if self.from_library {
            WITHOUT_ITEMS
        } else {
            WITH_ITEMS
        }
    }

    /// Returns whether the cell uses variables of earlier cells.
    pub(super) fn takes(&self) -> bool {
        !self.taken.is_empty()
    }

    /// Returns the types of the used variables.
    pub(super) fn types(&self) -> impl Iterator<Item = &str> {
        self.taken
            .values()
            .map(|variable| variable.type_name.as_str())
    }

    /// Returns the variables of earlier cells that the cell moves.
    pub(super) fn moved(&self) -> impl Iterator<Item = &String> {
        self.moved.iter()
    }

    /// Returns the variables of earlier cells that the cell may use, or only those that it may
    /// change or move.
    pub(super) fn uses(&self, changes: bool) -> BTreeSet<String> {
        self.taken
            .iter()
            .filter(|(name, variable)| !changes || variable.mutable || self.moved.contains(*name))
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// Returns whether a new variable is stored.
    pub(super) fn stores(&self, name: &str) -> bool {
        !self.gone.contains_key(name)
    }

    /// Adapts the plan to the compiler's errors.
    pub(super) fn change(
        &mut self,
        messages: &[Message],
        source: &Source,
        file: &str,
        cell: &Cell,
        session: &Session,
    ) -> Change {
        let mut again = false;
        let mut borrowers = BTreeSet::new();
        let mut borrowed = BTreeSet::new();
        for message in messages.iter().filter(|message| message.is_error()) {
            let code = message.code();
            if code == "E0728" && !self.awaits {
                self.awaits = true;
                again = true;
            }
            // The syntax did not show that the cell uses this variable.
            if let Some(name) = message.unknown_value()
                && let Some(variable) = session.variables.get(name)
                && !self.taken.contains_key(name)
                && !self.unwritable.contains(name)
            {
                self.taken.insert(name.to_owned(), variable.clone());
                again = true;
            }
            if message.is_about_option() {
                for place in message.ends_in_cell(source, file) {
                    again |= cell.is_own_question(place) && self.options.insert(place);
                }
            }
            for origin in message.origins(source, file) {
                match origin {
                    Origin::Keep(name) if matches!(code, "E0382" | "E0381") => {
                        again |= self.moved.insert(name.clone());
                    }
                    Origin::Keep(name) if code == "E0505" => {
                        borrowed.insert(name.clone());
                    }
                    Origin::Store(name)
                        if matches!(code, "E0382" | "E0381" | "E0423" | "E0425") =>
                    {
                        again |= self.gone.insert(name.clone(), Gone::Moved).is_none();
                    }
                    Origin::Drop(name) => {
                        let before = self.gone.insert(name.clone(), Gone::BorrowsAndMoves);
                        again |= before == Some(Gone::Borrows);
                    }
                    // A crate that includes the items may access private types, so it is tried
                    // before.
                    Origin::Take(name) if !self.from_library && is_about_names(code) => {
                        again |= self.taken.remove(name).is_some();
                        self.unwritable.insert(name.clone());
                    }
                    // The crate `tokio` lacks the feature for runtimes.
                    Origin::Enter if self.enters => {
                        self.enters = false;
                        again = true;
                    }
                    Origin::Show if !self.plain_value => {
                        self.plain_value = true;
                        again = true;
                    }
                    _ => {}
                }
            }
            if is_about_borrowing(code) {
                let origins = message.all_origins(source, file);
                let mut names: BTreeSet<String> = origins
                    .into_iter()
                    .filter_map(|origin| match origin {
                        Origin::Store(name) => Some(name.clone()),
                        _ => None,
                    })
                    .collect();
                if names.is_empty() && outlives(code) {
                    names = bound_at(cell, &message.blamed(source, file));
                }
                borrowers.extend(names.into_iter().map(|name| (outlives(code), name)));
            }
        }
        if borrowers.is_empty() && !again {
            again = !borrowed.is_subset(&self.moved);
            self.moved.extend(borrowed);
        }
        // A value cannot be stored while a variable that borrows from it exists, so errors about
        // lifetimes are resolved first.
        let first = borrowers.iter().any(|(outlives, _)| *outlives);
        for (_, name) in borrowers
            .into_iter()
            .filter(|(outlives, _)| *outlives == first)
        {
            again |= !self.gone.contains_key(&name);
            self.gone.entry(name).or_insert(Gone::Borrows);
        }
        if again { Change::Again } else { Change::None }
    }

    /// Excludes variables whose types have no names from storage. Returns whether the plan changed.
    pub(super) fn end_unnamed(&mut self, types: &BTreeMap<String, VariableType>) -> bool {
        let before = (self.gone.len(), self.pointers.len());
        for (name, type_name) in types {
            let VariableType::Unnamed(type_name) = type_name else {
                continue;
            };
            // For example `fn(i32) -> i32 {name}`.
            let pointer = type_name.split_once(" {").map(|(pointer, _)| pointer);
            match pointer {
                Some(pointer) if is_pointer(pointer) && !self.pointers.contains_key(name) => {
                    self.pointers.insert(name.clone(), pointer.to_owned());
                }
                _ if type_name.starts_with("{closure") => {
                    self.gone.insert(name.clone(), Gone::Closure);
                }
                _ => {
                    self.gone.insert(name.clone(), Gone::Unnamed);
                }
            }
        }
        before != (self.gone.len(), self.pointers.len())
    }

    /// Returns the message about a variable that is not stored.
    pub(super) fn words_of_end(&self, local: &Local) -> Option<String> {
        let name = &local.name;
        Some(match self.gone.get(name)? {
            Gone::Moved => return None,
            Gone::Borrows | Gone::BorrowsAndMoves => format!(
                "`{name}` ends with its cell: it borrows from what is not kept where it is. hint: a variable that owns its data is kept (`.to_owned()`, `.clone()`, `Box::leak`)"
            ),
            Gone::Closure => format!(
                "`{name}` ends with its cell: it is a closure, whose type has no name. hint: in a box it is kept, as in `let f: Box<dyn Fn(i32) -> i32> = Box::new(|n| n + 1);`"
            ),
            Gone::Unnamed => format!(
                "`{name}` ends with its cell: its type has no name that another cell could write. hint: keep what it gives, or keep it in a box as `dyn` of a trait"
            ),
        })
    }

    /// Returns the source of the crate.
    pub(super) fn source(
        &self,
        number: u64,
        code: &str,
        cell: &Cell,
        session: &Session,
        umbrellas: &[String],
        show: Show,
    ) -> Source {
        let mut source = definitions(number, code, cell, session, umbrellas, self.from_library);
        self.write_function(&mut source, number, code, cell, show);
        source
    }

    fn write_function(
        &self,
        source: &mut Source,
        number: u64,
        code: &str,
        cell: &Cell,
        show: Show,
    ) {
        let result = format!("::std::result::Result<(), ::{RUNTIME}::Failed>");
        if self.explain {
            self.head_of_explanation(source, &result);
        } else {
            self.head(source, &result, show);
        }
        let edits = self.edits(cell);
        for statement in &cell.statements {
            source
                .edited(number, code, statement.clone(), &edits)
                .generated("\n");
        }
        if let Some(tail) = &cell.tail {
            let place = (number, code, tail.clone());
            self.value(source, place, &edits, show);
        }
        for Local { name, .. } in cell.locals.iter().rev() {
            if self.gone.get(name) == Some(&Gone::Borrows) {
                source.piece(
                    Origin::Drop(name.clone()),
                    &format!("::std::mem::drop({name});\n"),
                );
            }
        }
        for local in cell.locals.iter().filter(|local| self.stores(&local.name)) {
            let name = &local.name;
            source.piece(
                Origin::Store(name.clone()),
                &match self.pointers.get(name) {
                    Some(pointer) => {
                        format!("let _ = ::{RUNTIME}::store(\"{name}\", {name} as {pointer});\n")
                    }
                    None => format!("let _ = ::{RUNTIME}::store(\"{name}\", {name});\n"),
                },
            );
        }
        source.generated(&format!("::{RUNTIME}::finished()\n"));
        if self.explain {
            source.generated("}\n");
            return;
        }
        source.generated(if self.awaits { "}))\n});\n" } else { "});\n" });
        for name in self.taken.keys().filter(|name| !self.moved.contains(*name)) {
            let shadowed = cell.locals.iter().any(|local| local.name == *name);
            let keep = if shadowed {
                "keep_unless_stored"
            } else {
                "keep"
            };
            source.piece(
                Origin::Keep(name.clone()),
                &format!("::{RUNTIME}::{keep}(\"{name}\", {name});\n"),
            );
        }
        source.generated("::std::ptr::null_mut()\n}\n");
    }

    /// Returns the edits of the cell's code.
    fn edits(&self, cell: &Cell) -> Vec<Edit> {
        let mut edits = cell.edits.clone();
        // The closure around the statements returns a `Result`, so `?` on an `Option` needs a
        // conversion.
        let error = format!(".ok_or(::{RUNTIME}::NONE)");
        edits.extend(self.options.iter().map(|at| (*at, *at, error.clone())));
        edits
    }

    /// Writes the code before the statements, which takes the variables. It binds no other names.
    fn head(&self, source: &mut Source, result: &str, show: Show) {
        source.generated(&format!(
            "#[unsafe(no_mangle)] pub extern \"C\" fn {}(_: *mut ::std::ffi::c_void) -> *mut ::std::ffi::c_void {{\n",
            self.function
        ));
        let pretty = show.format == Format::Pretty;
        source.generated(&format!("::{RUNTIME}::begin({pretty}, {});\n", show.types));
        if !self.taken.is_empty() {
            source.generated("if !(true");
            for (name, variable) in &self.taken {
                source.piece(
                    Origin::Take(name.clone()),
                    &format!(
                        " & ::{RUNTIME}::check::<{}>(\"{name}\")",
                        variable.type_name
                    ),
                );
            }
            source.generated(") { return ::std::ptr::null_mut(); }\n");
        }
        for (name, variable) in &self.taken {
            let mutable = if variable.mutable { "mut " } else { "" };
            source.piece(
                Origin::Take(name.clone()),
                &format!(
                    "let {mutable}{name} = ::{RUNTIME}::take::<{}>(\"{name}\");\n",
                    variable.type_name
                ),
            );
        }
        source.generated(&format!("::{RUNTIME}::run(|| -> {result} {{\n"));
        if self.awaits {
            source.generated(&format!(
                "{THREADS}.block_on(::{RUNTIME}::until_stopped(async {{\n"
            ));
        } else if self.enters {
            let enter = format!("let {RESERVED}entered = {THREADS}.enter();\n");
            source.piece(Origin::Enter, &enter);
        }
    }

    /// Writes the head of a function without a closure around the statements, for clearer compiler
    /// errors.
    fn head_of_explanation(&self, source: &mut Source, result: &str) {
        let asynchronous = if self.awaits { "async " } else { "" };
        source.generated(&format!("pub {asynchronous}fn {}(", self.function));
        for (name, variable) in &self.taken {
            let mutable = if variable.mutable { "mut " } else { "" };
            let parameter = format!("{mutable}{name}: {}, ", variable.type_name);
            source.piece(Origin::Take(name.clone()), &parameter);
        }
        source.generated(&format!(") -> {result} {{\n"));
    }

    fn value(
        &self,
        source: &mut Source,
        (number, code, tail): (u64, &str, std::ops::Range<usize>),
        edits: &[Edit],
        show: Show,
    ) {
        if self.plain_value || self.explain {
            let format = match show.format {
                Format::Display => "{}",
                _ => "{:?}",
            };
            source
                .generated(&format!("::std::format!(\"{format}\", &(\n"))
                .edited(number, code, tail, edits)
                .generated("\n));\n");
            return;
        }
        let by = match show.format {
            Format::Display => "ByDisplay",
            _ => "ByDebug",
        };
        source
            .generated(&format!("{{ use ::{RUNTIME}::{by} as _; {OPENS_VALUE}"))
            .edited(number, code, tail, edits)
            .generated("\n)")
            .piece(Origin::Show, &format!(".{DISPLAY_METHOD}();"))
            .generated(" }\n");
    }
}

/// Returns the source of the library of items.
pub(super) fn library(number: u64, session: &Session, umbrellas: &[String]) -> Source {
    let mut source = Source::default();
    preamble(&mut source, session, umbrellas);
    for (_, import) in &session.imports {
        source.generated(&import.code).generated("\n");
    }
    for (index, item) in session.items.iter().enumerate() {
        let is_last = |index| is_newest_macro(&session.items, index);
        if let (What::Macro(_), true) = (&item.what, is_last(index)) {
            source.generated("#[macro_export] ");
        }
        definition(&mut source, session, item, number);
    }
    source
}

/// Returns the source of a crate with attributes, imports and items. The cell's imports keep their
/// original text, so that errors refer to it.
pub(super) fn definitions(
    number: u64,
    code: &str,
    cell: &Cell,
    session: &Session,
    umbrellas: &[String],
    from_library: bool,
) -> Source {
    let mut source = Source::default();
    preamble(&mut source, session, umbrellas);
    if from_library {
        source.generated(&format!("use ::{ITEMS}::*;\n"));
        let globs = session
            .imports
            .iter()
            .any(|(_, import)| import.code.ends_with("*;"));
        if globs {
            // Names from two glob imports are ambiguous. An explicit import of the session's items
            // takes precedence.
            let names: BTreeSet<&str> = session
                .items
                .iter()
                .filter_map(|item| item.what.name())
                .collect();
            for name in names {
                source.generated(&format!("use ::{ITEMS}::{name};\n"));
            }
        }
    } else {
        // Macros must be defined before their first use.
        for (index, item) in session.items.iter().enumerate() {
            if is_first_macro(&session.items, index) {
                definition(&mut source, session, item, number);
            }
        }
    }
    for (_, import) in session.imports.iter().filter(|(cell, _)| *cell != number) {
        source.generated(&import.code).generated("\n");
    }
    for item in &cell.items {
        if let What::Use(_) | What::ExternCrate(_) = item.what {
            source
                .cell(number, code, item.range.clone())
                .generated("\n");
        }
    }
    if !from_library {
        for (index, item) in session.items.iter().enumerate() {
            if !is_first_macro(&session.items, index) {
                definition(&mut source, session, item, number);
            }
        }
    }
    source
}

/// Returns whether an item is the first definition of a macro. A redefinition by a cell applies
/// from its position on.
fn is_first_macro(items: &[Definition], index: usize) -> bool {
    let what = &items[index].what;
    matches!(what, What::Macro(_)) && items[..index].iter().all(|item| item.what != *what)
}

/// Returns whether an item is the last definition of its name, the only one that other crates see.
fn is_newest_macro(items: &[Definition], index: usize) -> bool {
    let what = &items[index].what;
    items[index + 1..].iter().all(|item| item.what != *what)
}

fn preamble(source: &mut Source, session: &Session, umbrellas: &[String]) {
    source.generated(QUIET);
    for attribute in &session.attributes {
        source.generated(attribute).generated("\n");
    }
    for umbrella in umbrellas {
        source.generated(&format!("extern crate {umbrella};\n"));
    }
}

/// Writes an item with the visibility that other crates need. The item's own crate uses the same
/// visibility, because it is part of a type's identity. Statics without a home are exported, others
/// are declared as foreign.
fn definition(source: &mut Source, session: &Session, item: &Definition, number: u64) {
    let home = item.home.as_ref().map_or(number, |home| home.cell);
    let symbol = |it: &Static| {
        format!(
            "{RESERVED}static_{home}_{}_{}",
            item.cell,
            item.start + it.start
        )
    };
    let mut edits = if item.copied {
        Vec::new()
    } else {
        item.statics
            .edits(symbol, item.home.is_none(), &item.private)
    };
    let is_replaced = |place: usize, edits: &[Edit]| {
        edits
            .iter()
            .any(|(start, end, _)| (*start..*end).contains(&place))
    };
    // The module of a version begins before its contents.
    let versions: Vec<_> = session
        .versions
        .edits(&item.typed)
        .into_iter()
        .filter(|(place, _, _)| !is_replaced(*place, &edits))
        .collect();
    edits.splice(0..0, versions);
    let open = item
        .private
        .iter()
        .filter(|place| !is_replaced(**place, &edits));
    let open: Vec<_> = open
        .map(|place| (*place, *place, "pub ".to_owned()))
        .collect();
    edits.extend(open);
    let places = item.edits.iter();
    let places = places.filter(|(place, _, _)| !is_replaced(*place, &edits));
    let places: Vec<_> = places.cloned().collect();
    edits.extend(places);
    // The sort is stable: an attribute is inserted before a visibility at the same offset.
    edits.sort_by_key(|(start, _, _)| *start);
    let mut start = 0;
    for (from, to, text) in
        edits
            .into_iter()
            .chain([(item.text.len(), item.text.len(), String::new())])
    {
        let origin = Origin::Cell {
            cell: item.cell,
            start: item.start + start,
        };
        source.piece(origin, &item.text[start..from]);
        source.generated(&text);
        start = to;
    }
    source.generated("\n");
}

/// Returns the source of a cell that cannot be parsed, for the compiler's syntax errors.
pub(super) fn whole(number: u64, code: &str, cell: &Cell) -> Source {
    let mut source = Source::default();
    source
        .generated(QUIET)
        .generated("const _: () = {\n")
        .cell(number, code, cell.rust.clone())
        .generated("\n};\n");
    source
}

/// Returns the variables that are bound by the statements at these places. A type annotation there
/// may require a longer lifetime than necessary.
fn bound_at(cell: &Cell, places: &[Blame]) -> BTreeSet<String> {
    let is_there = |statement: &&std::ops::Range<usize>| {
        places
            .iter()
            .any(|blame| statement.contains(&blame.place.1))
    };
    let statements = cell.statements.iter().filter(is_there);
    let locals = statements.flat_map(|statement| {
        let bound = |local: &&Local| statement.contains(&local.place.start);
        cell.locals.iter().filter(bound)
    });
    locals.map(|local| local.name.clone()).collect()
}

/// Returns whether an error is about name resolution or visibility.
fn is_about_names(code: &str) -> bool {
    matches!(
        code,
        "" | "E0107"
            | "E0191"
            | "E0220"
            | "E0223"
            | "E0404"
            | "E0405"
            | "E0412"
            | "E0432"
            | "E0433"
            | "E0573"
            | "E0603"
            | "E0782"
    )
}

/// Returns whether an error is about a value that does not live long enough.
fn outlives(code: &str) -> bool {
    matches!(
        code,
        "E0310" | "E0373" | "E0515" | "E0521" | "E0597" | "E0716"
    )
}

/// Returns whether a type is a function pointer.
fn is_pointer(type_name: &str) -> bool {
    ["fn(", "unsafe fn(", "extern ", "for<"]
        .iter()
        .any(|start| type_name.starts_with(start))
}

/// Returns whether an error is about borrowing or lifetimes.
fn is_about_borrowing(code: &str) -> bool {
    matches!(
        code,
        "E0310"
            | "E0373"
            | "E0499"
            | "E0502"
            | "E0503"
            | "E0505"
            | "E0506"
            | "E0515"
            | "E0521"
            | "E0597"
            | "E0716"
    )
}
