//! Checks that a notebook has the meaning of the same program: tables of short notebooks, by topic.

use std::path::Path;

use azureml_kernel_evaluator::Evaluator;

use crate::notebooks::Then::{self, Fails, Is, Runs, Shows};
use crate::notebooks::{clear, execute, run};
use crate::support::{Engine, OwnCheck, start, write};

pub const CHECKS: &[OwnCheck] = &[
    (
        "memory_a_variable_is_lost_when_anything_below_its_type_changes",
        memory_a_variable_is_lost_when_anything_below_its_type_changes,
    ),
    (
        "memory_a_variable_stays_when_nothing_below_its_type_changes",
        memory_a_variable_stays_when_nothing_below_its_type_changes,
    ),
    (
        "memory_a_redefined_type_is_another_type",
        memory_a_redefined_type_is_another_type,
    ),
    (
        "memory_a_type_of_an_edited_crate_is_another_type",
        memory_a_type_of_an_edited_crate_is_another_type,
    ),
    (
        "names_of_generated_code_are_free",
        names_of_generated_code_are_free,
    ),
    ("names_are_free_again", names_are_free_again),
    (
        "names_in_namespaces_of_their_own",
        names_in_namespaces_of_their_own,
    ),
    ("capitals_are_variables", capitals_are_variables),
    ("types_are_written_back", types_are_written_back),
    (
        "an_edited_cell_replaces_itself",
        an_edited_cell_replaces_itself,
    ),
    (
        "definitions_that_do_not_fit_are_named",
        definitions_that_do_not_fit_are_named,
    ),
    ("items_come_from_macros", items_come_from_macros),
    (
        "items_come_from_macros_of_crates",
        items_come_from_macros_of_crates,
    ),
    ("statics_keep_their_values", statics_keep_their_values),
    (
        "statics_of_macros_keep_their_values",
        statics_of_macros_keep_their_values,
    ),
    ("errors_are_the_compilers_own", errors_are_the_compilers_own),
    (
        "nothing_is_dropped_in_silence",
        nothing_is_dropped_in_silence,
    ),
    (
        "overflow_is_a_panic_at_all_levels",
        overflow_is_a_panic_at_all_levels,
    ),
];

fn memory_a_variable_is_lost_when_anything_below_its_type_changes(engine: Engine, cache: &Path) {
    let evaluator = &mut *start(engine, cache);
    for (title, before, edited) in [
        (
            "a constant",
            "pub const N: usize = 2; #[derive(Debug)] struct Row([u64; N]); let v = Row([1; N]);",
            "pub const N: usize = 6;",
        ),
        (
            "a constant below an attribute",
            "#[allow(dead_code)] const N: usize = 1; #[derive(Debug)] struct B([u64; N]); let v = B([3]);",
            "#[allow(dead_code)] const N: usize = 5;",
        ),
        (
            "a constant by a function",
            "const fn n() -> usize { 1 } #[derive(Debug)] struct B([u64; n()]); let v = B([3]);",
            "const fn n() -> usize { 7 }",
        ),
        (
            "an import under another name",
            "use std::collections::HashMap as Map; #[derive(Debug, Default)] struct C { m: Map<String, u32> } let mut v = C::default(); v.m.insert(String::new(), 1);",
            "use std::collections::BTreeMap as Map;",
        ),
        (
            "an import of a module of its own",
            "mod units { pub type Num = u8; } use units::Num; #[derive(Debug)] struct P { n: Num } let v = P { n: 5 };",
            "mod units { pub type Num = f64; }",
        ),
        (
            "all of a module",
            "mod units { pub type Num = u8; } use units::*; #[derive(Debug)] struct P { n: Num } let v = P { n: 5 };",
            "mod units { pub type Num = String; }",
        ),
        (
            "an alias",
            "type A = u8; #[derive(Debug)] struct P { n: A } let v = vec![P { n: 5 }];",
            "type A = String;",
        ),
        (
            "a constant of a trait",
            "trait Size { const N: usize; } struct A; impl Size for A { const N: usize = 1; } #[derive(Debug)] struct B([u64; <A as Size>::N]); let v = B([7]);",
            "impl Size for A { const N: usize = 6; }",
        ),
        (
            "a type of a trait",
            "trait Kind { type Out; } struct A; impl Kind for A { type Out = u8; } struct H<T: Kind> { v: T::Out } let v = H::<A> { v: 5 };",
            "impl Kind for A { type Out = [u64; 4]; }",
        ),
        (
            "a type of a trait of the library",
            "struct A; impl Iterator for A { type Item = u8; fn next(&mut self) -> Option<u8> { Some(1) } } let mut v = A.peekable(); v.peek();",
            "impl Iterator for A { type Item = String; fn next(&mut self) -> Option<String> { None } }",
        ),
        (
            "a macro in a field",
            "macro_rules! field { () => { u8 } } #[derive(Debug)] struct R { v: field!() } let v = R { v: 5 };",
            "macro_rules! field { () => { String } }",
        ),
        (
            "methods of a trait object",
            "trait T { fn a(&self) -> u8; } struct S; impl T for S { fn a(&self) -> u8 { 1 } } let v: Box<dyn T> = Box::new(S);",
            "trait T { fn b(&self) -> String; fn a(&self) -> u8; } impl T for S { fn a(&self) -> u8 { 1 } fn b(&self) -> String { String::new() } }",
        ),
        (
            "a constant in the same cell as the use",
            "const N: usize = 1; #[derive(Debug)] struct B([u64; N]); let v = B([3]);",
            "const N: usize = 3; let w = B([1; 3]);",
        ),
    ] {
        for uses in ["std::mem::size_of_val(&v)", "drop(v);"] {
            clear(evaluator);
            execute(evaluator, before).1.expect(title);
            let (seen, edit) = execute(evaluator, edited);
            edit.expect(title);
            assert!(
                seen.contains("The type of the variable v was redefined"),
                "{title}: {seen}"
            );
            let error = execute(evaluator, uses).1.expect_err(title);
            assert!(error.contains("E0425"), "{title}: {error}");
            assert!(error.contains("`v` was lost when "), "{title}: {error}");
        }
    }
}

