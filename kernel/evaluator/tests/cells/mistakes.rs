//! Checks of typical mistakes of learners: the error names the mistake, and the notebook continues.

use std::path::Path;

use crate::notebooks::Then::{Dies, Fails, Is, Runs, Shows};
use crate::notebooks::run;
use crate::support::{Engine, OwnCheck};

pub const CHECKS: &[OwnCheck] = &[
    ("the_words_name_the_mistake", the_words_name_the_mistake),
    ("panics_name_their_place", panics_name_their_place),
    ("the_cell_ends_early", the_cell_ends_early),
    ("borrows_end_with_their_cell", borrows_end_with_their_cell),
];

fn the_words_name_the_mistake(engine: Engine, cache: &Path) {
    run(
        engine,
        cache,
        &[
            (
                "typos",
                &[
                    (
                        "let x = 5\nlet y = 6;",
                        Fails(&["expected `;`, found keyword `let`"]),
                    ),
                    (
                        "printn!(\"x\");",
                        Fails(&["cannot find macro `printn` in this scope"]),
                    ),
                    (
                        "println!(\"{}\", undefined_name);",
                        Fails(&["E0425", "cannot find value `undefined_name` in this scope"]),
                    ),
                    (
                        "let s: String = \"abc\";",
                        Fails(&["E0308", "mismatched types"]),
                    ),
                    (
                        "fn f() -> i32 { 5; }",
                        Fails(&["E0308", "mismatched types"]),
                    ),
                    (
                        "Let x = 5;",
                        Fails(&[
                            "expected one of `!`, `.`, `::`, `;`, `?`, `{`, `}`, or an operator, fo",
                        ]),
                    ),
                    (
                        "let v = vec[1, 2];",
                        Fails(&["expected one of `.`, `?`, `]`, or an operator, found `,`"]),
                    ),
                    (
                        "prinln(\"x\")",
                        Fails(&["E0425", "cannot find function `prinln` in this scope"]),
                    ),
                ],
            ),
            (
                "types that must be given",
                &[
                    (
                        "\"5\".parse()",
                        Fails(&["E0284", "type annotations needed"]),
                    ),
                    (
                        "let v = Vec::new();",
                        Fails(&["E0282", "type annotations needed for `Vec<_>`"]),
                    ),
                    (
                        "[1, 2].iter().map(|x| x * 2).collect()",
                        Fails(&["E0282", "type annotations needed"]),
                    ),
                    ("None", Fails(&["E0282", "type annotations needed"])),
                    ("vec![]", Fails(&["E0282", "type annotations needed"])),
                    (
                        "[1].iter().sum()",
                        Fails(&["E0282", "type annotations needed"]),
                    ),
                    (
                        "Default::default()",
                        Fails(&["E0282", "type annotations needed"]),
                    ),
                    (
                        "\"7\".parse()?",
                        Fails(&["E0282", "type annotations needed"]),
                    ),
                    ("\"a\".into()", Fails(&["E0282", "type annotations needed"])),
                ],
            ),
            (
                "lines for a shell",
                &[
                    (
                        "ls",
                        Fails(&["E0425", "cannot find value `ls` in this scope"]),
                    ),
                    (
                        "cd ..",
                        Fails(&["E0425", "cannot find value `cd` in this scope"]),
                    ),
                    (
                        "pip install x",
                        Fails(&[
                            "expected one of `!`, `.`, `::`, `;`, `?`, `{`, `}`, or an operator, fo",
                        ]),
                    ),
                ],
            ),
            (
                "features of the nightly compiler",
                &[
                    (
                        "#![feature(never_type)]\nlet a = 1;",
                        Fails(&[
                            "E0554",
                            "`#![feature]` may not be used on the stable release channel",
                        ]),
                    ),
                    ("let b = 2; b", Is("2")),
                ],
            ),
            (
                "a module in a file",
                &[
                    (
                        "mod helpers;",
                        Fails(&["E0583", "file not found for module `helpers`"]),
                    ),
                    ("1 + 1", Is("2")),
                ],
            ),
            (
                "an error that cannot be shown",
                &[
                    (
                        "#[derive(Debug)] enum MyErr { Bad(i32) }\nfn f(n: i32) -> Result<i32, MyErr> { if n > 0 { Ok(n) } else { Err(MyErr::Bad(n)) } }",
                        Runs,
                    ),
                    (
                        "f(1)?",
                        Fails(&[
                            "E0277",
                            "`?` couldn't convert the error: `MyErr: std::fmt::Display` is not sati",
                        ]),
                    ),
                    (
                        "f(-1)?",
                        Fails(&[
                            "E0277",
                            "`?` couldn't convert the error: `MyErr: std::fmt::Display` is not sati",
                        ]),
                    ),
                ],
            ),
            (
                "a value that cannot be shown",
                &[
                    ("struct Plain;\nlet p = Plain;", Runs),
                    (
                        "p",
                        Fails(&[
                            "E0277",
                            "`Plain` doesn't implement `Debug`",
                            "hint: a cell that ends with `;` shows no value",
                        ]),
                    ),
                    (
                        "struct Shown; impl std::fmt::Display for Shown { fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result { write!(f, \"shown\") } }\nShown",
                        Fails(&[
                            "E0277",
                            "`Shown` doesn't implement `Debug`",
                            "hint: a cell that ends with `;` shows no value",
                        ]),
                    ),
                ],
            ),
            (
                "code without an end",
                &[
                    ("fn f() {", Fails(&["unclosed delimiter"])),
                    (
                        "let s = \"abc",
                        Fails(&["unterminated double quote string"]),
                    ),
                    ("vec![1, 2", Fails(&["unclosed delimiter"])),
                    ("1 +", Fails(&["found the end of the cell"])),
                    ("let", Fails(&["found the end of the cell"])),
                    ("use std::", Fails(&["found the end of the cell"])),
                    ("impl X", Fails(&["found the end of the cell"])),
                    ("if true {", Fails(&["unclosed delimiter"])),
                    ("struct S { x: i32", Fails(&["unclosed delimiter"])),
                    ("/* open", Fails(&["unterminated block comment"])),
                ],
            ),
            (
                "brackets that are not closed",
                &[
                    (
                        "for i in 0..3 {\n    println!(\"{i}\");\n",
                        Fails(&["unclosed delimiter"]),
                    ),
                    (
                        "let v = vec![1, (2, 3];",
                        Fails(&["mismatched closing delimiter: `]`"]),
                    ),
                    ("match 1 {\n    1 => 2,\n", Fails(&["unclosed delimiter"])),
                    ("fn f() { if true { 1 }", Fails(&["unclosed delimiter"])),
                    (
                        "struct P { x: i32,\nlet p = 1;",
                        Fails(&["unclosed delimiter"]),
                    ),
                ],
            ),
            (
                "a path without an end",
                &[
                    (
                        "let width = std::",
                        Fails(&["expected identifier, found the end of the cell"]),
                    ),
                    ("let width = 3; width", Is("3")),
                ],
            ),
            (
                "an attribute without an item",
                &[
                    (
                        "#[derive(Clone)]\n\n",
                        Fails(&["expected statement after outer attribute"]),
                    ),
                    ("#[derive(Debug)]\nstruct Full(u8);\nFull(1)", Is("Full(1)")),
                ],
            ),
            (
                "`return` in `let … else`",
                &[
                    ("let maybe: Option<i32> = None;", Runs),
                    (
                        "let Some(n) = maybe else { return; };\nn",
                        Fails(&[
                            "E0069",
                            "`return;` in a function whose return type is not `()`",
                        ]),
                    ),
                ],
            ),
            (
                "`return` without a value",
                &[(
                    "let n = 3;\nif n > 2 { println!(\"stop\"); return; }\nprintln!(\"not here\");",
                    Fails(&[
                        "E0069",
                        "`return;` in a function whose return type is not `()`",
                    ]),
                )],
            ),
            (
                "a function that uses a variable of its cell",
                &[(
                    "let rate = 0.2;\nfn tax(n: f64) -> f64 { n * rate }",
                    Fails(&[
                        "E0425",
                        "cannot find value `rate` in this scope",
                        "hint: `rate` is a variable, and items such as functions see ",
                    ]),
                )],
            ),
            (
                "a function that uses a variable of another cell",
                &[
                    ("let rate = 0.2;", Runs),
                    (
                        "fn tax(n: f64) -> f64 { n * rate }",
                        Fails(&[
                            "E0425",
                            "cannot find value `rate` in this scope",
                            "hint: `rate` is a variable, and items such as functions see ",
                        ]),
                    ),
                ],
            ),
            (
                "what is unsafe",
                &[
                    (
                        "std::env::set_var(\"MODE\", \"x\");",
                        Fails(&[
                            "E0133",
                            "call to unsafe function `set_var` is unsafe and requires unsafe functi",
                        ]),
                    ),
                    (
                        "unsafe { std::env::set_var(\"MODE\", \"x\") };\nstd::env::var(\"MODE\")",
                        Is("Ok(\"x\")"),
                    ),
                ],
            ),
            (
                "no suggestion of a name of the kernel",
                &[
                    (
                        "score + 1",
                        Fails(&["E0425", "cannot find value `score` in this scope"]),
                    ),
                    (
                        "stor(2)",
                        Fails(&["E0425", "cannot find function `stor` in this scope"]),
                    ),
                    ("let x = 1;", Runs),
                    (
                        "scorex + x",
                        Fails(&["E0425", "cannot find value `scorex` in this scope"]),
                    ),
                    (
                        "don + x",
                        Fails(&["E0425", "cannot find value `don` in this scope"]),
                    ),
                ],
            ),
            (
                "a function of a type as a value",
                &[("let f = i32::abs;", Runs)],
            ),
            (
                "hints that fit",
                &[
                    ("let f = str::len;", Runs),
                    ("let g = Vec::<i32>::len;", Runs),
                    (
                        "let h = String::from;",
                        Fails(&[
                            "E0283",
                            "type annotations needed for `fn(_) -> String {<String as From<_>>::fro",
                        ]),
                    ),
                    ("async fn a() -> i32 { 1 }", Runs),
                    (
                        "let w = a();",
                        Shows("`w` ends with its cell: its type has no name that another ce"),
                    ),
                ],
            ),
            (
                "a result that nobody looks at",
                &[(
                    "fn f() -> Result<u8, String> { Ok(1) }\nf();\nlet mut x = 5;\nwhile true { break; }\n7",
                    Shows("denote infinite loops with `loop { ... }`"),
                )],
            ),
        ],
    );
}

