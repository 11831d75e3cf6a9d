//! Checks that parts of a program behave as cells as they do in the program.

use std::path::Path;

use crate::notebooks::Then::{Fails, Gives, Is, Prints, Runs, Shows};
use crate::notebooks::run;
use crate::support::{Engine, OwnCheck};

pub const CHECKS: &[OwnCheck] = &[
    ("statements_and_patterns", statements_and_patterns),
    ("values_and_owners", values_and_owners),
    ("types_and_traits", types_and_traits),
    ("modules_and_macros", modules_and_macros),
    ("threads_and_futures", threads_and_futures),
];

fn statements_and_patterns(engine: Engine, cache: &Path) {
    run(
        engine,
        cache,
        &[
            (
                "blocks before the value",
                &[
                    ("for a in 1..2 {\n}\n5", Is("5")),
                    (
                        "if true { println!(\"y\") }\nwhile false {}\n6",
                        Gives("6", "y\n"),
                    ),
                    ("match 1 { 1 => {} _ => {} }\n7", Is("7")),
                ],
            ),
            (
                "matches, loops and labels",
                &[
                    (
                        "let day = \"Tue\";\nlet n = match day { \"Mon\" => 1, \"Tue\" => 2, _ => 0 };\nn",
                        Is("2"),
                    ),
                    (
                        "let msg = if n == 2 { \"two\" } else { \"other\" };\nmsg",
                        Is("\"two\""),
                    ),
                    (
                        "while let Some(x) = vec![1].pop() { println!(\"{x}\"); break; }",
                        Prints("1\n"),
                    ),
                    (
                        "let label = 'outer: loop { loop { break 'outer 5; } };\nlabel",
                        Is("5"),
                    ),
                ],
            ),
            (
                "patterns",
                &[
                    (
                        "struct P { x: i32, y: i32 }\nlet P { x, y: why } = P { x: 1, y: 2 };\nlet [first, .., last] = [1, 2, 3];\nlet (a, (b, mut c)) = (1, (2, 3));\nlet n @ 1..=9 = 4 else { panic!() };\nlet (Ok(v) | Err(v)) = \"7\".parse::<i32>().map_err(|_| 0);",
                        Runs,
                    ),
                    (
                        "(x, why, first, last, a, b, c, n, v)",
                        Is("(1, 2, 1, 3, 1, 2, 3, 4, 7)"),
                    ),
                    ("c += 1; c", Is("4")),
                    ("let (ref q, _) = (1, 2);", Runs),
                ],
            ),
            (
                "a variable that gets its value later",
                &[
                    ("let late: i32;", Runs),
                    (
                        "late = 5;",
                        Fails(&["E0425", "cannot find value `late` in this scope"]),
                    ),
                    ("let d;\nif true { d = 1 } else { d = 2 }\nd", Is("1")),
                    ("d", Is("1")),
                ],
            ),
            (
                "shadowing",
                &[
                    (
                        "let x = 5;\nlet x = x * 2;\n{ let x = \"inner\"; println!(\"{x}\"); }\nx",
                        Gives("10", "inner\n"),
                    ),
                    ("let x = format!(\"<{x}>\");", Runs),
                    ("x", Is("\"<10>\"")),
                    ("let x = x.len();", Runs),
                    ("x", Is("4")),
                ],
            ),
            (
                "values of every kind of expression",
                &[
                    ("\"abc\"[0..2]", Is("\"ab\"")),
                    ("*\"abc\"", Is("\"abc\"")),
                    ("[1, 2, 3][1..]", Is("[2, 3]")),
                    ("()", Runs),
                    ("{ 5 }", Is("5")),
                    ("{ 5; }", Runs),
                    ("(1)", Is("1")),
                    ("if true { 1 } else { 2 }", Is("1")),
                    ("loop { break 3 }", Is("3")),
                    ("unsafe { 4 }", Is("4")),
                    (
                        "|x: i32| x",
                        Fails(&[
                            "E0277",
                            "`{closure}` doesn't implement `Debug`",
                            "hint: a cell that ends with `;` shows no value",
                        ]),
                    ),
                    ("vec! { 1, 2 }", Is("[1, 2]")),
                    ("..", Is("..")),
                    ("1..", Is("1..")),
                    ("&&5", Is("5")),
                    ("-5", Is("-5")),
                    ("&mut 3", Is("3")),
                ],
            ),
            (
                "comparisons and ranges",
                &[
                    ("let a = 1;\na < 2", Is("true")),
                    ("1 < 2 && 2 < 3", Is("true")),
                    ("(0..5).contains(&3)", Is("true")),
                    ("let r = 0..3;", Runs),
                    ("r.len()", Is("3")),
                    ("for i in r.clone() { print!(\"{i}\"); }", Prints("012")),
                    ("r", Is("0..3")),
                ],
            ),
            (
                "numbers",
                &[
                    ("0.1 + 0.2", Is("0.30000000000000004")),
                    ("f64::NAN", Is("NaN")),
                    ("1e10", Is("10000000000.0")),
                    ("1.0", Is("1.0")),
                    ("255u8 as i8", Is("-1")),
                    ("-7 / 2", Is("-3")),
                    ("-7 % 3", Is("-1")),
                    ("i64::MAX", Is("9223372036854775807")),
                    ("1_000_000u64.pow(3)", Is("1000000000000000000")),
                    ("10f64.powi(-3)", Is("0.001")),
                    ("2.0_f32.sqrt()", Is("1.4142135")),
                    ("5 / 2", Is("2")),
                    ("7.0 / 2.0", Is("3.5")),
                    (
                        "3 / 2.0",
                        Fails(&["E0277", "cannot divide `{integer}` by `{float}`"]),
                    ),
                ],
            ),
            (
                "texts of every kind",
                &[
                    (
                        "let s = r#\"a \"raw\" \\ text\"#;\nlet b = b\"bytes\";\nlet c = c\"cstr\";\nlet m = \"line one \\\n         line two\";",
                        Runs,
                    ),
                    ("s", Is("\"a \\\"raw\\\" \\\\ text\"")),
                    ("b", Is("[98, 121, 116, 101, 115]")),
                    ("c", Is("\"cstr\"")),
                    ("m", Is("\"line one line two\"")),
                    ("let ch = '\\u{1F980}'; ch", Is("'🦀'")),
                    (
                        "let q = \"//not a comment /* nor this */\"; q.len()",
                        Is("30"),
                    ),
                ],
            ),
            (
                "comments of every kind",
                &[
                    ("/* outer /* inner */ still */ 1", Is("1")),
                    (
                        "// only\n/// doc\nfn f() {}\n/** block doc */\nstruct S;",
                        Runs,
                    ),
                    ("//! about the notebook\nlet a = 1; a", Is("1")),
                    ("/// about a\nlet b = 2;\nb", Is("2")),
                    (
                        "# a Python comment\n1",
                        Fails(&["expected one of `!` or `[`, found `a`"]),
                    ),
                ],
            ),
            (
                "lines as Windows ends them",
                &[
                    ("let a = 1;\r\nlet b = 2;\r\na + b\r\n", Is("3")),
                    (":vars\r\n", Is("a: i32\nb: i32")),
                    ("let s = \"x\r\ny\"; s.len()", Is("3")),
                    (
                        "\u{feff}let z = 1; z",
                        Fails(&["unknown start of token: \\u{feff}"]),
                    ),
                ],
            ),
            (
                "a field with the name of a variable",
                &[
                    ("let x = vec![1, 2, 3];\nstruct P { x: i32 }", Runs),
                    ("let p = P { x: 4 };\np.x", Is("4")),
                    ("x", Is("[1, 2, 3]")),
                    (
                        "let f = |x: i32| x; // x\nf(1)",
                        Shows("`f` ends with its cell: it is a closure, whose type has no n"),
                    ),
                ],
            ),
            (
                "variables in texts for `format!`",
                &[
                    ("let user = String::from(\"Ann\");", Runs),
                    (
                        "println!(\"{user:>6}|{user:?}|{0}\", user.len());",
                        Prints("   Ann|\"Ann\"|3\n"),
                    ),
                    ("// user\n\"user\"", Is("\"user\"")),
                    ("user", Is("\"Ann\"")),
                ],
            ),
            (
                "raw names",
                &[
                    ("let r#type = \"t\"; let r#match = 2;", Runs),
                    ("r#match + 1", Is("3")),
                    ("println!(\"{type}\");", Prints("t\n")),
                    ("r#type", Is("\"t\"")),
                ],
            ),
            (
                "one name in two forms of Unicode",
                &[
                    ("let cafe\u{301} = 1;", Runs),
                    ("café + 1", Is("2")),
                    ("cafe\u{301} + 2", Is("3")),
                ],
            ),
            (
                "attributes",
                &[
                    ("#[allow(unused_variables)]\nlet q = 5;\nq", Is("5")),
                    ("q", Is("5")),
                    (
                        "#[inline]\nfn f() -> u8 { 1 }\n#[must_use]\nfn g() -> u8 { 2 }\nf(); g();",
                        Shows("unused return value of `g` that must be used"),
                    ),
                    (
                        "#[derive(Debug, Clone, Default, PartialEq)]\n#[non_exhaustive]\nstruct S { #[allow(dead_code)] a: u8 }\nS::default()",
                        Is("S { a: 0 }"),
                    ),
                    (
                        "#[cfg(unix)]\nlet os = \"unix\";\n#[cfg(windows)]\nlet os = \"windows\";\nos",
                        Is("\"unix\""),
                    ),
                    ("os", Is("\"unix\"")),
                    ("#[cfg(windows)]\nlet only = 1;", Runs),
                    ("1", Is("1")),
                ],
            ),
            (
                "comments behind statements",
                &[
                    ("let a = 5; // five", Runs),
                    ("a + 1 // six", Is("6")),
                    ("a; /* quiet */ // really", Runs),
                ],
            ),
            (
                "a last statement without a value",
                &[
                    ("println!(\"seen\");", Prints("seen\n")),
                    ("println!(\"seen\")", Prints("seen\n")),
                ],
            ),
            (
                "a function that prints and returns",
                &[
                    (
                        "fn test(args: i32) -> i32 {\n    println!(\"You entered {}.\", args);\n    return args * 3;\n}",
                        Runs,
                    ),
                    ("test(3)", Gives("9", "You entered 3.\n")),
                    ("test(3);", Prints("You entered 3.\n")),
                ],
            ),
            (
                "a chain of methods over lines",
                &[(
                    "fn power(words: &str) -> u32 {\n    words.split(' ')\n         .map(|w| w.parse::<u32>().expect(\"a number\"))\n         .fold(0, |s, x| s + x)\n}\npower(\"1 2 39\")",
                    Is("42"),
                )],
            ),
            (
                "text without an end of line",
                &[
                    (
                        "never_declared = 5",
                        Fails(&["E0425", "cannot find value `never_declared` in this scope"]),
                    ),
                    ("print!(\"no newline\")", Prints("no newline")),
                ],
            ),
            (
                "both streams",
                &[(
                    "eprintln!(\"to stderr\"); println!(\"to stdout\");",
                    Shows("to stderr"),
                )],
            ),
            (
                "carriage returns",
                &[(
                    "for i in 0..=3 { print!(\"\\r{}%\", i * 33); std::io::Write::flush(&mut std::io::stdout()).unwrap(); std::thread::sleep(std::time::Duration::from_millis(120)); }\nprintln!();",
                    Prints("\r0%\r33%\r66%\r99%\n"),
                )],
            ),
        ],
    );
}

