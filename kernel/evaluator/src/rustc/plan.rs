//! How a cell is put into a crate, and what is changed about that when the compiler refuses it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::cell::{Cell, What};
use super::diagnostics::Message;
use super::session::{Definition, Session, Variable};
use super::source::{Origin, Source};

/// The crate of cells that hold the items of earlier cells themselves, and of the library that holds them for the others. One
/// name, so that a type is the same type in all of them.
pub(super) const WITH_ITEMS: &str = "session";

/// The crate of cells that link to the library.
pub(super) const WITHOUT_ITEMS: &str = "cell";

/// What is not worth a word in a notebook.
const QUIET: &str = "#![allow(unused, dead_code, private_interfaces, private_bounds, redundant_imports, \
                     macro_expanded_macro_exports_accessed_by_absolute_paths, non_local_definitions, \
                     static_mut_refs, unsafe_op_in_unsafe_fn)]\n#![warn(unused_must_use)]\n";

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
    /// The new variables that do not live on: the cell moves them away itself.
    gone: BTreeSet<String>,
    pub(super) awaits: bool,
    /// Whether the value is shown by plain `Debug`, for the sake of the compiler's words.
    plain_value: bool,
    /// Whether the statements stand in the function itself, for the sake of the compiler's words.
    pub(super) explain: bool,
}

/// What the compiler's errors call for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// The plan is another one now: try again.
    Again,
    /// A variable cannot live on, since it borrows from something that does not.
    Borrows(String),
    /// Nothing: the errors are the user's.
    None,
}

impl Plan {
    pub(super) fn new(code: &str, cell: &Cell, session: &Session, from_library: bool) -> Self {
        let rust = &code[cell.rust.clone()];
        let taken = session
            .variables
            .iter()
            .filter(|(name, _)| super::cell::mentions(rust, name))
            .map(|(name, variable)| (name.clone(), variable.clone()));
        Self {
            from_library,
            taken: taken.collect(),
            moved: BTreeSet::new(),
            gone: BTreeSet::new(),
            awaits: cell.awaits,
            plain_value: false,
            explain: false,
        }
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
        !self.gone.contains(name)
    }

    /// Changes the plan after what the compiler has said.
    pub(super) fn change(&mut self, messages: &[Message], source: &Source, file: &str) -> Change {
        let mut again = false;
        let mut borrows = None;
        for message in messages.iter().filter(|message| message.is_error()) {
            let code = message.code();
            if code == "E0728" && !self.awaits {
                self.awaits = true;
                again = true;
            }
            for origin in message.origins(source, file) {
                match origin {
                    Origin::Keep(name) if matches!(code, "E0382" | "E0381" | "E0505") => {
                        again |= self.moved.insert(name.clone());
                    }
                    Origin::Store(name) if matches!(code, "E0382" | "E0381" | "E0425") => {
                        again |= self.gone.insert(name.clone());
                    }
                    Origin::Store(name) if is_about_borrowing(code) => {
                        borrows.get_or_insert_with(|| name.clone());
                    }
                    Origin::Show if !self.plain_value => {
                        self.plain_value = true;
                        again = true;
                    }
                    _ => {}
                }
            }
        }
        match borrows {
            _ if again => Change::Again,
            Some(name) => Change::Borrows(name),
            None => Change::None,
        }
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
        self.function(&mut source, number, code, cell, show);
        source
    }