fn panics_name_their_place(engine: Engine, cache: &Path) {
    run(
        engine,
        cache,
        &[
            (
                "overflow, division and bounds",
                &[
                    ("let big = u8::MAX;", Runs),
                    (
                        "big + 1",
                        Fails(&["attempt to add with overflow", "line 1, column 1"]),
                    ),
                    ("let z = 0;", Runs),
                    (
                        "10 / z",
                        Fails(&["attempt to divide by zero", "line 1, column 1"]),
                    ),
                    ("let v = vec![1]; let i: usize = 7;", Runs),
                    (
                        "v[i]",
                        Fails(&[
                            "index out of bounds: the len is 1 but the index is 7",
                            "line 1, column 2",
                        ]),
                    ),
                ],
            ),
            (
                "`todo!` and its like",
                &[
                    ("fn later() -> i32 { todo!() }", Runs),
                    ("later()", Fails(&["not yet implemented"])),
                    (
                        "todo!()",
                        Fails(&["not yet implemented", "line 1, column 1"]),
                    ),
                    (
                        "unimplemented!(\"soon\")",
                        Fails(&["not implemented: soon", "line 1, column 1"]),
                    ),
                    (
                        "unreachable!()",
                        Fails(&[
                            "internal error: entered unreachable code",
                            "line 1, column 1",
                        ]),
                    ),
                ],
            ),
            (
                "panics in functions",
                &[
                    (
                        "fn risky(n: i32) -> i32 {\n    let v: Vec<i32> = vec![];\n    v[n as usize]\n}",
                        Runs,
                    ),
                    (
                        "fn outer() -> i32 { risky(3) }\nouter()",
                        Fails(&["index out of bounds: the len is 0 but the index is 3"]),
                    ),
                    (
                        "let r: Result<i32, String> = Err(\"bad\".into());\nr.unwrap()",
                        Fails(&[
                            "called `Result::unwrap()` on an `Err` value: \"bad\"",
                            "line 2, column 3",
                        ]),
                    ),
                    (
                        "let r: Option<i32> = None;\nr.expect(\"a value\")",
                        Fails(&["a value", "line 2, column 3"]),
                    ),
                    (
                        "assert_eq!(1 + 1, 3, \"sums of {}\", \"two\");",
                        Fails(&[
                            "assertion `left == right` failed: sums of two",
                            "line 1, column 1",
                        ]),
                    ),
                    (
                        "assert!(false)",
                        Fails(&["assertion failed: false", "line 1, column 1"]),
                    ),
                ],
            ),
            (
                "the place of a value that panics",
                &[
                    (
                        "let a = [1, 2, 3];\nlet i: usize = 7; let z = 0; let big = i32::MAX; let neg = i32::MIN;",
                        Runs,
                    ),
                    (
                        "a[i]",
                        Fails(&[
                            "index out of bounds: the len is 3 but the index is 7",
                            "line 1, column 1",
                        ]),
                    ),
                    (
                        "// a comment\na[i]",
                        Fails(&[
                            "index out of bounds: the len is 3 but the index is 7",
                            "line 2, column 1",
                        ]),
                    ),
                    (
                        "5 / z",
                        Fails(&["attempt to divide by zero", "line 1, column 1"]),
                    ),
                    (
                        "big + 1",
                        Fails(&["attempt to add with overflow", "line 1, column 1"]),
                    ),
                    (
                        "-neg",
                        Fails(&["attempt to negate with overflow", "line 1, column 1"]),
                    ),
                    (
                        "1 << (big)",
                        Fails(&["attempt to shift left with overflow", "line 1, column 1"]),
                    ),
                    (
                        "let q = big + 1;",
                        Fails(&["attempt to add with overflow", "line 1, column 9"]),
                    ),
                    (
                        "a[i] + 1",
                        Fails(&[
                            "index out of bounds: the len is 3 but the index is 7",
                            "line 1, column 1",
                        ]),
                    ),
                ],
            ),
            (
                "a panic in a drop",
                &[
                    (
                        "struct Bad;\nimpl Drop for Bad { fn drop(&mut self) { panic!(\"in drop\"); } }\nlet kept = 1;",
                        Runs,
                    ),
                    ("{ let _b = Bad; }", Fails(&["in drop"])),
                    ("kept", Is("1")),
                    ("let b = Bad;", Runs),
                    ("let b = 5;", Fails(&["in drop"])),
                    ("kept + b", Fails(&["E0277", "cannot add `Bad` to `i32`"])),
                ],
            ),
        ],
    );
}

