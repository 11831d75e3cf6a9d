//! How a cell is put into a crate, and what is changed about that when the compiler refuses it.

use std::collections::{BTreeMap, BTreeSet};

use super::cell::{Cell, Local, What};
use super::diagnostics::Message;
use super::session::{Blame, Definition, Session, Variable};
use super::source::{Edit, Origin, Source};
use super::statics::Static;
use super::types::VariableType;

/// The crate of cells that hold the items of earlier cells themselves, and of the library that holds them for the others. One
/// name, so that a type is the same type in all of them.
pub(super) const WITH_ITEMS: &str = "session";

/// The crate of cells that link to the library.
pub(super) const WITHOUT_ITEMS: &str = "cell";

/// What begins all names in generated code that code of the user could mean. See [`Plan::new`] for a user who writes it.
pub(super) const RESERVED: &str = "__azk_";

/// How cells call the library of items, whatever crates and modules of the user are called.
pub(super) const ITEMS: &str = "__azk_items";

/// How cells call the runtime.
pub(super) const RUNTIME: &str = "__azk_runtime";

/// The threads for futures.
const THREADS: &str = "::__azk_runtime::shared(|| ::tokio::runtime::Runtime::new().expect(\"threads for futures\")).handle()";

/// What stands in front of a value.
pub(super) const OPENS_VALUE: &str = "(\n";

/// What is not worth a word in a notebook.
const QUIET: &str = "#![allow(unused, dead_code, private_interfaces, private_bounds, redundant_imports, \
                     macro_expanded_macro_exports_accessed_by_absolute_paths, non_local_definitions, \
                     static_mut_refs, unsafe_op_in_unsafe_fn, non_snake_case, \
                     improper_ctypes, clashing_extern_declarations)]\n#![warn(unused_must_use)]\n";

/// How the value of the last expression is shown.
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

/// How values are shown.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Show {
    pub(super) format: Format,
    pub(super) types: bool,
}

/// A way to put a cell into a crate.
// Each is a change of its own, and they come together in all combinations.
#[allow(clippy::struct_excessive_bools)]
#[derive(Debug, Clone, Default)]
pub(super) struct Plan {
    /// Whether the items of earlier cells come from the library.
    pub(super) from_library: bool,
    /// The variables of earlier cells that the cell may use.
    taken: BTreeMap<String, Variable>,
    /// Those of them that the cell moves away.
    moved: BTreeSet<String>,
    /// The new variables that do not live on.
    gone: BTreeMap<String, Gone>,
    /// The new variables that are functions, with the pointers as which they live on.
    pointers: BTreeMap<String, String>,
    /// The variables of earlier cells whose types cannot be written.
    pub(super) unwritable: BTreeSet<String>,
    /// The function that runs the cell.
    function: String,
    pub(super) awaits: bool,
    /// Whether the cell is to find the threads for futures, so that it can start some without waiting for any.
    pub(super) enters: bool,
    /// Whether the value is shown by plain `Debug`, for the sake of the compiler's words.
    plain_value: bool,
    /// Whether the statements stand in the function itself, for the sake of the compiler's words.
    pub(super) explain: bool,
    /// The `?` of the cell that meet an `Option`, as bytes of it.
    options: BTreeSet<usize>,
}

/// Why a new variable does not live on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gone {
    /// The cell moves it away itself.
    Moved,
    /// It borrows from what the cell owns. It is dropped before that is kept.
    Borrows,
    /// The same, where it cannot be dropped: the cell may have moved it away.
    BorrowsAndMoves,
    /// It is a closure.
    Closure,
    /// No other cell could write its type.
    Unnamed,
}

