//! Checks of resources outside the cells: files of the notebook's folder, local crates, other
//! crates.

use std::path::Path;

use crate::notebooks::Then::{Fails, Is, Prints, Runs, Shows};
use crate::notebooks::run;
use crate::support::{Engine, OwnCheck};

pub const CHECKS: &[OwnCheck] = &[
    ("files_are_read_and_written", files_are_read_and_written),
    ("local_crates_are_built_again", local_crates_are_built_again),
    (
        "crates_are_named_in_many_ways",
        crates_are_named_in_many_ways,
    ),
    (
        "small_crates_keep_their_variables",
        small_crates_keep_their_variables,
    ),
    ("crates_for_data", crates_for_data),
    (
        "a_task_is_started_without_waiting",
        a_task_is_started_without_waiting,
    ),
];

const SIDECAR: &str = "#file sidecar/Cargo.toml\n[package]\nname = \"sidecar\"\nversion = \"0.1.0\"\nedition = \"2024\"\n";

const SEVEN: &str = "#file sidecar/src/lib.rs\npub fn seven() -> i32 { 7 }\n";

const MORE: &str = "#file sidecar/src/lib.rs\npub fn seven() -> i32 { 7 + 70 }\n";

const THING: &str = "#file sidecar/src/lib.rs\n#[derive(Debug)] pub struct Thing { pub n: u8 }\npub fn make() -> Thing { Thing { n: 1 } }\n";

const LARGER_THING: &str = "#file sidecar/src/lib.rs\n#[derive(Debug)] pub struct Thing { pub n: u8, pub name: String }\npub fn make() -> Thing { Thing { n: 2, name: String::new() } }\n";

const DEP: &str = ":dep sidecar = { path = \"$FOLDER/sidecar\" }";

fn files_are_read_and_written(engine: Engine, cache: &Path) {
    run(
        engine,
        cache,
        &[
            (
                "a file that stays open",
                &[
                    (
                        "let path = \"$FOLDER/note.txt\";\nlet mut file = std::fs::File::create(path)?;",
                        Runs,
                    ),
                    ("use std::io::Write;\nwriteln!(file, \"one\")?;", Runs),
                    ("writeln!(file, \"two\")?; file.flush()?;", Runs),
                    ("std::fs::read_to_string(path)?", Is("\"one\\ntwo\\n\"")),
                ],
            ),
            (
                "a reader of lines",
                &[
                    ("#file a.csv\na,b\n", Runs),
                    (
                        "let lines = std::io::BufRead::lines(std::io::BufReader::new(std::fs::File::open(\"$FOLDER/a.csv\")?));",
                        Runs,
                    ),
                    (
                        "let mut n = 0; for l in lines { n += l?.len(); } n",
                        Is("3"),
                    ),
                ],
            ),
            (
                "a text that is compiled in, beside the notebook and elsewhere",
                &[
                    ("#file data.txt\nhello", Runs),
                    ("include_str!(\"$FOLDER/data.txt\").len()", Is("5")),
                    (
                        "fn manifest() -> &'static str { include_str!(\"Cargo.toml\") }",
                        Runs,
                    ),
                    ("manifest().contains(\"[package]\")", Is("true")),
                    ("include_bytes!(\"no-such-file\")", Fails(&["no-such-file"])),
                ],
            ),
        ],
    );
}

fn local_crates_are_built_again(engine: Engine, cache: &Path) {
    run(
        engine,
        cache,
        &[
            (
                "by their `:dep` line",
                &[
                    (SIDECAR, Runs),
                    (SEVEN, Runs),
                    (DEP, Runs),
                    ("sidecar::seven()", Is("7")),
                    (MORE, Runs),
                    (DEP, Runs),
                    ("sidecar::seven()", Is("77")),
                ],
            ),
            (
                "by the next cell that uses them, also through items and imports",
                &[
                    (SIDECAR, Runs),
                    (SEVEN, Runs),
                    (DEP, Runs),
                    (
                        "use sidecar::seven;\nfn twice() -> i32 { 2 * seven() }",
                        Runs,
                    ),
                    ("twice()", Is("14")),
                    ("#file sidecar/src/lib.rs\npub fn seven() -> i32 { 70", Runs),
                    ("1 + 1", Is("2")),
                    ("twice()", Fails(&["the dependencies do not build"])),
                    (MORE, Runs),
                    ("twice()", Is("154")),
                    ("seven()", Is("77")),
                ],
            ),
            (
                "with other types: variables are lost, and made again",
                &[
                    (SIDECAR, Runs),
                    (THING, Runs),
                    (DEP, Runs),
                    (
                        "let t = sidecar::make();\nlet list = vec![sidecar::make()];",
                        Runs,
                    ),
                    (LARGER_THING, Runs),
                    (DEP, Shows("The type of the variable t was redefined")),
                    ("t", Fails(&["E0425", "`t` was lost when"])),
                    ("list", Fails(&["E0425", "`list` was lost when"])),
                    ("let t = sidecar::make();", Runs),
                    ("t.n", Is("2")),
                    ("let u = 1; // t\nu", Is("1")),
                ],
            ),
        ],
    );
}