fn the_cell_ends_early(engine: Engine, cache: &Path) {
    run(
        engine,
        cache,
        &[
            (
                "`?` on a result",
                &[
                    ("let n: i32 = \"12\".parse()?;", Runs),
                    ("n + 1", Is("13")),
                    (
                        "let m: i32 = \"twelve\".parse()?;",
                        Fails(&["invalid digit found in string"]),
                    ),
                    ("n", Is("12")),
                ],
            ),
            (
                "`?` on an option",
                &[(
                    "let first = \"\".chars().next()?;",
                    Fails(&["`?` has met `None`"]),
                )],
            ),
            (
                "`?` on a slice",
                &[
                    (":efmt Debug", Is(":efmt has no effect in this kernel")),
                    ("[1, 2, 3].get(4)?", Fails(&["`?` has met `None`"])),
                ],
            ),
            (
                "variables before an error",
                &[
                    (
                        "let a = 1;\nlet b: i32 = \"x\".parse()?;",
                        Fails(&["invalid digit found in string"]),
                    ),
                    (
                        "a",
                        Fails(&["E0425", "cannot find value `a` in this scope"]),
                    ),
                ],
            ),
            (
                "`return` before the end",
                &[
                    (
                        "let a = 5;\nif a > 2 { return Ok(()); }",
                        Shows("`return` has ended the cell, so these variables of it are no"),
                    ),
                    (
                        "a",
                        Fails(&["E0425", "cannot find value `a` in this scope"]),
                    ),
                    ("let a = 6;", Runs),
                    ("a", Is("6")),
                ],
            ),
            (
                "files that are missing",
                &[
                    ("std::fs::write(\"numbers.txt\", \"1\\n2\\n3\\n\")?;", Runs),
                    (
                        "let n: i32 = std::fs::read_to_string(\"numbers.txt\")?.lines().map(|l| l.parse::<i32>().unwrap()).sum();\nn",
                        Is("6"),
                    ),
                    (
                        "std::fs::read_to_string(\"missing.txt\")?",
                        Fails(&["No such file or directory (os error 2)"]),
                    ),
                    (
                        "let f = std::fs::File::open(\"missing.txt\").unwrap();",
                        Fails(&[
                            "called `Result::unwrap()` on an `Err` value: Os { code: 2, kind: NotFo",
                            "line 1, column 44",
                        ]),
                    ),
                ],
            ),
            (
                "the end of the process",
                &[
                    ("let a = 1;", Runs),
                    (
                        "std::process::exit(0);",
                        Dies("the cell ended its process (exit code 0)"),
                    ),
                    ("1 + 1", Is("2")),
                ],
            ),
            (
                "recursion without an end",
                &[
                    (
                        "let a = 1;\nfn down(n: u64) -> u64 { if n == u64::MAX { 0 } else { 1 + down(n + 1) } }",
                        Runs,
                    ),
                    (
                        "down(0)",
                        Dies("the cell's process was ended by 6 (SIGABRT): it gave up, as "),
                    ),
                    ("2 + 2", Is("4")),
                    ("down as fn(u64) -> u64 as usize > 0", Is("true")),
                ],
            ),
        ],
    );
}