fn memory_a_variable_stays_when_nothing_below_its_type_changes(engine: Engine, cache: &Path) {
    let made: (&str, Then) = (
        "#[derive(Debug, Clone, Copy)] struct P { x: f64, y: f64 }\nimpl P { fn sum(&self) -> f64 { self.x + self.y } }\nlet p = P { x: 1.0, y: 2.0 };\nlet list = vec![p];",
        Runs,
    );
    run(
        engine,
        cache,
        &[(
            "other things are defined",
            &[
                made,
                (
                    "/// Words.\n#[derive(Debug, Clone, Copy)]\nstruct P { x: f64, y: f64 }",
                    Runs,
                ),
                ("impl P { fn sum(&self) -> f64 { self.x - self.y } }", Runs),
                (
                    "impl std::ops::Add for P { type Output = P; fn add(self, o: P) -> P { P { x: self.x + o.x, y: self.y + o.y } } }",
                    Runs,
                ),
                (
                    "use std::collections::*;\nuse std::fmt::Write as _;\nfn x() -> u8 { 1 }\nconst Y: u8 = 1;\nstruct Q(P);\ntrait Tall { const N: usize = 1; }\nimpl Tall for P {}",
                    Runs,
                ),
                ("const Y: u8 = 2;", Runs),
                ("p.sum()", Is("-1.0")),
                ("(list[0] + p).x", Is("2.0")),
            ],
        )],
    );
}

fn memory_a_redefined_type_is_another_type(engine: Engine, cache: &Path) {
    let evaluator = &mut *start(engine, cache);
    // Each entry: a cell that creates a value, an expression that tests its type behind `dyn Any`,
    // an edit of a type or constant below it, and the reverted edit.
    for (title, before, is, edited, undone) in [
        (
            "a structure",
            "#[derive(Debug)] struct P { x: u8 } let any: Box<dyn Any> = Box::new(P { x: 1 });",
            "any.is::<P>()",
            "#[derive(Debug)] struct P { x: String }",
            "#[derive(Debug)] struct P { x: u8 }",
        ),
        (
            "its constant",
            "const N: usize = 1; struct Row([u8; N]); let any: Box<dyn Any> = Box::new(vec![Row([1])]);",
            "any.is::<Vec<Row>>()",
            "const N: usize = 64;",
            "const N: usize = 1;",
        ),
        (
            "an error",
            "#[derive(Debug)] enum E { A, B(u8) } impl std::fmt::Display for E { fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result { f.write_str(\"e\") } } impl std::error::Error for E {} let any: Box<dyn std::error::Error> = Box::new(E::B(1));",
            "any.is::<E>()",
            "#[derive(Debug)] enum E { A, B(String) }",
            "#[derive(Debug)] enum E { A, B(u8) }",
        ),
        (
            "the methods of a trait object",
            "trait T { fn a(&self) -> u8 { 1 } } impl T for u8 {} let any: Box<dyn Any> = Box::new(Box::new(1_u8) as Box<dyn T>);",
            "any.is::<Box<dyn T>>()",
            "trait T { fn b(&self) -> String { String::new() } fn a(&self) -> u8 { 1 } }",
            "trait T { fn a(&self) -> u8 { 1 } }",
        ),
        (
            "a type of a trait",
            "struct A; impl Iterator for A { type Item = u8; fn next(&mut self) -> Option<u8> { Some(1) } } let any: Box<dyn Any> = Box::new(A.peekable());",
            "any.is::<std::iter::Peekable<A>>()",
            "impl Iterator for A { type Item = String; fn next(&mut self) -> Option<String> { None } }",
            "impl Iterator for A { type Item = u8; fn next(&mut self) -> Option<u8> { Some(1) } }",
        ),
        (
            "a private type of a module",
            "type Num = u8; mod m { use std::any::Any; struct Hidden { n: super::Num, pub(super) o: self::inner::O } mod inner { pub(super) struct O(pub super::super::Num); } pub fn make() -> Box<dyn Any> { Box::new(Hidden { n: 1, o: inner::O(1) }) } pub fn is(any: &Box<dyn Any>) -> bool { any.is::<Hidden>() } } let any = m::make();",
            "m::is(&any)",
            "type Num = u64;",
            "type Num = u8;",
        ),
        (
            "a type in a function",
            "type Num = u8; fn of(any: Option<&dyn Any>) -> (Box<dyn Any>, bool) { struct L(Num); (Box::new(L(1)), any.is_some_and(|any| any.is::<L>())) } let any = of(None).0;",
            "of(Some(&*any)).1",
            "type Num = String; fn of(any: Option<&dyn Any>) -> (Box<dyn Any>, bool) { struct L(Num); (Box::new(L(String::new())), any.is_some_and(|any| any.is::<L>())) }",
            "type Num = u8; fn of(any: Option<&dyn Any>) -> (Box<dyn Any>, bool) { struct L(Num); (Box::new(L(1)), any.is_some_and(|any| any.is::<L>())) }",
        ),
        (
            "a type in a method",
            "struct Q; impl Q { fn of(any: Option<&dyn Any>) -> (Box<dyn Any>, bool) { #[derive(Clone)] struct L(u8); (Box::new(L(1)), any.is_some_and(|any| any.is::<L>())) } } let any = Q::of(None).0;",
            "Q::of(Some(&*any)).1",
            "impl Q { fn of(any: Option<&dyn Any>) -> (Box<dyn Any>, bool) { #[derive(Clone)] struct L(u64); (Box::new(L(1)), any.is_some_and(|any| any.is::<L>())) } }",
            "impl Q { fn of(any: Option<&dyn Any>) -> (Box<dyn Any>, bool) { #[derive(Clone)] struct L(u8); (Box::new(L(1)), any.is_some_and(|any| any.is::<L>())) } }",
        ),
    ] {
        for library in [false, true] {
            clear(evaluator);
            for (code, expected) in [
                ("use std::any::Any;", ""),
                (before, ""),
                (is, "true"),
                ("struct Unrelated(u8); fn unrelated() {}", ""),
                ("struct Unrelated(String); impl Unrelated {}", ""),
                (is, "true"),
                (edited, ""),
                (is, "false"),
                (undone, ""),
                (is, "true"),
            ] {
                if library {
                    evaluator.warm_up();
                }
                let (seen, outcome) = execute(evaluator, code);
                assert_eq!(outcome, Ok(expected.to_owned()), "{title}: {code}\n{seen}");
            }
        }
    }
    let again: &[(&str, Then)] = &[
        (
            "#[derive(Debug, Clone, Default)] struct P<T = u8> { x: T, pub(crate) y: u8 }\nimpl<T> P<T> { fn own(self) -> T { self.x } }\n#[derive(Debug, Clone, Copy, PartialEq)] enum E { A = 1, B }\nuse E::*;\ntrait T { const N: usize = 1; fn t(&self) -> usize { help() + Self::N } }\nfn help() -> usize { 1 }\nimpl T for P {}\nunion U { a: u8 }\nstruct W(u8);\nmod m { pub mod n { pub struct A(pub(in super::super) u8, pub(super) u8); impl A { pub fn new() -> A { A(1, super::two()) } fn sum(&self) -> u8 { self.0 + self.1 } pub(crate) fn all(&self) -> u8 { self.sum() } } } fn two() -> u8 { 2 } pub use n::A; }\nlet kept = 1;",
            Runs,
        ),
        (
            "#[derive(Debug, Clone, Default)] struct P<T = u8> { y: u8, x: T, z: self::W }\n#[derive(Debug, Clone, Copy, PartialEq)] enum E { B = 2, A, C }\nuse E::*;\ntrait T { fn t(&self) -> usize { help() + Self::N } const N: usize = 1; fn u(&self) {} }\nunion U { a: u16 }\n#[derive(Debug, Clone, Default)] struct W(u16);\nmod m { pub mod n { pub struct A(pub(in super::super) u16, pub(super) u8); impl A { pub fn new() -> A { A(1, super::two()) } fn sum(&self) -> u8 { self.0 as u8 + self.1 } pub(crate) fn all(&self) -> u8 { self.sum() } } } fn two() -> u8 { 2 } pub use n::A; }\nlet p = P::<u8>::default(); let e = C; let u = U { a: 300 }; let w = W(7); let a = m::A::new();",
            Runs,
        ),
        (
            "(p.clone().own(), p.t(), e == E::A, unsafe { u.a }, w.0, a.all(), a.0)",
            Is("(0, 2, false, 300, 7, 3, 1)"),
        ),
        ("let w: W = 1;", Fails(&["expected `W`, found integer"])),
        (
            "let m::A(x, _) = a; P { x, ..P::default() }.nothing()",
            Fails(&["E0599", "`P<u16>`"]),
        ),
        ("p", Is("P { y: 0, x: 0, z: W(0) }")),
        (":vars", Shows("")),
    ];
    let later: &[(&str, Then)] = &[
        ("use std::any::Any;\nstruct A;\nlet a = A;", Runs),
        (
            "impl Iterator for A { type Item = u8; fn next(&mut self) -> Option<u8> { Some(1) } }\nlet any: Box<dyn Any> = Box::new(A.peekable());",
            Runs,
        ),
        ("let _ = &a; any.is::<std::iter::Peekable<A>>()", Is("true")),
        (
            "impl Iterator for A { type Item = String; fn next(&mut self) -> Option<String> { None } }",
            Shows("variable a"),
        ),
        ("any.is::<std::iter::Peekable<A>>()", Is("false")),
    ];
    run(
        engine,
        cache,
        &[
            ("all kinds, written again", again),
            ("a trait that is implemented later", later),
        ],
    );
}