fn values_and_owners(engine: Engine, cache: &Path) {
    run(
        engine,
        cache,
        &[
            (
                "iterators",
                &[
                    ("let mut it = vec![1, 2, 3].into_iter();", Runs),
                    ("it.next()", Is("Some(1)")),
                    ("it.next()", Is("Some(2)")),
                    (
                        "let evens = (1..10).filter(|n| n % 2 == 0);\nevens.collect::<Vec<_>>()",
                        Is("[2, 4, 6, 8]"),
                    ),
                ],
            ),
            (
                "functions as values",
                &[
                    (
                        "fn twice(n: i32) -> i32 { n * 2 }\nlet f: fn(i32) -> i32 = twice;",
                        Runs,
                    ),
                    ("f(4)", Is("8")),
                    (
                        "let ops: Vec<(&str, fn(f64) -> f64)> = vec![(\"sin\", f64::sin), (\"sqrt\", f64::sqrt)];",
                        Runs,
                    ),
                    ("ops[1].1(9.0)", Is("3.0")),
                ],
            ),
            (
                "shared owners",
                &[
                    (
                        "use std::rc::Rc; use std::cell::RefCell;\n#[derive(Debug)] struct Node { v: i32, kids: RefCell<Vec<Rc<Node>>> }\nlet leaf = Rc::new(Node { v: 3, kids: RefCell::default() });\nlet tree = Rc::new(Node { v: 1, kids: RefCell::new(vec![leaf.clone()]) });",
                        Runs,
                    ),
                    ("Rc::strong_count(&leaf)", Is("2")),
                    ("let w = Rc::downgrade(&leaf);", Runs),
                    ("w.upgrade().map(|n| n.v)", Is("Some(3)")),
                    ("drop(tree);", Runs),
                    ("Rc::strong_count(&leaf)", Is("1")),
                ],
            ),
            (
                "the order of drops",
                &[
                    (
                        "struct D(&'static str);\nimpl Drop for D { fn drop(&mut self) { println!(\"drop {}\", self.0); } }\nlet a = D(\"a\"); let b = D(\"b\");",
                        Runs,
                    ),
                    ("let a = D(\"new\");", Prints("drop a\n")),
                    ("drop(b);", Prints("drop b\n")),
                    (
                        "{ let c = D(\"c\"); println!(\"in\"); }",
                        Prints("in\ndrop c\n"),
                    ),
                    ("a.0", Is("\"new\"")),
                ],
            ),
            (
                "vectors and sums",
                &[
                    ("let mut v = vec![3, 1, 2];", Runs),
                    ("v.sort();", Runs),
                    ("v", Is("[1, 2, 3]")),
                    (
                        "v.iter().rev().map(|n| n.to_string()).collect::<Vec<_>>().join(\"-\")",
                        Is("\"3-2-1\""),
                    ),
                    (
                        "let (small, large): (Vec<i32>, Vec<i32>) = v.iter().partition(|n| **n < 2);",
                        Runs,
                    ),
                    ("(small, large)", Is("([1], [2, 3])")),
                    ("v.push(9); v.len()", Is("4")),
                    (
                        "let total: i32 = v.iter().sum();\nlet mean = total as f64 / v.len() as f64;\nprintln!(\"{mean:.2}\");",
                        Prints("3.75\n"),
                    ),
                ],
            ),
            (
                "what is not `mut`",
                &[
                    ("let n = 1;", Runs),
                    (
                        "n = 2;",
                        Fails(&[
                            "E0384",
                            "cannot assign to immutable variable `n`",
                            "hint: an existing variable becomes mutable by `let mut n = n",
                        ]),
                    ),
                    (
                        "n += 1",
                        Fails(&[
                            "E0384",
                            "cannot assign to immutable variable `n`",
                            "hint: an existing variable becomes mutable by `let mut n = n",
                        ]),
                    ),
                    ("let v = vec![1];", Runs),
                    (
                        "v.push(2);",
                        Fails(&[
                            "E0596",
                            "cannot borrow `v` as mutable, as it is not declared as mutable",
                            "hint: an existing variable becomes mutable by `let mut v = v",
                        ]),
                    ),
                    ("let mut n = n; n += 1; n", Is("2")),
                ],
            ),
            (
                "what was moved",
                &[
                    ("let names = vec![\"a\".to_string()];", Runs),
                    ("fn eat(v: Vec<String>) -> usize { v.len() }", Runs),
                    ("eat(names)", Is("1")),
                    (
                        "names.len()",
                        Fails(&[
                            "E0425",
                            "cannot find value `names` in this scope",
                            "hint: an earlier cell moved `names` away: `eat(names)`; use ",
                        ]),
                    ),
                    ("let names = vec![\"b\".to_string()];", Runs),
                    ("for n in names { println!(\"{n}\"); }", Prints("b\n")),
                    (
                        "names",
                        Fails(&[
                            "E0425",
                            "cannot find value `names` in this scope",
                            "hint: an earlier cell moved `names` away: `for n in names { ",
                        ]),
                    ),
                ],
            ),
            (
                "a variable that was moved and assigned",
                &[
                    ("let mut name = String::from(\"a\");", Runs),
                    ("let other = name;", Runs),
                    (
                        "name = String::from(\"b\");",
                        Fails(&[
                            "E0425",
                            "cannot find value `name` in this scope",
                            "hint: an earlier cell moved `name` away: `let other = name;`",
                        ]),
                    ),
                    (
                        "name",
                        Fails(&[
                            "E0425",
                            "cannot find value `name` in this scope",
                            "hint: an earlier cell moved `name` away: `let other = name;`",
                        ]),
                    ),
                ],
            ),
            (
                "a function and a variable of one name",
                &[
                    ("fn size() -> usize { 3 }\nlet size = size();", Runs),
                    ("size", Is("3")),
                    ("fn size() -> usize { 4 }", Runs),
                    ("size", Is("3")),
                ],
            ),
            (
                "a loop with a flag",
                &[
                    ("let mut done = false;\nlet mut score = 0;", Runs),
                    ("score += 5;", Runs),
                    (
                        "if score >= 10 { done = true; }\nprintln!(\"{done}\");",
                        Prints("false\n"),
                    ),
                    (
                        "if done { println!(\"game over\"); } else { println!(\"next round\"); }",
                        Prints("next round\n"),
                    ),
                ],
            ),
            (
                "a flag that a loop sets",
                &[
                    ("let mut done = false;\nlet mut n = 0;", Runs),
                    (
                        "while !done { n += 1; if n == 3 { done = true; } }\nn",
                        Is("3"),
                    ),
                    ("done = false;", Runs),
                    ("done", Is("false")),
                    ("let steps = if done { 1 } else { 2 };\nsteps", Is("2")),
                ],
            ),
            (
                "names like those of generated code",
                &[
                    (
                        "let head = 1; let source = 2; let result = 3; let cell = 4; let show = 5; let run = 6; let take = 7; let keep = 8; let check = 9; let text = 10; let tokio = 11; let std = 12usize; let session = 13; let cell_runtime = 14;",
                        Runs,
                    ),
                    (
                        "(head, source, result, cell, show, run, take)",
                        Is("(1, 2, 3, 4, 5, 6, 7)"),
                    ),
                    (
                        "(keep, check, text, tokio, std, session, cell_runtime)",
                        Is("(8, 9, 10, 11, 12, 13, 14)"),
                    ),
                    ("std::mem::size_of::<u8>() + std", Is("13")),
                ],
            ),
            (
                "a panic keeps what was there",
                &[
                    ("let kept = 42;", Runs),
                    ("panic!(\"stop\")", Fails(&["stop", "line 1, column 1"])),
                    ("kept", Is("42")),
                    (":vars", Is("kept: i32")),
                    ("kept", Is("42")),
                ],
            ),
            (
                "closures in a vector",
                &[
                    (
                        "let mut calls: Vec<Box<dyn FnMut(i32) -> i32>> = Vec::new();\nlet mut seen = 0;\ncalls.push(Box::new(move |n| { seen += n; seen }));",
                        Runs,
                    ),
                    ("calls[0](2); calls[0](3)", Is("5")),
                    ("seen", Is("0")),
                ],
            ),
            (
                "time",
                &[
                    (
                        "use std::time::{Duration, Instant};\nlet start = Instant::now();",
                        Runs,
                    ),
                    ("start.elapsed() > Duration::from_nanos(1)", Is("true")),
                ],
            ),
            (
                "bytes that are no text",
                &[
                    (
                        "use std::io::Write;\nstd::io::stdout().write_all(&[72, 105, 255, 254, 10])?;\n1",
                        Gives("1", "Hi��\n"),
                    ),
                    ("2", Is("2")),
                ],
            ),
            (
                "an error, then other cells",
                &[
                    (
                        "let v = nothing_here();",
                        Fails(&["E0425", "cannot find function `nothing_here` in this scope"]),
                    ),
                    ("use std::collections::HashMap;", Runs),
                    ("42", Is("42")),
                ],
            ),
            (
                "sums and products",
                &[
                    (
                        "let v: Vec<u64> = (1..=20).collect();\nlet p: u64 = v.iter().product();\np",
                        Is("2432902008176640000"),
                    ),
                    (
                        "let mut total = 0.0;\nfor (i, x) in v.iter().enumerate() { total += (*x as f64) / (i as f64 + 1.0); }\ntotal",
                        Is("20.0"),
                    ),
                ],
            ),
            (
                "an array of 3 MB",
                &[
                    ("let a = [0u8; 3_000_000];\na.len()", Is("3000000")),
                    ("a[17]", Is("0")),
                    ("a.iter().map(|&b| b as u64).sum::<u64>()", Is("0")),
                ],
            ),
            (
                "an array of 6 MB",
                &[("let a = [0u8; 6_000_000];\na.len()", Is("6000000"))],
            ),
            (
                "an array as large as a program's stack",
                &[("let m = [[0f64; 1000]; 1000];", Runs)],
            ),
            (
                "arrays of arrays",
                &[
                    ("let grid = [[0u8; 1024]; 1024];\ngrid.len()", Is("1024")),
                    ("grid[5][5]", Is("0")),
                    ("let mut grid2 = [[0f32; 640]; 480];", Runs),
                    ("grid2[0][0] = 1.0; grid2[0][0]", Is("1.0")),
                    ("let img = [[[0u8; 3]; 1000]; 800];\nimg.len()", Is("800")),
                    ("img[0][0][0]", Is("0")),
                ],
            ),
            (
                "an iterator of one's own",
                &[
                    (
                        "struct Count { n: u32 }\nimpl Iterator for Count { type Item = u32; fn next(&mut self) -> Option<u32> { if self.n < 5 { self.n += 1; Some(self.n) } else { None } } }\nlet mut c = Count { n: 0 };",
                        Runs,
                    ),
                    ("c.next()", Is("Some(1)")),
                    ("c.by_ref().take(2).collect::<Vec<_>>()", Is("[2, 3]")),
                    ("c.map(|x| x * 10).sum::<u32>()", Is("90")),
                ],
            ),
        ],
    );
}