/// What the compiler's errors call for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// The plan is another one now: try again.
    Again,
    /// Nothing: the errors are the user's.
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

    /// The function that runs the cell.
    pub(super) fn function(&self) -> &str {
        &self.function
    }

    /// The crate's name.
    pub(super) fn crate_name(&self) -> &'static str {
        if self.from_library {
            WITHOUT_ITEMS
        } else {
            WITH_ITEMS
        }
    }

    /// Whether the cell uses variables of earlier cells.
    pub(super) fn takes(&self) -> bool {
        !self.taken.is_empty()
    }

    /// The types of these variables.
    pub(super) fn types(&self) -> impl Iterator<Item = &str> {
        self.taken
            .values()
            .map(|variable| variable.type_name.as_str())
    }

    /// The variables of earlier cells that do not come back.
    pub(super) fn moved(&self) -> impl Iterator<Item = &String> {
        self.moved.iter()
    }

    /// The variables of earlier cells that the cell may use; or only those that it may change or move away.
    pub(super) fn uses(&self, changes: bool) -> BTreeSet<String> {
        self.taken
            .iter()
            .filter(|(name, variable)| !changes || variable.mutable || self.moved.contains(*name))
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// Whether a new variable lives on.
    pub(super) fn stores(&self, name: &str) -> bool {
        !self.gone.contains_key(name)
    }

    /// Changes the plan after what the compiler has said.
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
            // A use that the syntax did not show.
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
                    // In a crate with the items more may be seen.
                    Origin::Take(name) if !self.from_library && is_about_names(code) => {
                        again |= self.taken.remove(name).is_some();
                        self.unwritable.insert(name.clone());
                    }
                    // A `tokio` without them.
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
        // What is borrowed cannot be kept before what borrows is gone.
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

    /// Lets variables end with the cell whose types have no names; whether there are such.
    pub(super) fn end_unnamed(&mut self, types: &BTreeMap<String, VariableType>) -> bool {
        let before = (self.gone.len(), self.pointers.len());
        for (name, type_name) in types {
            let VariableType::Unnamed(type_name) = type_name else {
                continue;
            };
            // `fn(i32) -> i32 {name}`.
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

    /// What there is to say about a variable that ends with its cell.
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

    /// The crate's source.
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

    /// What the compiler is to see otherwise than it is written.
    fn edits(&self, cell: &Cell) -> Vec<Edit> {
        let mut edits = cell.edits.clone();
        // The compiler lets `?` leave a cell with an error only.
        let error = format!(".ok_or(::{RUNTIME}::NONE)");
        edits.extend(self.options.iter().map(|at| (*at, *at, error.clone())));
        edits
    }

    /// What takes the variables, up to the cell's own statements. It binds no name but theirs.
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

    /// Without the closure around them the compiler's words are about the user's statements.
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
            .piece(Origin::Show, ".evcxr_display();")
            .generated(" }\n");
    }
}

/// The library's source.
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

/// A crate of attributes, imports and items; the cell's own imports as they stand in it.
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
            // Of two things that all of a module brings none comes first; what the session defines does.
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
        // A macro is known only after its definition.
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

/// Whether an item is a macro, and the first of its name: what a cell defines again holds from there on.
fn is_first_macro(items: &[Definition], index: usize) -> bool {
    let what = &items[index].what;
    matches!(what, What::Macro(_)) && items[..index].iter().all(|item| item.what != *what)
}

/// Whether none of its name follows: other crates see one.
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

/// An item as another crate must see it, also in its own crate: what is visible is part of a type's identity. Its statics are
/// exported where they have no home yet, and else declared as foreign.
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
    // A module of a version begins before what stands in it.
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
    // An attribute stands before the visibility.
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

/// A cell that could not be taken apart, so that the compiler says why.
pub(super) fn whole(number: u64, code: &str, cell: &Cell) -> Source {
    let mut source = Source::default();
    source
        .generated(QUIET)
        .generated("const _: () = {\n")
        .cell(number, code, cell.rust.clone())
        .generated("\n};\n");
    source
}

/// The variables that the statements bind in which these places are: a type that is written there may ask for more than is meant.
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

/// Errors about what a name means, or whether it may be used.
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

/// Whether it is an error about a value that does not live as long as it is asked to.
fn outlives(code: &str) -> bool {
    matches!(
        code,
        "E0310" | "E0373" | "E0515" | "E0521" | "E0597" | "E0716"
    )
}

/// Whether a type is a pointer to a function.
fn is_pointer(type_name: &str) -> bool {
    ["fn(", "unsafe fn(", "extern ", "for<"]
        .iter()
        .any(|start| type_name.starts_with(start))
}

/// Errors about values that must live longer than what they borrow from.
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