fn names_of_generated_code_are_free(engine: Engine, cache: &Path) {
    let evaluator = &mut *start(engine, cache);
    for name in [
        "store",
        "done",
        "cell",
        "session",
        "cell_runtime",
        "run_cell_1",
        "__azk_runtime",
        "__azk_items",
        "__azk_all",
        "__AzkOf",
        "result",
        "tokio",
        "std",
        "core",
        "__azk_cell_1",
        "check",
        "take",
        "keep",
    ] {
        clear(evaluator);
        let fine = |evaluator: &mut dyn Evaluator, code: &str, value: &str| {
            let (seen, outcome) = execute(evaluator, code);
            assert_eq!(outcome, Ok(value.to_owned()), "{name}: {code}\n{seen}");
        };
        fine(
            evaluator,
            &format!("let mut {name} = vec![1];\nlet other = 5;"),
            "",
        );
        fine(evaluator, &format!("{name}.push(2); {name}.len()"), "2");
        fine(evaluator, &format!("other + 1 // {name}"), "6");
        fine(
            evaluator,
            &format!("\"{name}\".len() == {}", name.len()),
            "true",
        );
        fine(evaluator, &format!("let {name} = false; !{name}"), "true");
        fine(evaluator, &format!("let {name} = {name} || true;"), "");
        fine(evaluator, &format!("({name}, other)"), "(true, 5)");
        clear(evaluator);
        // Generated code itself refers to these crates.
        if !["std", "core", "tokio"].contains(&name) {
            fine(
                evaluator,
                &format!(
                    "mod {name} {{ #[derive(Debug)] pub struct Id(pub u8); }}\nlet id = {name}::Id(1);"
                ),
                "",
            );
            fine(evaluator, "id", "Id(1)");
            clear(evaluator);
        }
        fine(
            evaluator,
            &format!("fn {name}(n: i32) -> i32 {{ n + 1 }}\nlet other = 5;"),
            "",
        );
        fine(evaluator, &format!("{name}(other)"), "6");
        fine(
            evaluator,
            &format!(
                "#[allow(non_camel_case_types)] #[derive(Debug)] enum {name} {{ A }}\nlet kept = {name}::A;"
            ),
            "",
        );
        fine(evaluator, "kept", "A");
        fine(
            evaluator,
            &format!("macro_rules! {name} {{ () => {{ 7 }} }}\n{name}!()"),
            "7",
        );
        fine(evaluator, &format!("{name}!() + other"), "12");
        fine(
            evaluator,
            &format!("'{name}: loop {{ break '{name} 3 }}"),
            "3",
        );
    }
}

fn names_are_free_again(engine: Engine, cache: &Path) {
    run(
        engine,
        cache,
        &[
            (
                "`return` before the end of a cell",
                &[
                    ("let old = 1;", Runs),
                    (
                        "let a = 5;\nlet old = 2;\nif a > 2 { return Ok(()); }\nprintln!(\"no\");",
                        Shows("`return` has ended the cell"),
                    ),
                    ("old", Is("1")),
                    ("a", Fails(&["E0425"])),
                    ("let a = 6; a", Is("6")),
                    ("a", Is("6")),
                ],
            ),
            (
                "a variable whose type is lost",
                &[
                    ("struct P(u8); let p = P(1);", Runs),
                    ("struct P(u16);", Shows("variable p")),
                    ("for p in [1, 2] { println!(\"{p}\"); }", Shows("1\n2\n")),
                    ("fn p() -> u8 { 3 }", Runs),
                    ("p()", Is("3")),
                    ("let q = P(1);", Runs),
                    (
                        "struct P(u32);\nlet n = q.0;",
                        Fails(&["E0425", "this cell changes what `q` is made of (`P`)"]),
                    ),
                    ("q.0", Is("1")),
                    ("use std::process as p;", Runs),
                    ("let p = 4; p", Is("4")),
                ],
            ),
            (
                "words that are no uses",
                &[
                    ("let x = vec![1, 2, 3];", Runs),
                    ("struct P { x: i32 }\nlet p = P { x: 4 };\np.x", Is("4")),
                    ("let f = 1; // x\n\"x\"", Is("\"x\"")),
                    ("let t = [7].iter().map(|x| x + 1).sum::<i32>(); t", Is("8")),
                    ("x", Is("[1, 2, 3]")),
                ],
            ),
            (
                "a variable that is hidden by one that ends",
                &[
                    ("let old = 1;", Runs),
                    ("let old = |n: i32| n; old(2)", Is("2")),
                    ("old", Fails(&["ends with its cell"])),
                    ("let old = 3; old", Is("3")),
                ],
            ),
        ],
    );
}