    fn function(&self, source: &mut Source, number: u64, code: &str, cell: &Cell, show: Show) {
        let mut head = String::new();
        // Writing to a string cannot fail.
        let _ = writeln!(
            head,
            "#[unsafe(no_mangle)] pub extern \"C\" fn {}(store: *mut ::std::ffi::c_void) -> *mut ::std::ffi::c_void {{",
            function(number)
        );
        if !self.taken.is_empty() {
            head.push_str("if !(true");
            for (name, variable) in &self.taken {
                let _ = write!(
                    head,
                    " & ::cell_runtime::check::<{}>(\"{name}\")",
                    variable.type_name
                );
            }
            head.push_str(") { return store; }\n");
        }
        for (name, variable) in &self.taken {
            let mutable = if variable.mutable { "mut " } else { "" };
            let _ = writeln!(
                head,
                "let {mutable}{name} = ::cell_runtime::take::<{}>(\"{name}\");",
                variable.type_name
            );
        }
        let result = "::std::result::Result<(), ::cell_runtime::Failed>";
        if show.format == Format::Pretty || show.types {
            let pretty = show.format == Format::Pretty;
            let _ = writeln!(
                head,
                "::cell_runtime::set_format({pretty}, {});",
                show.types
            );
        } else {
            head.push_str("::cell_runtime::set_format(false, false);\n");
        }
        if self.explain {
            let asynchronous = if self.awaits { "async " } else { "" };
            let parameters: Vec<String> = self
                .taken
                .iter()
                .map(|(name, variable)| {
                    let mutable = if variable.mutable { "mut " } else { "" };
                    format!("{mutable}{name}: {}", variable.type_name)
                })
                .collect();
            head = format!(
                "pub {asynchronous}fn {}({}) -> {result} {{\n",
                function(number),
                parameters.join(", ")
            );
        } else {
            let _ = writeln!(head, "let done = ::cell_runtime::run(|| -> {result} {{");
            if self.awaits {
                head.push_str(
                    "::cell_runtime::shared(|| ::tokio::runtime::Runtime::new().expect(\"threads for futures\")).handle().block_on(::cell_runtime::until_stopped(async {\n",
                );
            }
        }
        source.generated(&head);
        for statement in &cell.statements {
            source.cell(number, code, statement.clone()).generated("\n");
        }
        if let Some(tail) = &cell.tail {
            self.value(source, number, code, tail.clone(), show);
        }
        for local in cell.locals.iter().filter(|local| self.stores(&local.name)) {
            let name = &local.name;
            source.piece(
                Origin::Store(name.clone()),
                &format!("let _ = ::cell_runtime::store(\"{name}\", {name});\n"),
            );
        }
        if self.explain {
            source.generated("::std::result::Result::Ok(())\n}\n");
            return;
        }
        if self.awaits {
            source.generated(&format!("<{result}>::Ok(())\n}}))\n}});\n"));
        } else {
            source.generated("::std::result::Result::Ok(())\n});\n");
        }
        for name in self.taken.keys().filter(|name| !self.moved.contains(*name)) {
            let shadowed = cell.locals.iter().any(|local| local.name == *name);
            let condition = if shadowed { "if !done " } else { "" };
            source.piece(
                Origin::Keep(name.clone()),
                &format!("{condition}{{ ::cell_runtime::keep(\"{name}\", {name}); }}\n"),
            );
        }
        source.generated("store\n}\n");
    }

    fn value(
        &self,
        source: &mut Source,
        number: u64,
        code: &str,
        tail: std::ops::Range<usize>,
        show: Show,
    ) {
        if self.plain_value || self.explain {
            let format = match show.format {
                Format::Display => "{}",
                _ => "{:?}",
            };
            source
                .generated(&format!("::std::format!(\"{format}\", &(\n"))
                .cell(number, code, tail)
                .generated("\n));\n");
            return;
        }
        let by = match show.format {
            Format::Display => "ByDisplay",
            _ => "ByDebug",
        };
        source
            .generated(&format!("{{ use ::cell_runtime::{by} as _; (\n"))
            .cell(number, code, tail)
            .generated("\n)")
            .piece(Origin::Show, ".evcxr_display();")
            .generated(" }\n");
    }
}

/// The function that runs a cell.
pub(super) fn function(number: u64) -> String {
    format!("run_cell_{number}")
}

/// The library's source.
pub(super) fn library(session: &Session, umbrellas: &[String]) -> Source {
    let mut source = Source::default();
    preamble(&mut source, session, umbrellas);
    for (_, import) in &session.imports {
        source.generated(&import.code).generated("\n");
    }
    for item in &session.items {
        if let What::Macro(_) = item.what {
            source.generated("#[macro_export] ");
        }
        definition(&mut source, item);
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
        source.generated(&format!("use ::{WITH_ITEMS}::*;\n"));
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
                source.generated(&format!("use ::{WITH_ITEMS}::{name};\n"));
            }
        }
    } else {
        // A macro is known only after its definition.
        for item in &session.items {
            if let What::Macro(_) = item.what {
                definition(&mut source, item);
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
        for item in &session.items {
            if !matches!(item.what, What::Macro(_)) {
                definition(&mut source, item);
            }
        }
    }
    source
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

/// An item as another crate must see it, also in its own crate: what is visible is part of a type's identity.
fn definition(source: &mut Source, item: &Definition) {
    let mut start = 0;
    for end in item.private.iter().copied().chain([item.text.len()]) {
        let origin = Origin::Cell {
            cell: item.cell,
            start: item.start + start,
        };
        source.piece(origin, &item.text[start..end]);
        if end < item.text.len() {
            source.generated("pub ");
        }
        start = end;
    }
    source.generated("\n");
}

/// A cell that could not be taken apart, so that the compiler says why.
pub(super) fn whole(number: u64, code: &str, cell: &Cell) -> Source {
    let mut source = Source::default();
    source
        .generated(QUIET)
        .generated("fn cell() {\n")
        .cell(number, code, cell.rust.clone())
        .generated("\n}\n");
    source
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