fn borrows_end_with_their_cell(engine: Engine, cache: &Path) {
    run(
        engine,
        cache,
        &[
            (
                "a reference",
                &[(
                    "let s = String::from(\"hi\");\nlet r = &s;\nprintln!(\"{r}\");",
                    Shows("`r` ends with its cell: it borrows from what is not kept whe"),
                )],
            ),
            (
                "in a block and a function",
                &[
                    (
                        "{\nlet mut v = vec![1, 2, 3];\nlet first = &v[0];\nv.push(4);\nprintln!(\"{first}\");\n}",
                        Fails(&[
                            "E0502",
                            "cannot borrow `v` as mutable because it is also borrowed as immutable",
                        ]),
                    ),
                    (
                        "fn f() { let mut v = vec![1]; let first = &v[0]; v.push(4); println!(\"{first}\"); }",
                        Fails(&[
                            "E0502",
                            "cannot borrow `v` as mutable because it is also borrowed as immutable",
                        ]),
                    ),
                ],
            ),
            (
                "references in functions",
                &[
                    (
                        "fn longest<'a>(a: &'a str, b: &'a str) -> &'a str { if a.len() > b.len() { a } else { b } }",
                        Runs,
                    ),
                    (
                        "let s1 = String::from(\"long text\");\nlet result;\n{\n    let s2 = String::from(\"xyz\");\n    result = longest(s1.as_str(), s2.as_str());\n}\nprintln!(\"{result}\");",
                        Fails(&["E0597", "`s2` does not live long enough"]),
                    ),
                    (
                        "let s1 = String::from(\"long text\");\nlet s2 = \"xyz\";\nlet result = longest(&s1, s2);\nprintln!(\"The longest is {result}\");",
                        Shows("`result` ends with its cell: it borrows from what is not kep"),
                    ),
                    (
                        "fn first(s: &String) -> &str { &s[..1] }\nfn bad(a: &str, b: &str) -> &str { a }",
                        Fails(&["E0106", "missing lifetime specifier"]),
                    ),
                ],
            ),
            (
                "slices and words",
                &[
                    (
                        "let text = String::from(\"hello world\");\nlet word = &text[..5];\nprintln!(\"{word}\");",
                        Shows("`word` ends with its cell: it borrows from what is not kept "),
                    ),
                    (
                        "let nums = [1, 2, 3, 4];\nlet mid = &nums[1..3];\nassert_eq!(mid, &[2, 3]);",
                        Shows("`mid` ends with its cell: it borrows from what is not kept w"),
                    ),
                    (
                        "let words: Vec<&str> = text.split(' ').collect();\nwords.len()",
                        Shows("`words` ends with its cell: it borrows from what is not kept"),
                    ),
                    (
                        "let mut counts = std::collections::HashMap::new();\nlet line = String::from(\"a b a\");\nfor w in line.split(' ') { *counts.entry(w).or_insert(0) += 1; }\ncounts[\"a\"]",
                        Shows("`counts` ends with its cell: it borrows from what is not kep"),
                    ),
                ],
            ),
            (
                "earlier variables",
                &[
                    ("let mut s = String::new();\nlet mut v = vec![1, 2];", Runs),
                    (
                        "let a = &mut s;\nlet b = &mut s;\na.push('x');\nb.push('y');",
                        Fails(&[
                            "E0499",
                            "cannot borrow `s` as mutable more than once at a time",
                        ]),
                    ),
                    (
                        "let first = &v[0];\nv.push(4);\nprintln!(\"{first}\");",
                        Fails(&[
                            "E0502",
                            "cannot borrow `v` as mutable because it is also borrowed as immutable",
                        ]),
                    ),
                    (
                        "{ let a = &mut s; let b = &mut s; a.push('x'); b.push('y'); }",
                        Fails(&[
                            "E0499",
                            "cannot borrow `s` as mutable more than once at a time",
                        ]),
                    ),
                ],
            ),
            (
                "scopes, closures and threads",
                &[
                    (
                        "let numbers = vec![1, 2, 3];\nlet total: i32 = std::thread::scope(|s| s.spawn(|| numbers.iter().sum()).join().unwrap());\ntotal",
                        Is("6"),
                    ),
                    (
                        "let mut log = Vec::new();\nlet mut add = |s: &str| log.push(s.to_string());\nadd(\"x\");\nlog.len()",
                        Shows("`add` ends with its cell: it borrows from what is not kept w"),
                    ),
                    (
                        "let v = vec![1];\nlet w = v;\nlet n = std::thread::spawn(|| w.len()).join().unwrap();\nprintln!(\"{n}\");",
                        Fails(&[
                            "E0373",
                            "closure may outlive the current function, but it borrows `w`, which is",
                        ]),
                    ),
                ],
            ),
            (
                "a closure",
                &[(
                    "let bump = |n: i32| n + 1;\nbump(41)",
                    Shows("`bump` ends with its cell: it is a closure, whose type has n"),
                )],
            ),
            (
                "a closure over an earlier variable",
                &[
                    ("let limit = 3;", Runs),
                    (
                        "let near = |n: i32| n < limit;\nassert!(near(2));\nprintln!(\"{}\", near(5));",
                        Shows("`near` ends with its cell: it borrows from what is not kept "),
                    ),
                ],
            ),
        ],
    );
}