fn names_in_namespaces_of_their_own(engine: Engine, cache: &Path) {
    run(
        engine,
        cache,
        &[
            (
                "an import, then a function",
                &[
                    ("use std::process;", Runs),
                    ("fn process(n: i32) -> i32 { n + 1 }", Runs),
                    ("process(1)", Is("2")),
                    ("process::id() > 0", Is("true")),
                ],
            ),
            (
                "a function, then an import",
                &[
                    ("fn fmt(n: i32) -> String { format!(\"<{n}>\") }", Runs),
                    ("use std::fmt;", Runs),
                    ("fmt(1)", Is("\"<1>\"")),
                    ("fmt::format(format_args!(\"a\"))", Is("\"a\"")),
                ],
            ),
            (
                "an import of a function, then a function",
                &[
                    ("use std::mem::swap;", Runs),
                    ("fn swap(n: u8) -> u8 { n }", Runs),
                    ("swap(3)", Is("3")),
                    ("use std::mem::swap;", Runs),
                    (
                        "let (mut a, mut b) = (1, 2); swap(&mut a, &mut b); a",
                        Is("2"),
                    ),
                ],
            ),
            (
                "two macros of one name in one cell",
                &[
                    (
                        "macro_rules! m { () => { 1 } }\nlet a = m!();\nfn f() -> u8 { m!() }\nmacro_rules! m { () => { 2 } }\n(a, m!(), f())",
                        Is("(1, 2, 1)"),
                    ),
                    ("m!()", Is("2")),
                    ("f()", Is("1")),
                ],
            ),
            (
                "two of one name in one cell",
                &[
                    (
                        "fn twice() -> u8 { 1 }\nfn twice() -> u8 { 2 }",
                        Fails(&["E0428"]),
                    ),
                    ("fn twice() -> u8 { 3 }", Runs),
                    ("twice()", Is("3")),
                ],
            ),
        ],
    );
}

fn capitals_are_variables(engine: Engine, cache: &Path) {
    run(
        engine,
        cache,
        &[
            (
                "a matrix and a number",
                &[
                    ("let A = [[1, 2], [3, 4]];\nlet N = 2;", Runs),
                    ("A[1][0] + N", Is("5")),
                    ("let (Q, R) = (1, 2);", Runs),
                    (
                        "let [First, .., Last] = [1, 2, 3];\nlet Some(X) = Some(9) else { panic!() };",
                        Runs,
                    ),
                    ("(Q, R, First, Last, X)", Is("(1, 2, 1, 3, 9)")),
                ],
            ),
            (
                "constants in patterns",
                &[
                    (
                        "const MAX: u8 = 3; struct Unit; #[derive(Debug)] enum E { On, Off }\nuse E::*;",
                        Runs,
                    ),
                    (
                        "let None = None::<u8> else { panic!() };\nlet (MAX, n) = (3u8, 1) else { panic!() };\nlet Off = E::Off else { panic!() };\nlet (Unit, m) = (Unit, 2);",
                        Runs,
                    ),
                    ("(MAX, n, m, Off)", Is("(3, 1, 2, Off)")),
                ],
            ),
        ],
    );
}

fn types_are_written_back(engine: Engine, cache: &Path) {
    run(
        engine,
        cache,
        &[
            (
                "modules with names like the kernel's own",
                &[
                    (
                        "mod user_session { #[derive(Debug)] pub struct User(pub u8); }\nmod session { #[derive(Debug)] pub struct Id(pub u8); pub mod cell { #[derive(Debug)] pub struct C; } }\nlet u = user_session::User(1);\nlet id = vec![session::Id(1)];\nlet c = session::cell::C;",
                        Runs,
                    ),
                    ("(u, id, c)", Is("(User(1), [Id(1)], C)")),
                ],
            ),
            (
                "what a private module exports",
                &[
                    (
                        "mod shop { mod inner { #[derive(Debug)] pub struct Item(pub u8); #[derive(Debug)] pub enum Kind { One } } pub use inner::Item; pub use self::inner::Kind as Sort; }\nlet item = shop::Item(3);\nlet kind = Some(shop::Sort::One);",
                        Runs,
                    ),
                    ("item.0 + 1", Is("4")),
                    ("kind", Is("Some(One)")),
                    (
                        "mod outer { mod a { pub mod b { #[derive(Debug)] pub struct Deep; } } pub use a::*; }\nlet deep = outer::b::Deep;",
                        Runs,
                    ),
                    ("deep", Is("Deep")),
                ],
            ),
            (
                "a type that only its module can name",
                &[
                    (
                        "mod bank { #[derive(Debug)] pub struct Open; mod vault { #[derive(Debug)] pub struct Gold(u8); pub fn gold() -> Gold { Gold(1) } } pub fn get() -> (Open, impl std::fmt::Debug) { (Open, vault::gold()) } }\nlet (open, r) = bank::get();\nprintln!(\"{r:?}\");",
                        Shows("`r` ends with its cell"),
                    ),
                    ("open", Is("Open")),
                ],
            ),
            (
                "trait objects behind references",
                &[
                    (
                        "let apply: &'static (dyn Fn(i32) -> i32 + Sync) = &|n| n + 1;\nlet e: Option<&'static (dyn std::error::Error + Send + Sync)> = None;\nlet b = Box::new(|| 1) as Box<dyn FnOnce() -> i32 + Send + Sync>;\nlet c = std::panic::catch_unwind(|| 1);",
                        Runs,
                    ),
                    (
                        "(apply(1), e.is_none(), b(), c.is_ok())",
                        Is("(2, true, 1, true)"),
                    ),
                ],
            ),
            (
                "functions",
                &[
                    (
                        "let f = i32::abs;\nlet g = str::len;\nfn twice(n: u8) -> u8 { 2 * n }\nlet h = twice;",
                        Runs,
                    ),
                    ("(f(-1), g(\"ab\"), h(4))", Is("(1, 2, 8)")),
                ],
            ),
        ],
    );
}

