//! Checks of imports from crates. Cells that do not need them are compiled without them, which must
//! not change the meaning of a cell.

use std::path::Path;

use azureml_kernel_evaluator::Evaluator;

use crate::support::{Engine, OwnCheck, error, ok, start, value, write};

pub const CHECKS: &[OwnCheck] = &[
    (
        "imports_are_left_out_where_nothing_needs_them",
        imports_are_left_out_where_nothing_needs_them,
    ),
    (
        "what_a_glob_shadows_stays_shadowed",
        what_a_glob_shadows_stays_shadowed,
    ),
    (
        "what_imports_bring_is_there_in_later_cells",
        what_imports_bring_is_there_in_later_cells,
    ),
    (
        "imports_that_cannot_be_listed_are_kept",
        imports_that_cannot_be_listed_are_kept,
    ),
];

/// Creates a crate with a large prelude, and a crate of macros that it re-exports.
fn crates(root: &Path) -> String {
    write(
        root,
        "derives/Cargo.toml",
        "[package]\nname = \"derives\"\nversion = \"1.0.0\"\nedition = \"2024\"\n[lib]\nproc-macro = true\n",
    );
    write(
        root,
        "derives/src/lib.rs",
        r#"use proc_macro::{TokenStream, TokenTree};

        #[proc_macro_derive(Named)]
        pub fn named(item: TokenStream) -> TokenStream {
            let mut words = item.into_iter().filter_map(|token| match token {
                TokenTree::Ident(word) => Some(word.to_string()),
                _ => None,
            });
            let name = words.by_ref().skip_while(|word| word != "struct").nth(1).unwrap();
            format!("impl ::plenty::Named for {name} {{ fn name() -> &'static str {{ \"{name}\" }} }}").parse().unwrap()
        }"#,
    );
    write(
        root,
        "plenty/Cargo.toml",
        "[package]\nname = \"plenty\"\nversion = \"1.0.0\"\nedition = \"2024\"\n[dependencies]\nderives = { path = \"../derives\" }\n",
    );
    write(
        root,
        "plenty/src/lib.rs",
        r#"pub use derives::Named;
        pub trait Named { fn name() -> &'static str; }
        pub trait Loud { fn loud(&self) -> String; }
        impl Loud for str { fn loud(&self) -> String { self.to_uppercase() } }
        /// By value, so that it comes before `String::len`.
        pub trait Measure { fn len(self) -> &'static str; }
        impl Measure for String { fn len(self) -> &'static str { "long" } }
        pub fn drop<T>(_: T) -> &'static str { "kept" }
        #[macro_export]
        macro_rules! twice { ($value:expr) => { 2 * $value }; }
        #[macro_export]
        macro_rules! line { () => { "a line" }; }
        pub mod prelude { pub use crate::{Loud, Measure, drop, line, twice}; }
        pub mod nameless { pub use crate::{Loud as _, Measure as _}; }
        pub mod measure { pub use crate::Measure; }
        #[derive(Debug)]
        pub struct Thing;
        "#,
    );
    format!(":dep {}", root.join("plenty").display())
}

/// Whether the cell process has loaded the crates.
fn loaded(evaluator: &mut dyn Evaluator) -> bool {
    let code = "std::fs::read_to_string(\"/proc/self/maps\")?.contains(\"libdependencies_\")";
    value(evaluator, code) == "true"
}

/// Starts an evaluator with these crates and imports, and waits until it has analysed them.
fn importing(engine: Engine, cache: &Path, root: &Path, imports: &str) -> Box<dyn Evaluator> {
    let mut evaluator = start(engine, cache);
    let line = crates(root);
    ok(&mut *evaluator, &format!("{line}\n{imports}"));
    evaluator.warm_up();
    evaluator
}

fn imports_are_left_out_where_nothing_needs_them(engine: Engine, cache: &Path) {
    let root = tempfile::tempdir().expect("a temporary folder");
    let imports = "use plenty::prelude::*; use plenty::Thing;";
    let mut evaluator = importing(engine, cache, root.path(), imports);
    let evaluator = &mut *evaluator;
    value(evaluator, "let list = vec![1, 2, 3];");
    value(
        evaluator,
        "fn sum(list: &[i32]) -> i32 { list.iter().sum() }",
    );
    evaluator.warm_up();
    assert_eq!(value(evaluator, "sum(&list)"), "6");
    assert!(!loaded(evaluator));
    assert_eq!(value(evaluator, "let thing = Thing; \"a\".loud()"), "\"A\"");
    assert!(loaded(evaluator));
    // The name of the type is not in the cell, but the variable has this type.
    assert_eq!(value(evaluator, "thing"), "Thing");
    let (_, wrong) = error(evaluator, "let number: i32 = \"text\";");
    assert!(
        wrong.evalue.contains("mismatched types"),
        "{}",
        wrong.evalue
    );
}

fn what_a_glob_shadows_stays_shadowed(engine: Engine, cache: &Path) {
    let root = tempfile::tempdir().expect("a temporary folder");
    let mut evaluator = importing(engine, cache, root.path(), "use plenty::prelude::*;");
    let evaluator = &mut *evaluator;
    assert_eq!(value(evaluator, "drop(1)"), "\"kept\"");
    value(evaluator, "let text = String::from(\"abc\");");
    assert_eq!(value(evaluator, "text.clone().len()"), "\"long\"");
    assert_eq!(value(evaluator, "vec![1, 2].len()"), "2");
    value(evaluator, "fn dropped() -> &'static str { drop(1) }");
    value(
        evaluator,
        "macro_rules! end { ($it:expr) => { drop($it) }; }",
    );
    evaluator.warm_up();
    assert_eq!(value(evaluator, "dropped()"), "\"kept\"");
    assert_eq!(value(evaluator, "end!(1)"), "\"kept\"");
    // Definitions of the session take precedence over glob imports.
    value(evaluator, "fn drop(_: i32) -> &'static str { \"mine\" }");
    evaluator.warm_up();
    assert_eq!(value(evaluator, "drop(1)"), "\"mine\"");
    assert_eq!(value(evaluator, "end!(1)"), "\"mine\"");
}

fn what_imports_bring_is_there_in_later_cells(engine: Engine, cache: &Path) {
    let root = tempfile::tempdir().expect("a temporary folder");
    let imports = "use plenty::prelude::*; use plenty::{Named, Thing as It};";
    let mut evaluator = importing(engine, cache, root.path(), imports);
    let evaluator = &mut *evaluator;
    assert_eq!(value(evaluator, "\"a\".loud()"), "\"A\"");
    assert_eq!(value(evaluator, "twice!(21)"), "42");
    value(evaluator, "fn both(n: i32) -> i32 { twice!(n) }");
    evaluator.warm_up();
    assert_eq!(value(evaluator, "both(2)"), "4");
    assert_eq!(value(evaluator, "It"), "Thing");
    value(evaluator, "#[derive(Named)] struct Own;");
    evaluator.warm_up();
    assert_eq!(value(evaluator, "Own::name()"), "\"Own\"");
    assert_eq!(
        value(evaluator, "let name: String = \"b\".to_owned(); name"),
        "\"b\""
    );
}

fn imports_that_cannot_be_listed_are_kept(engine: Engine, cache: &Path) {
    let root = tempfile::tempdir().expect("a temporary folder");
    for imports in [
        "use plenty::nameless::*;",
        "use plenty::measure as other; use other::*;",
        "use plenty::Measure as _;",
    ] {
        let mut evaluator = importing(engine, cache, root.path(), imports);
        let evaluator = &mut *evaluator;
        value(evaluator, "let text = String::from(\"abc\");");
        assert_eq!(
            value(evaluator, "text.clone().len()"),
            "\"long\"",
            "{imports}"
        );
    }
}
