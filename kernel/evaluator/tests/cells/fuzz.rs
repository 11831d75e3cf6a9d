//! Fuzz test: random edits of a small program, compared with the same program compiled as a whole.
//!
//! Cells define the items of the program, edit them, create variables of its types, and read them.
//! A read must return the same value as the whole program with the current items. Otherwise the
//! variable must be lost, and an item must have been edited since its creation. The same holds for
//! values behind `dyn Any`, for which `downcast_ref` succeeds or fails. Statics keep their values
//! across all edits.
//!
//! A normal run tests one program. `AZUREML_TEST_LONG=1` continues for `AZUREML_TEST_SECONDS`
//! (default 1800). `AZUREML_TEST_SEED` repeats one program.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use azureml_kernel_evaluator::{CellName, Evaluator, Outcome};

use crate::support::{Engine, OwnCheck, Recorder, plain, start};

pub const CHECKS: &[OwnCheck] = &[(
    "memory_holds_after_random_edits",
    memory_holds_after_random_edits,
)];

/// The items of the program, each in several versions.
const ITEMS: &[&[&str]] = &[
    &[
        "const N: usize = 1;",
        "pub const N: usize = 2;",
        "#[allow(dead_code)] const N: usize = M;",
    ],
    &["const M: usize = 1;", "const M: usize = 3;"],
    &[
        "type Num = u8;",
        "type Num = u64;",
        "type Num = String;",
        "type Num = Unit;",
    ],
    &[
        "mod units { pub type Unit = u8; pub struct Other; }",
        "mod units { pub type Unit = f64; pub struct Other; }",
        "mod units { pub type Unit = (u8, super::Tiny); pub struct Other; }",
    ],
    &["type Tiny = u8;", "type Tiny = u16;"],
    &[
        "use units::Unit;",
        "use units::*;",
        "use self::units::Unit as Unit;",
    ],
    &[
        "use std::collections::HashMap as Map;",
        "use std::collections::BTreeMap as Map;",
    ],
    &[
        "macro_rules! field { () => { u8 } }",
        "macro_rules! field { () => { Vec<Num> } }",
    ],
    &[
        "const fn len() -> usize { 1 }",
        "const fn len() -> usize { 2 + N }",
    ],
    &[
        "trait Size { const L: usize; type Out: Default + std::fmt::Debug; }",
        "trait Size { type Out: Default + std::fmt::Debug; const L: usize; }",
    ],
    &[
        "impl Size for A { const L: usize = 1; type Out = u8; }",
        "impl Size for A { const L: usize = 4; type Out = u8; }",
        "impl Size for A { const L: usize = N; type Out = [Num; 2]; }",
    ],
    &[
        "#[derive(Debug, Default)] struct A;",
        "#[derive(Debug, Default)] struct A { a: u16 }",
    ],
    &[
        "#[derive(Debug, Default)] struct Row { cells: [Num; N], unit: Unit }",
        "#[derive(Debug, Default)] struct Row { unit: Unit, cells: [Num; N] }",
        "#[repr(C)] #[derive(Debug, Default)] struct Row { cells: [Num; N], unit: Unit, wide: u64 }",
    ],
    &["#[derive(Debug, Default)] struct Buf([u64; <A as Size>::L]);"],
    &["#[derive(Debug, Default)] struct Held<T: Size> { v: T::Out, n: u16 }"],
    &["#[derive(Debug, Default)] struct Store { m: Map<u8, u32>, f: field!() }"],
    &[
        "#[derive(Debug, Default)] enum Either { #[default] One, Two([u16; len()]) }",
        "#[derive(Debug, Default)] enum Either { Two([u16; len()]), #[default] One, Three(Box<Row>) }",
    ],
    &["#[derive(Debug, Default)] struct Deep { row: Row, either: Either, list: Vec<Buf> }"],
    &[
        "trait Shape { fn area(&self) -> usize; }",
        "trait Shape { fn name(&self) -> String { String::new() } fn area(&self) -> usize; }",
    ],
    &["impl Shape for Row { fn area(&self) -> usize { std::mem::size_of::<Self>() } }"],
    &[
        "macro_rules! make { ($n:ident, $t:ty) => { #[derive(Debug, Default)] struct $n { made: $t } } }",
        "macro_rules! make { ($n:ident, $t:ty) => { #[derive(Debug, Default)] struct $n { first: Tiny, made: $t } } }",
    ],
    // No type depends on these items.
    &[
        "fn other() -> u8 { 1 }",
        "fn other() -> Num { Default::default() }",
    ],
    &[
        "impl Row { fn own(&self) -> usize { N } }",
        "impl Row { fn own(&self) -> usize { N + M } }",
    ],
    // The last item has a separate cell, which is replaced by its next version.
    &["make!(Made, Num);", "make!(Made, [u16; N]);"],
];