fn an_edited_cell_replaces_itself(engine: Engine, cache: &Path) {
    run(
        engine,
        cache,
        &[
            (
                "a field and its methods",
                &[
                    (
                        "@1\nstruct B { x: f64 }\nimpl B { fn get_x(&self) -> f64 { self.x } }",
                        Runs,
                    ),
                    (
                        "@1\nstruct B { width: f64 }\nimpl B { fn get_width(&self) -> f64 { self.width } }",
                        Runs,
                    ),
                    ("@2\nB { width: 2.0 }.get_width()", Is("2.0")),
                    ("@2\nB { width: 2.0 }.get_x()", Fails(&["E0599"])),
                ],
            ),
            (
                "nothing is left of it",
                &[
                    (
                        "@1\nmacro_rules! m { () => { 1 } }\nfn f() -> u8 { m!() }",
                        Runs,
                    ),
                    ("@2\nf() + m!()", Is("2")),
                    ("@1\n// later", Runs),
                    ("@2\nf()", Fails(&["E0425"])),
                    ("@2\nm!()", Fails(&["cannot find macro `m`"])),
                ],
            ),
            (
                "a trait with another name",
                &[
                    (
                        "@1\ntrait Greet { fn hi(&self) -> u8; }\nstruct S;\nimpl Greet for S { fn hi(&self) -> u8 { 1 } }",
                        Runs,
                    ),
                    (
                        "@1\ntrait Greeter { fn hi(&self) -> u8; }\nstruct S;\nimpl Greeter for S { fn hi(&self) -> u8 { 2 } }",
                        Runs,
                    ),
                    ("@2\nS.hi()", Is("2")),
                ],
            ),
            (
                "`derive` in the place of an `impl`",
                &[
                    (
                        "@1\nstruct P(i32);\nimpl std::fmt::Debug for P { fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { write!(f, \"own\") } }",
                        Runs,
                    ),
                    ("@1\n#[derive(Debug)]\nstruct P(i32);", Runs),
                    ("@2\nP(1)", Is("P(1)")),
                ],
            ),
            (
                "what another cell needs is said",
                &[
                    ("@1\nfn a() -> u8 { 1 }\nfn b() -> u8 { 2 }", Runs),
                    ("@2\nfn c() -> u8 { a() + b() }", Runs),
                    ("@1\nfn b() -> u8 { 3 }", Shows("`c` ")),
                    ("@3\nc()", Fails(&["run its cell again"])),
                    ("@2\nfn c() -> u8 { b() }", Runs),
                    ("@3\nc()", Is("3")),
                ],
            ),
            (
                "without ids an `impl` with another header",
                &[
                    (
                        "struct P { x: i32 }\nimpl std::fmt::Display for P { fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result { write!(f, \"P\") } }",
                        Runs,
                    ),
                    (
                        "use std::fmt;\nimpl fmt::Display for P { fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result { write!(f, \"<{}>\", self.x) } }",
                        Runs,
                    ),
                    ("println!(\"{}\", P { x: 1 });", Shows("<1>\n")),
                    (
                        "#[derive(Debug)] struct S<T>(T);\nimpl<T: std::fmt::Display> S<T> { fn show(&self) -> String { format!(\"{}\", self.0) } }",
                        Runs,
                    ),
                    (
                        "#[derive(Debug)] struct S<T>(T);\nimpl<T: std::fmt::Debug> S<T> { fn show(&self) -> String { format!(\"{:?}\", self.0) } }",
                        Runs,
                    ),
                    ("S(\"a\").show()", Is("\"\\\"a\\\"\"")),
                    (
                        "#[derive(Debug)] struct G { x: i32 }\nimpl G { fn new() -> G { G { x: 1 } } }",
                        Runs,
                    ),
                    (
                        "#[derive(Debug)] struct G<T> { x: T }\nimpl<T: Default> G<T> { fn new() -> G<T> { G { x: T::default() } } }",
                        Runs,
                    ),
                    ("G::<u8>::new()", Is("G { x: 0 }")),
                ],
            ),
            (
                "without ids an `impl` that adds members",
                &[
                    (
                        "struct P;\nimpl P { fn a() -> u8 { 1 } fn b() -> u8 { 2 } }",
                        Runs,
                    ),
                    ("impl P { fn c() -> u8 { 3 } }", Runs),
                    ("P::a() + P::b() + P::c()", Is("6")),
                    ("impl P { fn a() -> u8 { 4 } }", Runs),
                    ("P::a() + P::c()", Is("7")),
                    ("P::b()", Fails(&["E0599"])),
                ],
            ),
        ],
    );
}

fn definitions_that_do_not_fit_are_named(engine: Engine, cache: &Path) {
    run(
        engine,
        cache,
        &[
            (
                "a signature",
                &[
                    ("fn area(w: f64) -> f64 { w * w }", Runs),
                    ("fn report() -> f64 { area(2.0) }", Runs),
                    (
                        "fn area(w: f64, h: f64) -> f64 { w * h }",
                        Shows("`report` uses `area` as it was; run its cell again"),
                    ),
                    ("area(1.0, 2.0)", Is("2.0")),
                    (
                        "report()",
                        Fails(&["E0425", "`report` uses `area` as it was"]),
                    ),
                    ("fn report() -> f64 { area(2.0, 3.0) }", Runs),
                    ("report()", Is("6.0")),
                ],
            ),
            (
                "a field",
                &[
                    ("struct P { x: i32 }", Runs),
                    (
                        "fn show(p: &P) -> i32 { p.x }\nimpl P { fn own(&self) -> i32 { self.x } }",
                        Runs,
                    ),
                    ("struct P { a: i32 }", Shows("`show` uses `P` as it was")),
                    ("fn show(p: &P) -> i32 { p.a }", Runs),
                    ("show(&P { a: 5 })", Is("5")),
                    (
                        "P { a: 5 }.own()",
                        Fails(&["E0599", "`impl P` uses `P` as it was"]),
                    ),
                ],
            ),
            (
                "a constant, and back",
                &[
                    ("const RATE: f64 = 0.5;", Runs),
                    (
                        "fn pay(n: f64) -> f64 { n * RATE }\nfn twice(n: f64) -> f64 { pay(n) + pay(n) }",
                        Runs,
                    ),
                    ("const RATE: i32 = 2;", Shows("`pay` uses `RATE` as it was")),
                    ("const RATE: f64 = 2.0;", Runs),
                    ("twice(3.0)", Is("12.0")),
                ],
            ),
            (
                "the cell's own error",
                &[
                    ("fn f() -> u8 { 1 }\nfn g() -> u8 { f() }", Runs),
                    ("fn f() -> u16 { \"text\" }", Fails(&["E0308", "text"])),
                    ("g()", Is("1")),
                ],
            ),
        ],
    );
}