fn crates_are_named_in_many_ways(engine: Engine, cache: &Path) {
    run(
        engine,
        cache,
        &[
            (
                "over lines, with a comment, with a version behind `@`",
                &[
                    (
                        ":dep either = { version = \"1\",\n    default-features = false }\n1",
                        Is("1"),
                    ),
                    (":dep either = \"1\" // a comment\n2", Is("2")),
                    (":dep either\n4", Is("4")),
                    (":dep either@1\n5", Is("5")),
                    (
                        "use std::fmt;\n:dep either = \"1\"\n3",
                        Fails(&["hint: a command such as `:dep` stands before"]),
                    ),
                ],
            ),
            (
                "wrongly",
                &[
                    (":dep", Fails(&["names no crate", "hint: "])),
                    (
                        ":dep either = \"not a version\"",
                        Fails(&["the dependencies do not build", "hint: "]),
                    ),
                    (":dpe either", Fails(&["Unrecognised command", "hint: "])),
                    ("2", Is("2")),
                ],
            ),
        ],
    );
}

fn small_crates_keep_their_variables(engine: Engine, cache: &Path) {
    run(
        engine,
        cache,
        &[
            (
                "another crate",
                &[
                    (
                        ":dep either = \"1\"\nlet one: either::Either<i32, u8> = either::Left(1);",
                        Runs,
                    ),
                    (":dep fastrand = \"2\"", Runs),
                    ("one.is_left()", Is("true")),
                ],
            ),
            (
                "other features of the crate",
                &[
                    (
                        ":dep either = { version = \"1\", default-features = false }\nlet e: either::Either<i32, u8> = either::Left(1);",
                        Runs,
                    ),
                    ("e.is_left()", Is("true")),
                    (":dep itertools = \"0.14\"", Runs),
                    ("let e = 5; e", Is("5")),
                    (
                        "match \"x\".parse::<i32>() { Ok(n) => n, Err(e) => { println!(\"{e}\"); 0 } }",
                        Is("0"),
                    ),
                ],
            ),
            (
                "another version of the crate",
                &[
                    (
                        ":dep fastrand = \"=2.1.0\"\nlet mut rng = fastrand::Rng::with_seed(7);",
                        Runs,
                    ),
                    ("rng.u8(..) > 0 || true", Is("true")),
                    (":dep fastrand = \"=2.1.1\"", Runs),
                    (
                        "rng.u8(..) > 0 || true",
                        Fails(&["`rng` is lost", "hint: "]),
                    ),
                    ("let mut rng = fastrand::Rng::with_seed(8);", Runs),
                    ("rng.bool() || true", Is("true")),
                ],
            ),
            (
                "a macro of a crate that defines statics",
                &[
                    (
                        ":dep lazy_static = \"1\"\nuse lazy_static::lazy_static;\nlazy_static! { static ref SQUARES: Vec<u64> = (0..5).map(|n| n * n).collect(); }\nfn last() -> u64 { SQUARES[4] }\nlast()",
                        Is("16"),
                    ),
                    ("SQUARES.len()", Is("5")),
                ],
            ),
        ],
    );
}