/// The types of variables, the expression that creates one, and the expression that reads `v`.
const TYPES: &[(&str, &str, &str)] = &[
    ("Row", "Default::default()", READ),
    ("Buf", "Default::default()", READ),
    (
        "Held<A>",
        "Held::<A>::default_held()",
        "(size_of_val(&v), format!(\"{:?}\", v.v))",
    ),
    ("Store", "Default::default()", READ),
    ("Either", "Default::default()", READ),
    ("Deep", "Default::default()", READ),
    (
        "Vec<Row>",
        "vec![Default::default(), Default::default()]",
        "(size_of_val(&v[..]), format!(\"{v:?}\"))",
    ),
    ("Option<Buf>", "Some(Default::default())", READ),
    (
        "Box<dyn Shape>",
        "Box::new(Row::default())",
        "(0, v.area().to_string())",
    ),
    (
        "Box<Deep>",
        "Default::default()",
        "(size_of_val(&*v), format!(\"{v:?}\"))",
    ),
    ("Made", "Default::default()", READ),
];

/// The expression that reads most variables.
const READ: &str = "(size_of_val(&v), format!(\"{v:?}\"))";

/// Creates a value of a type whose parameter does not implement `Default`.
const HELPERS: &str =
    "impl<T: Size> Held<T> { fn default_held() -> Self { Held { v: Default::default(), n: 0 } } }";

/// Statics, and constants that refer to them.
const STATICS: &str = "use std::sync::atomic::{AtomicUsize, Ordering};
static TICKS: AtomicUsize = AtomicUsize::new(0);
const TICK: &AtomicUsize = &TICKS;
static LIMIT: usize = 3;
const LIMITED: usize = LIMIT + 1;
thread_local! { static HITS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) }; }
static ROWS: std::sync::Mutex<Vec<Row>> = std::sync::Mutex::new(Vec::new());
fn tick() -> (usize, usize, usize, usize, bool) {
    HITS.set(HITS.get() + 1);
    let mut rows = ROWS.lock().unwrap();
    rows.push(Row::default());
    let are_alike = rows.iter().all(|row| format!(\"{row:?}\") == format!(\"{:?}\", Row::default()));
    (TICK.fetch_add(1, Ordering::SeqCst) + 1, HITS.get(), LIMITED, rows.len(), are_alike)
}";

/// A pseudo-random number generator (xorshift) that is reproducible from its seed.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % end as u64).expect("it is below a usize")
    }
}

/// Statistics of a run.
#[derive(Debug, Default)]
struct Tally {
    programs: usize,
    edits: usize,
    kept: usize,
    lost: usize,
    found: usize,
    hidden: usize,
}

fn memory_holds_after_random_edits(engine: Engine, cache: &Path) {
    let number = |name: &str| {
        std::env::var(name)
            .ok()
            .and_then(|text| text.parse::<u64>().ok())
    };
    let is_long = number("AZUREML_TEST_LONG") == Some(1);
    let length = Duration::from_secs(number("AZUREML_TEST_SECONDS").unwrap_or(1800));
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let mut seed = number("AZUREML_TEST_SEED").unwrap_or(now.as_secs()) | 1;
    let begin = Instant::now();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut tally = Tally::default();
    let evaluator = &mut *start(engine, cache);
    loop {
        println!("AZUREML_TEST_SEED={seed}");
        program(
            evaluator,
            folder.path(),
            Random(seed),
            if is_long { 20 } else { 6 },
            &mut tally,
        );
        if !is_long || begin.elapsed() > length {
            break;
        }
        seed += 2;
    }
    println!("{tally:?}");
    assert!(tally.kept > 0, "{tally:?}");
    assert!(!is_long || tally.lost > 0, "{tally:?}");
    assert!(!is_long || tally.found > 0 && tally.hidden > 0, "{tally:?}");
}