fn items_come_from_macros(engine: Engine, cache: &Path) {
    run(
        engine,
        cache,
        &[
            (
                "a macro of the cell's own",
                &[
                    (
                        "macro_rules! unit { ($n:ident) => { #[derive(Debug)] struct $n; }; }\nunit!(Marker);",
                        Runs,
                    ),
                    ("Marker", Is("Marker")),
                    ("unit! { Other }", Runs),
                    ("let kept = Other;\nunit!(Third);\nThird", Is("Third")),
                    ("(kept, Marker, Third)", Is("(Other, Marker, Third)")),
                ],
            ),
            (
                "a static of a thread",
                &[
                    (
                        "thread_local! { static HITS: std::cell::Cell<u32> = std::cell::Cell::new(0); }\nfn hit() -> u32 { HITS.with(|h| { h.set(h.get() + 1); h.get() }) }",
                        Runs,
                    ),
                    ("hit(); hit()", Is("2")),
                ],
            ),
        ],
    );
}

/// A crate whose macros define items, and one of whose modules shadows a name of the prelude.
const MAKER: &str = "
#[derive(Debug)] pub struct Run(pub u8);
pub mod prelude { pub struct Vec<T>(pub T); pub fn of_prelude() {} }
pub mod others { pub fn of_others() {} }
#[macro_export] macro_rules! kind { ($n:ident, $t:ty) => { #[derive(Debug, Default)] pub struct $n(pub $t); impl $n { pub fn id() -> u8 { 7 } } }; }
#[macro_export] macro_rules! twice { ($e:expr) => { $e + $e }; }
#[macro_export] macro_rules! say { ($e:expr) => { { println!(\"{}\", $e); } }; }
";

fn items_come_from_macros_of_crates(engine: Engine, cache: &Path) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let crate_folder = folder.path().join("maker");
    let manifest = "[package]\nname = \"maker\"\nversion = \"0.1.0\"\nedition = \"2024\"\n";
    write(&crate_folder, "Cargo.toml", manifest);
    write(&crate_folder, "src/lib.rs", MAKER);
    let dep = format!(
        ":dep maker = {{ path = {:?} }}\nlet run = maker::Run(5);\nlet mut total = 0;",
        crate_folder.display().to_string()
    );
    run(
        engine,
        cache,
        &[(
            "at the end of a cell, in a statement, by a path and by an import",
            &[
                (&dep, Runs),
                ("use maker::kind;\nkind!(Car, u8);", Runs),
                ("Car::id()", Is("7")),
                ("maker::kind! { Bus, Car }", Runs),
                ("let bus = Bus::default();\nbus.0", Is("Car(0)")),
                (
                    "maker::kind!(Van, u8);\nlet van = Van(3);\nvan",
                    Is("Van(3)"),
                ),
                ("maker::twice!(Van::id())", Is("14")),
                (
                    "maker::say!(van.0);\ntotal += maker::twice!(2);",
                    Shows("3\n"),
                ),
                // Types of the crate itself are not affected by edits of its macro calls.
                ("(run, bus, total)", Is("(Run(5), Bus(Car(0)), 4)")),
                (
                    "@one\nmaker::kind!(Cab, u8);\nlet cab: Box<dyn std::any::Any> = Box::new(Cab(1));\nlet run = maker::Run(6);",
                    Runs,
                ),
                ("cab.is::<Cab>()", Is("true")),
                ("@one\nmaker::kind!(Cab, String);", Shows("variable van")),
                ("cab.is::<Cab>()", Is("false")),
                ("run", Is("Run(6)")),
                ("Cab::default()", Is("Cab(\"\")")),
                (
                    "#[derive(Debug)] struct Row(Vec<u8>);\nlet row = Row(vec![1]);\nlet any: Box<dyn std::any::Any> = Box::new(Row(vec![1]));",
                    Runs,
                ),
                (
                    "@glob\nuse maker::others::*;\nof_others();\nlet other = 1;",
                    Runs,
                ),
                ("(row.0.len(), any.is::<Row>())", Is("(1, true)")),
                (
                    "@glob\nuse maker::prelude::*;\nof_prelude();",
                    Shows("variable row"),
                ),
                ("struct Row(Vec<u8>);", Runs),
                ("any.is::<Row>()", Is("false")),
                (
                    "let any: Box<dyn std::any::Any> = Box::new(maker::Run(1));\nany.is::<maker::Run>()",
                    Is("true"),
                ),
            ],
        )],
    );
}

fn memory_a_type_of_an_edited_crate_is_another_type(engine: Engine, cache: &Path) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let crate_folder = folder.path().join("maker");
    let manifest = "[package]\nname = \"maker-of-runs\"\nversion = \"0.1.0\"\nedition = \"2024\"\n";
    write(&crate_folder, "Cargo.toml", manifest);
    let dep = format!(
        ":dep maker = {{ package = \"maker-of-runs\", path = {:?} }}",
        crate_folder.display().to_string()
    );
    let evaluator = &mut *start(engine, cache);
    for (source, code, expected) in [
        (
            "pub struct Run(pub u8); pub const RUN: Run = Run(1);",
            "let any: Box<dyn std::any::Any> = Box::new(maker::RUN); any.is::<maker::Run>()",
            "true",
        ),
        (
            "pub struct Run(pub String); pub const RUN: Run = Run(String::new());",
            "any.is::<maker::Run>()",
            "false",
        ),
    ] {
        write(&crate_folder, "src/lib.rs", source);
        let (seen, outcome) = execute(evaluator, &format!("{dep}\n{code}"));
        assert_eq!(outcome, Ok(expected.to_owned()), "{source}\n{seen}");
        assert!(!seen.contains("warning"), "{seen}");
    }
}

