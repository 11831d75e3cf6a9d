//! Checks of features known from other kernels: commands, magics, the shell, and files of the
//! notebook's folder.

use std::path::Path;

use crate::notebooks::Then::{Fails, Is, Prints, Runs, Shows};
use crate::notebooks::run;
use crate::support::{Engine, OwnCheck};

pub const CHECKS: &[OwnCheck] = &[
    ("commands_and_magics", commands_and_magics),
    ("the_shell_and_programs", the_shell_and_programs),
];

fn commands_and_magics(engine: Engine, cache: &Path) {
    run(
        engine,
        cache,
        &[
            (
                "the time of a cell",
                &[(
                    "%%time\n1 + 1",
                    Fails(&[
                        "`%%time` is a magic of IPython, which a Rust notebook has not",
                        "hint: `:timing` shows how long cells take",
                    ]),
                )],
            ),
            (
                "plots in the notebook",
                &[(
                    "%matplotlib inline",
                    Fails(&[
                        "`%matplotlib` is a magic of IPython, which a Rust notebook has not",
                        "hint: `:help` shows all commands",
                    ]),
                )],
            ),
            (
                "commands below comments",
                &[
                    ("/* needs a crate */\n:vars\n1 + 1", Is("2")),
                    ("   :vars", Is("")),
                    (
                        "# a heading\n:vars",
                        Fails(&["expected one of `!` or `[`, found `a`"]),
                    ),
                ],
            ),
            (
                "`!` before a literal",
                &[("!true", Is("false")), ("!5u8", Is("250"))],
            ),
            (
                "`!` before a variable",
                &[
                    ("let ready = true;", Runs),
                    ("!ready", Is("false")),
                    ("!ready && true", Is("false")),
                    (" !ready", Is("false")),
                    ("(!ready)", Is("false")),
                ],
            ),
            (
                "commands at a wrong place",
                &[
                    (":vars", Is("")),
                    (
                        ":nonsense",
                        Fails(&[
                            "Unrecognised command :nonsense",
                            "hint: `:help` shows all commands",
                        ]),
                    ),
                    (":type a", Fails(&["Variable does not exist: a"])),
                    (":quit", Is(":quit has no effect in this kernel")),
                    ("1", Is("1")),
                ],
            ),
            (
                "tests",
                &[
                    ("fn add(a: i32, b: i32) -> i32 { a + b }", Runs),
                    (
                        "#[cfg(test)]\nmod tests {\n    use super::*;\n    #[test]\n    fn adds() { assert_eq!(add(1, 2), 3); }\n    #[test]\n    fn fails() { assert_eq!(add(1, 2), 4); }\n}",
                        Runs,
                    ),
                    ("%test", Fails(&[])),
                ],
            ),
            (
                "`dbg!`",
                &[(
                    "let a = 3;\nlet b = dbg!(a * 2) + 1;\nb",
                    Shows("[cell 1:2:9] a * 2 = 6"),
                )],
            ),
            (
                "the line and the file of a macro",
                &[
                    (
                        "println!(\"{} {}\", line!(), file!());",
                        Prints("1 cell 1\n"),
                    ),
                    ("\n\ndbg!(1 + 1);", Shows("[cell 2:3:1] 1 + 1 = 2")),
                    ("fn at() -> u32 { line!() }\nat()", Is("1")),
                ],
            ),
            (
                "lints for the notebook",
                &[
                    (
                        "#![allow(non_snake_case)]\nlet Alpha = 1;\nlet beta_X = 2;",
                        Runs,
                    ),
                    ("let Gamma = 3;", Runs),
                    ("beta_X", Is("2")),
                ],
            ),
            (
                "a name after `:restart`",
                &[
                    (
                        "let a = 5;\nif a > 2 { return Ok(()); }",
                        Shows("`return` has ended the cell, so these variables of it are no"),
                    ),
                    ("let a = 6;", Runs),
                    (
                        ":replay",
                        Is("no variables are lost that a cell could make again"),
                    ),
                    ("let a = 6;", Runs),
                    (":restart", Is("Child process restarted")),
                    ("let a = 6; a", Is("6")),
                ],
            ),
        ],
    );
}

fn the_shell_and_programs(engine: Engine, cache: &Path) {
    run(
        engine,
        cache,
        &[
            ("the shell", &[("!echo hi && echo there", Is("hi\nthere"))]),
            (
                "programs that print",
                &[
                    (
                        "std::process::Command::new(\"echo\").arg(\"child\").status()?;",
                        Prints("child\n"),
                    ),
                    (
                        "let o = std::process::Command::new(\"sh\").args([\"-c\", \"echo e >&2; exit 3\"]).status()?;\no.code()",
                        Shows("e"),
                    ),
                ],
            ),
        ],
    );
}
