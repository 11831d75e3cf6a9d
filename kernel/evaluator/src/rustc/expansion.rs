//! Finds the items that a macro of a crate defines, by expanding the macro call with the compiler.

use ra_ap_syntax::ast::{self, HasModuleItem, HasName};
use ra_ap_syntax::{Edition, SourceFile};

use super::cell::{Cell, Import, What};
use super::session::Session;

/// Marks the start of the macro call in the source and in the compiler's expanded output.
const BEGIN: &str = "const __AZK_BEGIN";

/// Macros of the standard library that expand to expressions or statements, never to items.
const VALUES: &[&str] = &[
    "assert",
    "assert_eq",
    "assert_ne",
    "column",
    "concat",
    "dbg",
    "debug_assert",
    "debug_assert_eq",
    "debug_assert_ne",
    "env",
    "eprint",
    "eprintln",
    "file",
    "format",
    "format_args",
    "include_bytes",
    "include_str",
    "line",
    "matches",
    "module_path",
    "option_env",
    "panic",
    "print",
    "println",
    "stringify",
    "todo",
    "unimplemented",
    "unreachable",
    "vec",
    "write",
    "writeln",
];

/// Returns whether a macro is known to expand to expressions or statements only.
pub(super) fn is_value(name: &str) -> bool {
    VALUES.contains(&name)
}

/// Builds the source of a crate whose only item is the macro call, with the imports and macros of
/// the session and the cell that name resolution of the call may need.
pub(super) fn source(session: &Session, code: &str, cell: &Cell, expanded: &str) -> String {
    let mut source = "#![allow(unused)]\n".to_owned();
    let of_cell = cell.items.iter().flat_map(|item| match &item.what {
        What::Use(imports) => imports.as_slice(),
        _ => &[],
    });
    let imports: Vec<&Import> = session
        .imports
        .iter()
        .map(|(_, import)| import)
        .chain(of_cell)
        .filter(|import| is_from_crate(import, session))
        .collect();
    for (index, import) in imports.iter().enumerate() {
        let is_hidden = imports[index + 1..].iter().any(|later| {
            later.name == import.name && import.name.is_some() || later.code == import.code
        });
        if !is_hidden {
            source += &import.code;
            source.push('\n');
        }
    }
    let is_macro = |what: &What| matches!(what, What::Macro(_));
    let own = cell.items.iter().filter(|item| is_macro(&item.what));
    let items = session.items.iter().filter(|item| is_macro(&item.what));
    let macros = items.map(|item| item.text.as_str());
    for text in macros.chain(own.map(|item| &code[item.range.clone()])) {
        source += text;
        source.push('\n');
    }
    source.push_str(BEGIN);
    source.push_str(": () = ();\n");
    source.push_str(expanded);
    // A macro call in item position needs a trailing semicolon unless it ends with `}`.
    if !expanded.trim_end().ends_with(['}', ';']) {
        source.push(';');
    }
    source.push('\n');
    source
}

fn is_from_crate(import: &Import, session: &Session) -> bool {
    let path = import.code.trim_start_matches("#[macro_use] ");
    if path.starts_with("extern crate ") {
        return true;
    }
    let path = path.trim_start_matches("use ").trim_start_matches("::");
    let root = path.split([':', ' ', ';']).next().unwrap_or_default();
    ["std", "core", "alloc"].contains(&root) || session.outside.crates.contains(root)
}

/// Returns the items of the call in the compiler's expanded output, if any of them has a name.
pub(super) fn items(expanded: &str) -> Option<String> {
    let (_, after) = expanded.split_once(BEGIN)?;
    let (_, text) = after.split_once(';')?;
    let file = SourceFile::parse(text, Edition::Edition2024).tree();
    let is_named = |item: ast::Item| match item {
        ast::Item::Const(it) => it.name().is_some(),
        ast::Item::MacroCall(_) | ast::Item::AsmExpr(_) => false,
        _ => true,
    };
    file.items().any(is_named).then(|| text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_told_from_values() {
        let printed =
            |text: &str| items(&format!("use std::x;\nconst __AZK_BEGIN: () = ();\n{text}"));
        assert_eq!(printed("pub struct A;\n").as_deref(), Some("pub struct A;"));
        assert_eq!(
            printed("const N: u8 = 1;").as_deref(),
            Some("const N: u8 = 1;")
        );
        assert_eq!(printed("const _: () = ();"), None);
        assert_eq!(printed(""), None);
        assert_eq!(items("struct A;"), None);
    }

    #[test]
    fn the_call_stands_among_the_imports_from_crates() {
        let mut session = Session::default();
        let code = "use std::fmt; mod own {} use own::*; macro_rules! m { () => {} } struct S;";
        session.define(1, code, &Cell::parse(code));
        let code = "use std::io as fmt;\nfmt::make!(A)";
        let source = source(&session, code, &Cell::parse(code), "fmt::make!(A)");
        assert_eq!(
            source,
            "#![allow(unused)]\nuse std::io as fmt;\nmacro_rules! m { () => {} }\nconst __AZK_BEGIN: () = ();\nfmt::make!(A);\n"
        );
    }
}