fn statics_of_macros_keep_their_values(engine: Engine, cache: &Path) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let crate_folder = folder.path().join("lazy_static");
    let manifest = "[package]\nname = \"lazy_static\"\nversion = \"1.0.0\"\nedition = \"2024\"\n";
    write(&crate_folder, "Cargo.toml", manifest);
    let source = "pub trait LazyStatic { fn initialize(lazy: &Self); }\npub fn initialize<T: LazyStatic>(lazy: &T) { T::initialize(lazy) }\n#[macro_export] macro_rules! lazy_static { ($($t:tt)*) => { compile_error!(); } }\n";
    write(&crate_folder, "src/lib.rs", source);
    let dep = format!(
        ":dep lazy_static = {{ path = {:?} }}",
        crate_folder.display().to_string()
    );
    let evaluator = &mut *start(engine, cache);
    for library in [false, true] {
        clear(evaluator);
        for (code, expected) in [
            (
                "use std::cell::{Cell, RefCell};\nthread_local! { static HITS: std::cell::Cell<u32> = std::cell::Cell::new(0); }",
                "",
            ),
            ("HITS.with(|h| h.set(h.get() + 1));", ""),
            ("HITS.get()", "1"),
            ("fn other() -> u8 { 1 }", ""),
            ("HITS.set(HITS.get() + 1); HITS.get()", "2"),
            (
                "thread_local! { pub static LOG: RefCell<Vec<(&str, u8)>> = const { RefCell::new(Vec::new()) }; static N: Cell<u8> = Cell::new(other()) }\nfn log(text: &'static str) -> usize { LOG.with_borrow_mut(|log| { log.push((text, N.get())); log.len() }) }",
                "",
            ),
            ("log(\"a\"); N.set(5);", ""),
            ("log(\"b\")", "2"),
            ("LOG.take()", "[(\"a\", 1), (\"b\", 5)]"),
            (
                "fn next() -> u32 { thread_local! { static NEXT: Cell<u32> = Cell::new(0); } NEXT.set(NEXT.get() + 1); NEXT.get() }\nnext()",
                "1",
            ),
            ("next()", "2"),
            ("std::thread::spawn(|| HITS.get()).join().unwrap()", "0"),
            // The same cell again with another value defines a new static.
            (
                "thread_local! { static HITS: Cell<u32> = Cell::new(9); }",
                "",
            ),
            ("HITS.get()", "9"),
            (&dep, ""),
            (
                "use lazy_static::lazy_static;\nlazy_static! { static ref SQUARES: Vec<u64> = (0..5).map(|n| { println!(\"made\"); n * n }).collect(); static ref LIST: std::sync::Mutex<Vec<u8>> = Default::default(); }",
                "",
            ),
            (
                "lazy_static::initialize(&LIST); LIST.lock().unwrap().push(SQUARES[4] as u8);",
                "",
            ),
            ("fn more() -> u8 { LIST.lock().unwrap()[0] }\nmore()", "16"),
            ("(SQUARES.len(), more())", "(5, 16)"),
        ] {
            if library {
                evaluator.warm_up();
            }
            let (seen, outcome) = execute(evaluator, code);
            assert_eq!(outcome, Ok(expected.to_owned()), "{code}\n{seen}");
        }
    }
}

fn statics_keep_their_values(engine: Engine, cache: &Path) {
    run(
        engine,
        cache,
        &[
            (
                "at any pace, and whatever else is defined",
                &[
                    (
                        "use std::sync::atomic::{AtomicU32, Ordering};\nstatic COUNT: AtomicU32 = AtomicU32::new(0);\nfn tick() -> u32 { COUNT.fetch_add(1, Ordering::SeqCst) + 1 }",
                        Runs,
                    ),
                    ("tick(); tick()", Is("2")),
                    ("tick()", Is("3")),
                    ("fn other() -> u8 { 1 }", Runs),
                    ("tick()", Is("4")),
                    (
                        "fn more() -> u32 { tick() + COUNT.load(Ordering::SeqCst) }\nmore()",
                        Is("10"),
                    ),
                    ("tick()", Is("6")),
                ],
            ),
            (
                "of all kinds",
                &[
                    (
                        "static mut TOTAL: i32 = 0;\nfn add(n: i32) { unsafe { TOTAL += n; } }",
                        Runs,
                    ),
                    ("add(5); add(6);", Runs),
                    (
                        "static NAME: &str = \"n\";\nstatic RULES: [(&str, fn(&str) -> usize); 1] = [(\"len\", |text| text.len())];",
                        Runs,
                    ),
                    (
                        "(NAME, RULES[0].0, (RULES[0].1)(NAME))",
                        Is("(\"n\", \"len\", 1)"),
                    ),
                    ("unsafe { TOTAL }", Is("11")),
                    (
                        "use std::sync::{LazyLock, Mutex, OnceLock};\nstatic CONFIG: OnceLock<String> = OnceLock::new();\nstatic LOG: Mutex<Vec<String>> = Mutex::new(Vec::new());\nstatic TABLE: LazyLock<Vec<u32>> = LazyLock::new(|| { println!(\"made\"); vec![7] });\nCONFIG.set(\"on\".to_string()).unwrap();",
                        Runs,
                    ),
                    ("CONFIG.get()", Is("Some(\"on\")")),
                    (
                        "LOG.lock().unwrap().push(\"a\".to_string());\nTABLE[0]",
                        Shows("made"),
                    ),
                    ("(LOG.lock().unwrap().len(), TABLE.len())", Is("(1, 1)")),
                    (
                        "fn next() -> u32 { static mut N: u32 = 0; unsafe { N += 1; N } }\nnext()",
                        Is("1"),
                    ),
                    ("next()", Is("2")),
                    (
                        "mod m { pub static S: std::sync::Mutex<u8> = std::sync::Mutex::new(1); }\n*m::S.lock().unwrap() += 1;",
                        Runs,
                    ),
                    ("*m::S.lock().unwrap()", Is("2")),
                ],
            ),
            (
                "that constants, and other statics, are made of",
                &[
                    (
                        "use std::sync::atomic::{AtomicU32, Ordering};\nstatic COUNT: AtomicU32 = AtomicU32::new(0);\nstatic LIMIT: usize = 3;\nmod m { pub static DEEP: [u8; 2] = [1, 2]; }",
                        Runs,
                    ),
                    (
                        "const REF: &AtomicU32 = &COUNT;\nconst N: usize = LIMIT;\nstatic MORE: usize = LIMIT + 1;\nstruct Row([u8; N]);\nlet row = Row([1; N]);",
                        Runs,
                    ),
                    (
                        "REF.fetch_add(1, Ordering::SeqCst); (COUNT.load(Ordering::SeqCst), row.0.len(), MORE)",
                        Is("(1, 3, 4)"),
                    ),
                    (
                        "fn other() -> usize { REF.fetch_add(1, Ordering::SeqCst) as usize + N + LIMIT + MORE }\nother()",
                        Is("11"),
                    ),
                    (
                        "const M: usize = MORE;\n(M, COUNT.load(Ordering::SeqCst))",
                        Is("(4, 2)"),
                    ),
                ],
            ),
            (
                "until their own cell runs again, or their type changes",
                &[
                    (
                        "static N: std::sync::Mutex<u8> = std::sync::Mutex::new(1);\n*N.lock().unwrap() += 1;",
                        Runs,
                    ),
                    ("*N.lock().unwrap()", Is("2")),
                    (
                        "static N: std::sync::Mutex<u8> = std::sync::Mutex::new(1);",
                        Runs,
                    ),
                    ("*N.lock().unwrap()", Is("1")),
                    (
                        "#[derive(Debug)] struct P(u8);\nimpl P { const fn new() -> P { P(1) } }\nstatic ALL: std::sync::Mutex<[P; 2]> = std::sync::Mutex::new([P::new(), P::new()]);\nALL.lock().unwrap()[0].0 = 5;",
                        Runs,
                    ),
                    ("ALL.lock().unwrap()[0].0", Is("5")),
                    ("#[derive(Debug)] struct P(u64);", Runs),
                    ("ALL.lock().unwrap()[0].0", Is("1")),
                ],
            ),
        ],
    );
}