fn types_and_traits(engine: Engine, cache: &Path) {
    run(
        engine,
        cache,
        &[
            (
                "lifetimes in structures",
                &[
                    (
                        "#[derive(Debug)] struct Word<'a> { text: &'a str }\nimpl<'a> Word<'a> { fn first(&self) -> &'a str { &self.text[..1] } }\nlet w = Word { text: \"hello\" };",
                        Runs,
                    ),
                    ("w", Is("Word { text: \"hello\" }")),
                    ("w.first()", Is("\"h\"")),
                    ("let f = w.first();", Runs),
                    ("f", Is("\"h\"")),
                ],
            ),
            (
                "trait objects",
                &[
                    (
                        "trait Shape { fn area(&self) -> f64; fn name(&self) -> String { \"shape\".into() } }\nstruct Sq(f64); struct Ci(f64);\nimpl Shape for Sq { fn area(&self) -> f64 { self.0 * self.0 } }\nimpl Shape for Ci { fn area(&self) -> f64 { 3.0 * self.0 * self.0 } fn name(&self) -> String { \"circle\".into() } }\nlet shapes: Vec<Box<dyn Shape>> = vec![Box::new(Sq(2.0)), Box::new(Ci(1.0))];",
                        Runs,
                    ),
                    (
                        "for s in &shapes { println!(\"{} {}\", s.name(), s.area()); }",
                        Prints("shape 4\ncircle 3\n"),
                    ),
                    ("shapes.iter().map(|s| s.area()).sum::<f64>()", Is("7.0")),
                ],
            ),
            (
                "generics",
                &[
                    (
                        "fn largest<T: PartialOrd + Copy>(items: &[T]) -> T { let mut m = items[0]; for &i in items { if i > m { m = i; } } m }\n(largest(&[1, 5, 2]), largest(&[1.5, 0.5]), largest(&['a', 'z']))",
                        Is("(5, 1.5, 'z')"),
                    ),
                    (
                        "trait Describe { fn describe(&self) -> String; }\nimpl<T: std::fmt::Debug> Describe for T { fn describe(&self) -> String { format!(\"<{self:?}>\") } }\n5.describe()",
                        Is("\"<5>\""),
                    ),
                    ("\"x\".describe()", Is("\"<\\\"x\\\">\"")),
                    (
                        "use std::ops::Add;\n#[derive(Debug, Clone, Copy, PartialEq)] struct V<T> { x: T, y: T }\nimpl<T: Add<Output = T>> Add for V<T> { type Output = V<T>; fn add(self, o: V<T>) -> V<T> { V { x: self.x + o.x, y: self.y + o.y } } }\nlet sum = V { x: 1, y: 2 } + V { x: 3, y: 4 };\nsum",
                        Is("V { x: 4, y: 6 }"),
                    ),
                    ("sum + sum", Is("V { x: 8, y: 12 }")),
                ],
            ),
            (
                "enums",
                &[
                    (
                        "#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)] enum Suit { Clubs = 1, Hearts }\nuse Suit::*;\nlet s = Hearts;",
                        Runs,
                    ),
                    ("s as i32", Is("2")),
                    ("match s { Clubs => \"c\", Hearts => \"h\" }", Is("\"h\"")),
                    (
                        "use std::collections::BTreeSet; let set: BTreeSet<Suit> = [Hearts, Clubs].into(); set",
                        Is("{Clubs, Hearts}"),
                    ),
                    (
                        "enum Expr { Num(i64), Add(Box<Expr>, Box<Expr>) }\nuse Expr::*;\nfn eval(e: &Expr) -> i64 { match e { Num(n) => *n, Add(a, b) => eval(a) + eval(b) } }\neval(&Add(Box::new(Num(2)), Box::new(Num(3))))",
                        Is("5"),
                    ),
                    ("eval(&Num(4))", Is("4")),
                ],
            ),
            (
                "names of the prelude",
                &[
                    (
                        "#[derive(Debug, Clone, Copy)] struct Vec { x: f64, y: f64 }\nlet v = Vec { x: 1.0, y: 2.0 };",
                        Runs,
                    ),
                    ("v", Is("Vec { x: 1.0, y: 2.0 }")),
                    ("enum Option { A, B }\nlet o = Option::A;", Runs),
                    ("let w = vec![1]; w", Is("[1]")),
                    (
                        "type Result<T> = std::result::Result<T, std::string::String>;\nfn f() -> Result<u8> { Ok(1) }",
                        Runs,
                    ),
                    ("let n: i32 = \"5\".parse()?; n", Is("5")),
                    ("fn drop() -> u8 { 9 }", Runs),
                    ("drop()", Is("9")),
                ],
            ),
            (
                "names of the prelude's traits",
                &[
                    (
                        "trait Iterator { fn go(&self) -> u8; }\nimpl Iterator for u8 { fn go(&self) -> u8 { *self } }",
                        Runs,
                    ),
                    ("5u8.go()", Is("5")),
                    (
                        "[1, 2].iter().map(|n| n + 1).collect::<std::vec::Vec<i32>>()",
                        Is("[2, 3]"),
                    ),
                    (
                        "trait Debug { fn debug(&self) -> u8 { 1 } }\nimpl Debug for u8 {}",
                        Runs,
                    ),
                    ("7u8.debug()", Is("1")),
                    ("7u8", Is("7")),
                    ("fn Ok<T>(t: T) -> T { t }", Runs),
                    ("let n = Ok(3); n", Is("3")),
                    ("enum Maybe { Some(i32), None }\nuse Maybe::*;", Runs),
                    (
                        "let m = Some(3);\nmatch m { Some(n) => n, None => 0 }",
                        Is("3"),
                    ),
                    ("\"4\".parse::<i32>()? + 1", Is("5")),
                ],
            ),
            (
                "unions, constants and foreign functions",
                &[
                    (
                        "#[repr(C)] union Bits { f: f32, u: u32 }\nlet b = Bits { f: 1.0 };",
                        Runs,
                    ),
                    ("unsafe { b.u }", Is("1065353216")),
                    (
                        "const LIMITS: [i32; 3] = [1, 2, 3];\nconst fn sq(n: u32) -> u32 { n * n }\nconst NINE: u32 = sq(3);\nNINE",
                        Is("9"),
                    ),
                    ("LIMITS.iter().sum::<i32>()", Is("6")),
                    (
                        "let mut n = 1; let p = &raw mut n; unsafe { *p = 7; } n",
                        Is("7"),
                    ),
                    (
                        "unsafe extern \"C\" { fn abs(n: i32) -> i32; }\nunsafe { abs(-4) }",
                        Is("4"),
                    ),
                    ("unsafe { abs(-5) }", Is("5")),
                ],
            ),
            (
                "`impl Trait`",
                &[
                    (
                        "fn evens(n: u32) -> impl Iterator<Item = u32> { (0..n).filter(|x| x % 2 == 0) }\nevens(7).collect::<Vec<_>>()",
                        Is("[0, 2, 4, 6]"),
                    ),
                    (
                        "fn adder(k: i32) -> impl Fn(i32) -> i32 { move |n| n + k }\nadder(3)(4)",
                        Is("7"),
                    ),
                    (
                        "let add5 = adder(5);\nadd5(1)",
                        Shows("`add5` ends with its cell: it is a closure, whose type has n"),
                    ),
                    (
                        "fn boxed(k: i32) -> Box<dyn Fn(i32) -> i32> { Box::new(move |n| n + k) }\nlet add6 = boxed(6);",
                        Runs,
                    ),
                    ("add6(1)", Is("7")),
                ],
            ),
            (
                "boxed errors",
                &[
                    (
                        "use std::error::Error;\nfn parse(s: &str) -> Result<i32, Box<dyn Error>> { let n: i32 = s.parse()?; if n < 0 { return Err(\"negative\".into()); } Ok(n) }\nparse(\"5\")?",
                        Is("5"),
                    ),
                    ("parse(\"-5\")?", Fails(&["negative"])),
                    (
                        "parse(\"x\")",
                        Is("Err(ParseIntError { kind: InvalidDigit })"),
                    ),
                    ("let r = parse(\"3\"); r.is_ok()", Is("true")),
                    ("r.unwrap()", Is("3")),
                ],
            ),
            (
                "futures as values",
                &[
                    ("async fn a() -> i32 { 1 }", Runs),
                    (
                        "let b = Box::pin(a());",
                        Shows("`b` ends with its cell: its type has no name that another ce"),
                    ),
                    ("async { 5 }.await", Is("5")),
                    (
                        "let c: std::pin::Pin<Box<dyn std::future::Future<Output = i32>>> = Box::pin(a());",
                        Runs,
                    ),
                    ("c.await", Is("1")),
                ],
            ),
            (
                "items of every kind",
                &[
                    (
                        "trait Shape { const SIDES: u32; type Unit; fn area(&self) -> f64; fn new() -> Self where Self: Sized; }\nstruct Sq(f64);\nimpl Shape for Sq { const SIDES: u32 = 4; type Unit = f64; fn area(&self) -> f64 { self.0 } fn new() -> Self { Sq(2.0) } }\nimpl From<f64> for Sq { fn from(x: f64) -> Self { Sq(x) } }\nimpl std::ops::Deref for Sq { type Target = f64; fn deref(&self) -> &f64 { &self.0 } }\nimpl std::str::FromStr for Sq { type Err = std::num::ParseFloatError; fn from_str(s: &str) -> Result<Self, Self::Err> { Ok(Sq(s.parse()?)) } }\nimpl<T: Shape> Shape for Vec<T> { const SIDES: u32 = T::SIDES; type Unit = T::Unit; fn area(&self) -> f64 { self.iter().map(|s| s.area()).sum() } fn new() -> Self { vec![T::new()] } }\nunsafe trait Danger {} unsafe impl Danger for Sq {}\nconst _: () = assert!(Sq::SIDES == 4);\ntype Pair<T> = (T, T);\nextern \"C\" fn cb(n: i32) -> i32 { n + 1 }\nasync fn wait() -> u8 { 8 }\nfn by_ref(v: &mut Vec<i32>) { v.push(1); }",
                        Runs,
                    ),
                    (
                        "(Sq::SIDES, Sq::new().area(), Sq::from(3.0).area(), \"4.5\".parse::<Sq>()?.area(), vec![Sq(1.0), Sq(2.0)].area(), Sq(9.0).sqrt())",
                        Is("(4, 2.0, 3.0, 4.5, 3.0, 3.0)"),
                    ),
                    ("let p: Pair<u8> = (1, 2); p", Is("(1, 2)")),
                    ("cb(1)", Is("2")),
                    ("wait().await", Is("8")),
                    ("let mut v = vec![]; by_ref(&mut v); v", Is("[1]")),
                    ("let s: Sq = 5.0.into(); *s", Is("5.0")),
                    (
                        "let d: Box<dyn Fn(&Sq) -> f64> = Box::new(Sq::area); d(&s)",
                        Is("5.0"),
                    ),
                ],
            ),
            (
                "transparent structures",
                &[
                    (
                        "#[repr(transparent)]\n#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]\nstruct Kelvin(f64);\nlet k = Kelvin(3.0);",
                        Runs,
                    ),
                    ("k < Kelvin(4.0)", Is("true")),
                    (
                        "unsafe { std::mem::transmute::<Kelvin, f64>(k) }",
                        Is("3.0"),
                    ),
                ],
            ),
            (
                "a structure over lines",
                &[(
                    "#[derive(Debug)]\nstruct City {\n    name: String,\n    people: u32,\n}\nlet c = City { name: \"X\".into(), people: 3 };\nc",
                    Is("City { name: \"X\", people: 3 }"),
                )],
            ),
            (
                "constants as parameters",
                &[
                    (
                        "struct Ring<T, const CAP: usize> { slots: [T; CAP] }\nimpl<T: Copy + Default, const CAP: usize> Ring<T, CAP> { fn new() -> Self { Self { slots: [T::default(); CAP] } } const fn cap(&self) -> usize { CAP } }\nlet ring = Ring::<u8, 42>::new();\nring.cap()",
                        Is("42"),
                    ),
                    ("ring.slots.len()", Is("42")),
                ],
            ),
            (
                "constants of other kinds as parameters",
                &[
                    (
                        "struct Tag<const C: char, const B: bool, const I: i8>;\nlet t = Tag::<'x', true, -3>;",
                        Runs,
                    ),
                    ("std::mem::size_of_val(&t)", Is("0")),
                ],
            ),
            (
                "types of a private module",
                &[
                    (
                        "mod bank { #[derive(Debug)] struct Receipt(u8); pub fn pay() -> impl std::fmt::Debug { Receipt(1) } pub fn open() -> Account { Account(2) } #[derive(Debug)] pub struct Account(u8); }\nlet a = bank::open();",
                        Runs,
                    ),
                    ("a", Is("Account(2)")),
                    (
                        "let r = bank::pay();\nprintln!(\"{r:?}\");",
                        Shows("`r` ends with its cell: its type has no name that another ce"),
                    ),
                ],
            ),
            (
                "private types inside of a module",
                &[
                    (
                        "mod lib { struct Hidden(u8); impl Hidden { pub fn get(&self) -> u8 { self.0 } } pub struct Api; impl Api { pub fn make() -> Vec<u8> { vec![Hidden(4).get()] } } }\nlet all = lib::Api::make();",
                        Runs,
                    ),
                    ("all", Is("[4]")),
                ],
            ),
            (
                "trait objects behind references",
                &[
                    (
                        "let e: Option<&'static (dyn std::error::Error + Send + Sync)> = None;",
                        Runs,
                    ),
                    ("e.is_none()", Is("true")),
                    (
                        "let h = std::thread::spawn(|| 1); let c = std::panic::catch_unwind(|| 1); let l = std::sync::LazyLock::<i32>::new(|| 3); let b = Box::new(|| 1) as Box<dyn FnOnce() -> i32 + Send + Sync>;",
                        Runs,
                    ),
                    ("*l", Is("3")),
                    ("h.join().unwrap() + b()", Is("2")),
                    ("c.unwrap()", Is("1")),
                ],
            ),
            (
                "a type that nothing says",
                &[(
                    "let nothing_known = Default::default();\n\"end\"",
                    Fails(&[
                        "E0790",
                        "cannot call associated function on trait without specifying the corres",
                    ]),
                )],
            ),
        ],
    );
}