fn crates_for_data(engine: Engine, cache: &Path) {
    run(
        engine,
        cache,
        &[
            (
                "matrices, also with capital names",
                &[
                    (
                        ":dep ndarray = \"0.16\"\nuse ndarray::{array, Array2, s};\nlet A = Array2::<f64>::eye(2);\nlet data = Array2::<f64>::zeros((2, 3));",
                        Runs,
                    ),
                    ("data.shape()", Is("[2, 3]")),
                    (
                        "let m = array![[1.0, 2.0], [3.0, 4.0]];\nm.dot(&m)[[0, 0]]",
                        Is("7.0"),
                    ),
                    ("m.slice(s![0, ..]).sum()", Is("3.0")),
                    ("A.dot(&m)[[1, 0]]", Is("3.0")),
                ],
            ),
            (
                "records as JSON, and dice",
                &[
                    (
                        ":dep serde = { version = \"1\", features = [\"derive\"] }\n:dep serde_json = \"1\"\n:dep rand = \"0.9\"\nuse serde::{Serialize, Deserialize};\n#[derive(Serialize, Deserialize, Debug, Clone)] #[serde(rename_all = \"camelCase\")] struct User { first_name: String, #[serde(default)] age: u8 }\nlet u: User = serde_json::from_str(r#\"{\"firstName\":\"Ann\"}\"#)?;\nu",
                        Is("User { first_name: \"Ann\", age: 0 }"),
                    ),
                    (
                        "serde_json::to_string(&u)?",
                        Is("\"{\\\"firstName\\\":\\\"Ann\\\",\\\"age\\\":0}\""),
                    ),
                    (
                        "let v = serde_json::json!({\"a\": [1, 2]}); v[\"a\"][1]",
                        Is("Number(2)"),
                    ),
                    (
                        "use rand::Rng;\nlet mut rng = rand::rng();\nlet n = rng.random_range(1..=6);",
                        Runs,
                    ),
                    ("(1..=6).contains(&n)", Is("true")),
                    ("rng.random::<f64>() < 1.0", Is("true")),
                    (
                        "serde_json::from_str::<User>(\"{}\")?",
                        Fails(&["missing field `firstName`"]),
                    ),
                ],
            ),
            (
                "words and their order",
                &[
                    (
                        ":dep itertools = \"0.14\"\n:dep regex = \"1\"\nuse itertools::Itertools;\nuse regex::Regex;\nlet re = Regex::new(r\"(\\d+)-(\\d+)\")?;",
                        Runs,
                    ),
                    (
                        "re.captures(\"10-20\").map(|c| c[2].to_string())",
                        Is("Some(\"20\")"),
                    ),
                    ("[3, 1, 2].iter().sorted().join(\"-\")", Is("\"1-2-3\"")),
                    (
                        "let found: Vec<String> = re.find_iter(\"1-2 3-4\").map(|m| m.as_str().to_string()).collect();\nfound",
                        Is("[\"1-2\", \"3-4\"]"),
                    ),
                    (
                        "use itertools::izip; izip!([1, 2], [3, 4]).map(|(a, b)| a * b).collect_vec()",
                        Is("[3, 8]"),
                    ),
                    (
                        "(1..4).tuple_windows().map(|(a, b)| b - a).collect::<Vec<i32>>()",
                        Is("[1, 1]"),
                    ),
                ],
            ),
        ],
    );
}

fn a_task_is_started_without_waiting(engine: Engine, cache: &Path) {
    run(
        engine,
        cache,
        &[
            (
                "tasks, channels and `main` of tokio",
                &[
                    (
                        ":dep tokio = { version = \"1\", features = [\"full\"] }\nuse tokio::time::{sleep, Duration};",
                        Runs,
                    ),
                    (
                        "let h = tokio::spawn(async { sleep(Duration::from_millis(1)).await; 7 });",
                        Runs,
                    ),
                    ("h.await?", Is("7")),
                    (
                        "fn later() -> tokio::task::JoinHandle<u8> { tokio::spawn(async { 8 }) }",
                        Runs,
                    ),
                    ("let h = later();", Runs),
                    ("h.await?", Is("8")),
                    (
                        "let (a, b) = tokio::join!(async { 1 }, async { 2 });\na + b",
                        Is("3"),
                    ),
                    (
                        "#[tokio::main]\nasync fn main() { sleep(Duration::from_millis(1)).await; println!(\"main\"); }",
                        Shows("hint: `main()`"),
                    ),
                    ("main()", Prints("main\n")),
                    (
                        "let (tx, mut rx) = tokio::sync::mpsc::channel::<i32>(4);",
                        Runs,
                    ),
                    ("tx.send(5).await?;", Runs),
                    ("rx.recv().await", Is("Some(5)")),
                    (
                        "tokio::select! { _ = sleep(Duration::from_secs(5)) => \"slow\", v = async { \"fast\" } => v }",
                        Is("\"fast\""),
                    ),
                ],
            ),
            (
                "a tokio without threads",
                &[
                    (
                        ":dep tokio = { version = \"1\", default-features = false, features = [\"sync\"] }\nlet lock = tokio::sync::Mutex::new(3);",
                        Runs,
                    ),
                    ("*lock.try_lock()?", Is("3")),
                ],
            ),
        ],
    );
}