fn errors_are_the_compilers_own(engine: Engine, cache: &Path) {
    run(
        engine,
        cache,
        &[
            (
                "two borrows",
                &[(
                    "let mut s = String::new();\nlet a = &mut s;\nlet b = &mut s;\na.push('x');\nb.push('y');",
                    Fails(&["E0499", "line 3"]),
                )],
            ),
            (
                "use after drop",
                &[(
                    "let s = String::from(\"a\");\nlet r = &s;\ndrop(s);\nprintln!(\"{r}\");",
                    Fails(&["E0505", "drop(s)"]),
                )],
            ),
            (
                "push while borrowed",
                &[(
                    "let mut v = vec![1, 2, 3];\nlet first = &v[0];\nv.push(4);\nprintln!(\"{first}\");",
                    Fails(&["E0502", "line 3"]),
                )],
            ),
            (
                "too short a life",
                &[(
                    "let r;\n{ let s = String::from(\"x\"); r = &s; }\nprintln!(\"{r}\");",
                    Fails(&["E0597", "borrowed value does not live long enough"]),
                )],
            ),
            (
                "a temporary",
                &[(
                    "let t = String::from(\"abc\").as_str();\nprintln!(\"{t}\");",
                    Fails(&["E0716", "temporary"]),
                )],
            ),
            (
                "use after move",
                &[(
                    "let s = String::from(\"a\"); let t = s; println!(\"{s}\");",
                    Fails(&["E0382"]),
                )],
            ),
            (
                "threads",
                &[
                    (
                        "let mut total = 0;\nlet h = std::thread::spawn(|| { total += 1; });\nh.join().unwrap();\nprintln!(\"{total}\");",
                        Fails(&["E0373", "`move`"]),
                    ),
                    (
                        "let names = vec![String::from(\"a\")];\nlet b: Box<dyn Fn() -> usize + Send> = Box::new(|| names.len());\nb()",
                        Is("1"),
                    ),
                    ("let data = vec![1, 2, 3];", Runs),
                    (
                        "let h = std::thread::spawn(|| data.len());\nh.join().unwrap()",
                        Fails(&["E0373", "`move`"]),
                    ),
                    (
                        "use std::rc::Rc;\nlet r = Rc::new(1);\nlet h = std::thread::spawn(move || println!(\"{r}\"));",
                        Fails(&["E0277", "Send"]),
                    ),
                ],
            ),
            (
                "a reference to an earlier variable leaves it where it is",
                &[
                    ("let e = std::io::Error::other(\"x\");", Runs),
                    ("let inner = e.get_ref();\ninner.is_some()", Is("true")),
                    ("e.kind()", Is("Other")),
                ],
            ),
        ],
    );
}

fn nothing_is_dropped_in_silence(engine: Engine, cache: &Path) {
    run(
        engine,
        cache,
        &[
            (
                "a brace that closes nothing",
                &[
                    (
                        "println!(\"a\");\n}\n\nfn helper() -> i32 {\n    5",
                        Fails(&["unexpected closing delimiter", "line 2, column 1"]),
                    ),
                    (
                        "}\nprintln!(\"never\");\n{",
                        Fails(&["unexpected closing delimiter", "line 1, column 1"]),
                    ),
                    (
                        "} struct Lost { x: i32 } fn other() {",
                        Fails(&["unexpected closing delimiter"]),
                    ),
                ],
            ),
            (
                "what is not closed",
                &[
                    (
                        "for i in 0..3 {\n    println!(\"{i}\");\n",
                        Fails(&["unclosed delimiter", "line 1, column 15"]),
                    ),
                    (
                        "let v = vec![1, (2, 3];",
                        Fails(&["mismatched closing delimiter", "unclosed delimiter"]),
                    ),
                    (
                        "println!(\"a\"); /* never closed\nprintln!(\"b\");",
                        Fails(&["unterminated block comment", "line 1, column 16"]),
                    ),
                    ("let s = r#\"open\";", Fails(&["unterminated raw string"])),
                    (
                        "let b = b\"open;",
                        Fails(&["unterminated double quote byte string"]),
                    ),
                    (
                        "let s = \"one line\nlet t = 2;",
                        Fails(&["unterminated double quote string"]),
                    ),
                    ("let n = 0x;", Fails(&["line 1"])),
                    ("let c = 'ab;", Fails(&["line 1"])),
                ],
            ),
        ],
    );
}

fn overflow_is_a_panic_at_all_levels(engine: Engine, cache: &Path) {
    let step = |level: &'static str| (level, Runs);
    run(
        engine,
        cache,
        &[(
            "a sum",
            &[
                step("let big = u8::MAX; let v: Vec<u8> = vec![200, 100];"),
                step(":opt 2"),
                ("big + 1", Fails(&["overflow"])),
                ("v.iter().sum::<u8>() + 1", Fails(&["overflow"])),
                ("debug_assert!(1 > 2);", Fails(&["1 > 2"])),
                step(":opt 0"),
                ("big + 1", Fails(&["overflow"])),
            ],
        )],
    );
}