fn modules_and_macros(engine: Engine, cache: &Path) {
    run(
        engine,
        cache,
        &[
            (
                "nested modules",
                &[
                    (
                        "mod a { pub mod b { pub fn f() -> &'static str { super::g() } } fn g() -> &'static str { \"g\" } pub use self::b::f as again; }\na::b::f()",
                        Is("\"g\""),
                    ),
                    ("use a::again;\nagain()", Is("\"g\"")),
                    (
                        "use a::{self as renamed, b::*};\n(renamed::again(), f())",
                        Is("(\"g\", \"g\")"),
                    ),
                    ("crate::a::b::f()", Is("\"g\"")),
                    ("self::a::b::f()", Is("\"g\"")),
                    (
                        "mod c { use super::a; pub fn h() -> usize { a::again().len() + crate::a::b::f().len() } }\nc::h()",
                        Is("2"),
                    ),
                ],
            ),
            (
                "macros in modules",
                &[
                    (
                        "mod tools { macro_rules! inner { () => { 5 } } pub(crate) use inner; pub fn f() -> i32 { inner!() } }\ntools::f()",
                        Is("5"),
                    ),
                    ("tools::inner!()", Is("5")),
                    (
                        "#[macro_export] macro_rules! outer { ($($t:tt)*) => { [$(stringify!($t)),*].len() } }\nouter!(a b c)",
                        Is("3"),
                    ),
                    ("outer!(a b)", Is("2")),
                    ("crate::outer!(x)", Is("1")),
                    (
                        "macro_rules! twice { ($e:expr) => { $crate::dbl($e) } }\nfn dbl(n: i32) -> i32 { n * 2 }\ntwice!(4)",
                        Is("8"),
                    ),
                    ("twice!(5)", Is("10")),
                ],
            ),
            (
                "macros with repetitions, and such as bind variables",
                &[
                    (
                        "macro_rules! max { ($x:expr) => { $x }; ($x:expr, $($rest:expr),+) => {{ let a = $x; let b = max!($($rest),+); if a > b { a } else { b } }}; }\nmax!(1, 7, 3)",
                        Is("7"),
                    ),
                    ("max!(2.0, 1.0)", Is("2.0")),
                    (
                        "macro_rules! hashmap { ($($k:expr => $v:expr),* $(,)?) => {{ let mut m = ::std::collections::HashMap::new(); $(m.insert($k, $v);)* m }}; }\nlet m = hashmap! { \"a\" => 1 };",
                        Runs,
                    ),
                    ("m[\"a\"]", Is("1")),
                    (
                        "macro_rules! set { ($n:ident, $v:expr) => { let $n = $v; }; }\nset!(made, 5);\nmade",
                        Is("5"),
                    ),
                    ("made", Is("5")),
                ],
            ),
            (
                "a variable that a macro binds",
                &[
                    (
                        "macro_rules! var { ($n:ident = $v:expr) => { let mut $n = $v; }; }\nvar!(count = 1);\ncount += 1;\nprintln!(\"{count}\");",
                        Prints("2\n"),
                    ),
                    ("count", Is("2")),
                ],
            ),
            (
                "modules with the names of crates",
                &[
                    (
                        "mod core { #[derive(Debug)] pub struct Engine(pub u8); }\nlet e1 = core::Engine(1);",
                        Runs,
                    ),
                    ("e1", Is("Engine(1)")),
                    (
                        "mod notebook { #[derive(Debug)] pub struct Page(pub u8); }\nlet p1 = notebook::Page(2);",
                        Runs,
                    ),
                    ("p1", Is("Page(2)")),
                    (
                        "mod cell { #[derive(Debug)] pub struct Cell(pub u8); }\nlet c1 = cell::Cell(3);",
                        Runs,
                    ),
                    ("c1", Is("Cell(3)")),
                    ("format!(\"{:?}\", Some(1))", Is("\"Some(1)\"")),
                ],
            ),
            (
                "crates of the standard library",
                &[
                    (
                        "extern crate core;\nextern crate alloc;\nuse alloc::collections::BTreeMap;\nlet mut m: BTreeMap<u8, u8> = BTreeMap::new(); m.insert(1, 2); m",
                        Is("{1: 2}"),
                    ),
                    ("m.len()", Is("1")),
                ],
            ),
            (
                "an import and code",
                &[(
                    "use std::io::Write;\nstd::io::stdout().write_all(b\"x\\n\")?;\nlet _ = std::io::stdout().flush();\n1",
                    Gives("1", "x\n"),
                )],
            ),
            (
                "two functions that change together",
                &[
                    ("fn area(w: f64) -> f64 { w * w }", Runs),
                    ("fn report() -> String { format!(\"{}\", area(2.0)) }", Runs),
                    (
                        "fn area(w: f64, h: f64) -> f64 { w * h }\nfn report() -> String { format!(\"{}\", area(2.0, 3.0)) }",
                        Runs,
                    ),
                    ("report()", Is("\"6\"")),
                ],
            ),
            (
                "a program with `main`",
                &[
                    (
                        "use std::collections::HashMap;\n\nfn count(words: &[&str]) -> HashMap<String, usize> {\n    let mut m = HashMap::new();\n    for w in words { *m.entry(w.to_string()).or_insert(0) += 1; }\n    m\n}\n\nfn main() {\n    let m = count(&[\"a\", \"b\", \"a\"]);\n    println!(\"{}\", m[\"a\"]);\n}",
                        Shows("`main` is defined; nothing has run. hint: `main()` in a cell"),
                    ),
                    ("main()", Prints("2\n")),
                ],
            ),
            (
                "`main` with `?`",
                &[
                    (
                        "use std::error::Error;\nfn main() -> Result<(), Box<dyn Error>> {\n    let n: i32 = \"4\".parse()?;\n    println!(\"{n}\");\n    Ok(())\n}\nmain()?",
                        Prints("4\n"),
                    ),
                    ("main()", Gives("Ok(())", "4\n")),
                ],
            ),
            (
                "`main` alone",
                &[(
                    "fn main() {\n    println!(\"Hello from main\");\n}",
                    Shows("`main` is defined; nothing has run. hint: `main()` in a cell"),
                )],
            ),
            (
                "the place of a panic in an earlier cell",
                &[
                    (
                        "fn f(n: i32) -> i32 {\n    assert!(n > 0, \"not positive: {n}\");\n    n\n}",
                        Runs,
                    ),
                    (
                        "let good = f(1);\nlet bad = f(-1);",
                        Fails(&["not positive: -1"]),
                    ),
                    (
                        "std::panic::catch_unwind(|| f(-2)).is_err()",
                        Shows("thread 'main' panicked:"),
                    ),
                ],
            ),
        ],
    );
}