fn program(
    evaluator: &mut dyn Evaluator,
    folder: &Path,
    mut random: Random,
    steps: usize,
    tally: &mut Tally,
) {
    tally.programs += 1;
    run(evaluator, ":clear");
    let mut versions = vec![0; ITEMS.len()];
    let (made_by_macro, others) = ITEMS.split_last().expect("there are items");
    let last = others.len();
    let first: Vec<&str> = others.iter().map(|item| item[0]).collect();
    run(evaluator, &format!("{}\n{HELPERS}", first.join("\n")));
    run_as(evaluator, Some("made"), made_by_macro[0]);
    run(evaluator, STATICS);
    let mut truth = whole(folder, &versions);
    let mut hidden: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    let (mut ticks, mut rows) = (0, 0);
    // For each variable: the item versions at its creation, and its expected value.
    let mut made: BTreeMap<usize, (Vec<usize>, String)> = BTreeMap::new();
    for _ in 0..steps {
        for (index, (type_name, make, _)) in TYPES.iter().enumerate() {
            if random.below(2) == 0 {
                run(evaluator, &format!("let v{index}: {type_name} = {make};"));
                made.insert(index, (versions.clone(), truth[index].clone()));
            }
            if TYPES[index].2 == READ && random.below(3) == 0 {
                run(
                    evaluator,
                    &format!(
                        "let a{index}: Box<dyn std::any::Any> = Box::<{type_name}>::new({make});"
                    ),
                );
                hidden.insert(index, versions.clone());
            }
        }
        if random.below(2) == 0 {
            // The next cell uses the items from a compiled library.
            evaluator.warm_up();
        }
        let before = versions.clone();
        let mut edit = BTreeMap::new();
        for _ in 0..=random.below(2) {
            let item = random.below(ITEMS.len());
            versions[item] = random.below(ITEMS[item].len());
            edit.insert(item, ITEMS[item][versions[item]]);
            tally.edits += 1;
        }
        if let Some(call) = edit.remove(&last) {
            run_as(evaluator, Some("made"), call);
        }
        run(
            evaluator,
            &edit.into_values().collect::<Vec<_>>().join("\n"),
        );
        truth = whole(folder, &versions);
        ticks += 1;
        let counted = value(evaluator, "tick()").expect("it counts");
        // The list of rows is reset when the row type changes.
        let expected = |rows| format!("({ticks}, {ticks}, 4, {rows}, true)");
        rows = if counted == expected(rows + 1) {
            rows + 1
        } else {
            1
        };
        assert_eq!(counted, expected(rows), "{}", items(&versions));
        assert!(
            rows > 1 || ticks == 1 || before != versions,
            "the list is another"
        );
        for (index, with) in std::mem::take(&mut hidden) {
            let read = format!(
                "a{index}.downcast_ref::<{}>().map(|v| (size_of_val(v), format!(\"{{v:?}}\")))",
                TYPES[index].0
            );
            let found = value(evaluator, &read).expect("a box of `dyn Any` is kept");
            if found == "None" {
                tally.hidden += 1;
                assert_ne!(with, versions, "{} is not found", TYPES[index].0);
            } else {
                tally.found += 1;
                let expected = format!("Some({})", truth[index]);
                assert_eq!(found, expected, "{}\n{}", TYPES[index].0, items(&versions));
                hidden.insert(index, with);
            }
        }
        for (index, (with, was)) in std::mem::take(&mut made) {
            match value(evaluator, &named(TYPES[index].2, index)) {
                Ok(found) => {
                    tally.kept += 1;
                    // Behind `dyn`, the value is unchanged, whatever its type is now.
                    let expected = if TYPES[index].0.contains("dyn") {
                        &was
                    } else {
                        &truth[index]
                    };
                    assert_eq!(found, *expected, "{}\n{}", TYPES[index].0, items(&versions));
                    made.insert(index, (with, was));
                }
                Err(error) => {
                    tally.lost += 1;
                    assert!(
                        error.contains("E0425") && error.contains("was lost"),
                        "{error}"
                    );
                    assert_ne!(with, versions, "{} was lost", TYPES[index].0);
                }
            }
        }
    }
}

/// Replaces `v` in an expression with the variable's name.
fn named(expression: &str, index: usize) -> String {
    let name = format!("v{index}");
    expression
        .replace("&v)", &format!("&{name})"))
        .replace("&v[", &format!("&{name}["))
        .replace("&*v)", &format!("&*{name})"))
        .replace("{v:?}", &format!("{{{name}:?}}"))
        .replace(", v.", &format!(", {name}."))
}

fn items(versions: &[usize]) -> String {
    let texts = ITEMS
        .iter()
        .zip(versions)
        .map(|(item, version)| item[*version]);
    texts.collect::<Vec<_>>().join("\n")
}

/// Compiles and runs the whole program; returns its output for each type.
fn whole(folder: &Path, versions: &[usize]) -> Vec<String> {
    let reads = TYPES.iter().map(|(type_name, make, read)| {
        format!("{{ let v: {type_name} = {make}; println!(\"{{:?}}\", {read}); }}")
    });
    let program = format!(
        "#![allow(warnings)]\n{}\n{HELPERS}\nfn main() {{\n{}\n}}\n",
        items(versions),
        reads.collect::<Vec<_>>().join("\n")
    );
    let source = folder.join("whole.rs");
    std::fs::write(&source, &program).expect("the folder is ours");
    let binary = folder.join("whole");
    let compiled = Command::new("rustc")
        .args(["--edition", "2024", "-o"])
        .args([&binary, &source])
        .output()
        .expect("there is a compiler");
    let said = String::from_utf8_lossy(&compiled.stderr);
    assert!(compiled.status.success(), "{program}\n{said}");
    let printed = Command::new(&binary).output().expect("it runs").stdout;
    String::from_utf8_lossy(&printed)
        .lines()
        .map(str::to_owned)
        .collect()
}

fn run(evaluator: &mut dyn Evaluator, code: &str) {
    run_as(evaluator, None, code);
}

/// Runs a cell with this id.
fn run_as(evaluator: &mut dyn Evaluator, id: Option<&str>, code: &str) {
    let id = id.map(str::to_owned);
    evaluator.name_cell(CellName { id, count: None });
    if let Err(error) = value(evaluator, code) {
        panic!("{code}\n{error}");
    }
}

fn value(evaluator: &mut dyn Evaluator, code: &str) -> Result<String, String> {
    match evaluator.execute(code, &Recorder::default()) {
        Outcome::Ok(value) => Ok(value
            .and_then(|value| value["text/plain"].as_str().map(str::to_owned))
            .unwrap_or_default()),
        Outcome::Error(error) => Err(format!("{}: {}", error.ename, plain(&error))),
    }
}