fn threads_and_futures(engine: Engine, cache: &Path) {
    run(
        engine,
        cache,
        &[
            (
                "threads, channels and scopes",
                &[
                    (
                        "use std::sync::{Arc, Mutex, mpsc};\nlet total = Arc::new(Mutex::new(0));\nlet hs: Vec<std::thread::JoinHandle<()>> = (0..4).map(|i| { let t = total.clone(); std::thread::spawn(move || { *t.lock().unwrap() += i; }) }).collect();",
                        Runs,
                    ),
                    ("for h in hs { h.join().unwrap(); }", Runs),
                    ("*total.lock().unwrap()", Is("6")),
                    ("let (tx, rx) = mpsc::channel::<i32>();", Runs),
                    (
                        "std::thread::spawn(move || { for i in 0..3 { tx.send(i).unwrap(); } });",
                        Runs,
                    ),
                    ("rx.iter().collect::<Vec<_>>()", Is("[0, 1, 2]")),
                    (
                        "let data = vec![1, 2, 3]; std::thread::scope(|s| { s.spawn(|| println!(\"{}\", data.len())); });",
                        Prints("3\n"),
                    ),
                ],
            ),
            (
                "a function that is awaited",
                &[
                    (
                        "async fn twice(n: u32) -> u32 { n * 2 }\nlet got = twice(twice(5).await).await;\ngot",
                        Is("20"),
                    ),
                    ("got", Is("20")),
                ],
            ),
            (
                "a block that is awaited",
                &[(
                    "let text = async { Ok::<_, String>(\"fine\") }.await?;\ntext",
                    Is("\"fine\""),
                )],
            ),
            (
                "a thread that borrows",
                &[
                    ("let data = vec![1, 2, 3];", Runs),
                    (
                        "let h = std::thread::spawn(|| data.len());\nh.join().unwrap()",
                        Fails(&[
                            "E0373",
                            "closure may outlive the current function, but it borrows `data`, which",
                        ]),
                    ),
                    (
                        "std::thread::spawn(|| println!(\"{:?}\", data)).join().unwrap();",
                        Fails(&[
                            "E0373",
                            "closure may outlive the current function, but it borrows `data`, which",
                        ]),
                    ),
                ],
            ),
        ],
    );
}
