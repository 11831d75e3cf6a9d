//! Checks of cells that end their process.

use std::path::Path;

use azureml_kernel_evaluator::{Evaluator, Outcome};

use crate::support::{
    Check, Engine, OwnCheck, Recorder, error, ok, plain, start, stop_when_ready, value,
};

pub const CHECKS: &[Check] = &[
    (
        "exiting_is_an_error_that_says_so",
        exiting_is_an_error_that_says_so,
    ),
    ("aborting_names_the_signal", aborting_names_the_signal),
    (
        "a_segmentation_fault_names_the_signal",
        a_segmentation_fault_names_the_signal,
    ),
    ("a_stack_overflow_says_so", a_stack_overflow_says_so),
];

/// Runs a cell that ends the process; checks that the kernel continues and keeps its definitions.
fn dies(evaluator: &mut dyn Evaluator, code: &str, how: &str) {
    value(evaluator, "fn defined() -> i32 { 5 } let gone = 1;");
    let (seen, error) = error(
        evaluator,
        &format!("println!(\"last words\"); print!(\"and\"); eprintln!(\"more\");\n{code}"),
    );
    assert_eq!(seen, ["out:last words\nand", "err:more\n"]);
    assert_eq!(error.ename, "ProcessDied");
    assert!(error.evalue.contains(how), "{}", error.evalue);
    assert!(plain(&error).contains("`gone`"), "{}", plain(&error));
    assert_eq!(evaluator.variables(), []);
    assert_eq!(value(evaluator, "defined() + 1"), "6");
}

fn exiting_is_an_error_that_says_so(evaluator: &mut dyn Evaluator) {
    dies(evaluator, "std::process::exit(3)", "exit code 3");
    dies(evaluator, "std::process::exit(0)", "exit code 0");
}

fn aborting_names_the_signal(evaluator: &mut dyn Evaluator) {
    dies(evaluator, "std::process::abort()", "SIGABRT");
}

fn a_segmentation_fault_names_the_signal(evaluator: &mut dyn Evaluator) {
    dies(
        evaluator,
        "unsafe { std::ptr::null_mut::<i32>().with_addr(8).write_volatile(1) }",
        "SIGSEGV",
    );
}

fn a_stack_overflow_says_so(evaluator: &mut dyn Evaluator) {
    value(
        evaluator,
        "fn deeper(n: u64) -> u64 { let page = std::hint::black_box([n; 512]); deeper(page[0] + 1) + page[1] }",
    );
    let (seen, error) = error(evaluator, "deeper(1)");
    assert_eq!(error.ename, "ProcessDied");
    assert!(error.evalue.contains("stack overflow"), "{error:?}");
    assert!(
        seen.iter()
            .any(|shown| shown.contains("overflowed its stack")),
        "{seen:?}"
    );
}

pub const OF_RUSTC: &[OwnCheck] = &[
    (
        "crash_lists_what_is_lost_and_replay_brings_it_back",
        crash_lists_what_is_lost_and_replay_brings_it_back,
    ),
    (
        "waits_for_locks_and_channels_are_killed_and_replayed",
        waits_for_locks_and_channels_are_killed_and_replayed,
    ),
    (
        "interrupt_that_kills_offers_replay",
        interrupt_that_kills_offers_replay,
    ),
    (
        "crash_within_a_panic_names_its_place",
        crash_within_a_panic_names_its_place,
    ),
];

fn crash_lists_what_is_lost_and_replay_brings_it_back(engine: Engine, cache: &Path) {
    let evaluator = &mut *start(engine, cache);
    value(
        evaluator,
        "struct Point { x: i32 } let mut points = vec![Point { x: 1 }];",
    );
    value(evaluator, "points.push(Point { x: 2 }); let unused = 1;");
    ok(evaluator, "println!(\"not run again\");");
    value(
        evaluator,
        "let sum: i32 = points.iter().map(|point| point.x).sum();",
    );
    let (_, error) = error(evaluator, "std::process::abort()");
    assert_eq!(
        plain(&error),
        "ProcessDied: the cell's process was ended by 6 (SIGABRT) (core dumped): it gave up, as on `abort`, on a stack overflow or on a panic within a panic
variables that were lost: `points`, `sum`, `unused`
hint: `:replay` runs the cells again that made them; definitions and dependencies are still there"
            .replace(" (core dumped)", if plain(&error).contains("core dumped") { " (core dumped)" } else { "" })
    );
    assert_eq!(evaluator.variables(), []);
    assert_eq!(
        ok(evaluator, ":replay"),
        (
            Vec::new(),
            Some("ran 3 cells again; there again: `points`, `sum`, `unused`".to_owned())
        )
    );
    assert_eq!(value(evaluator, "sum + points[1].x + unused"), "6");
    assert_eq!(
        value(evaluator, ":replay"),
        "no variables are lost that a cell could make again"
    );
    // Replay also works after a restart, and shows output again.
    value(evaluator, ":restart");
    assert_eq!(
        ok(evaluator, ":replay").0,
        ["display:{\"text/plain\":\"6\"}"]
    );
    assert_eq!(value(evaluator, "points.len()"), "2");
}

fn interrupt_that_kills_offers_replay(engine: Engine, cache: &Path) {
    let evaluator = &mut *start(engine, cache);
    value(evaluator, "let looked_at = vec![7];");
    let recorder = Recorder::default();
    let code = "println!(\"ready\"); loop { std::hint::black_box(&looked_at); }";
    // The second interrupt kills the process at once.
    let outcome = stop_when_ready(evaluator, code, 2, &recorder);
    let Outcome::Error(error) = outcome else {
        panic!("it ends by the button alone");
    };
    assert_eq!(
        plain(&error),
        "Interrupted: the cell was stopped\nvariables that were lost: `looked_at`\n\
         hint: `:replay` runs the cells again that made them; definitions and dependencies are still there"
    );
    value(evaluator, ":replay");
    assert_eq!(value(evaluator, "looked_at"), "[7]");
}

/// Waits for locks and channels cannot be interrupted safely. The process is killed without a
/// second interrupt, and the session remains usable.
fn waits_for_locks_and_channels_are_killed_and_replayed(engine: Engine, cache: &Path) {
    let evaluator = &mut *start(engine, cache);
    value(evaluator, "let mut made = vec![7];");
    value(evaluator, "made.push(8);");
    for wait in [
        "let (_sender, receiver) = std::sync::mpsc::channel::<()>(); receiver.recv().unwrap();",
        "let lock = std::sync::Mutex::new(()); let _held = lock.lock(); std::mem::forget(lock.lock());",
        "let pair = (std::sync::Mutex::new(()), std::sync::Condvar::new()); \
         loop { drop(pair.1.wait(pair.0.lock().unwrap())); }",
        "loop { std::thread::park(); }",
    ] {
        let recorder = Recorder::default();
        let code = format!("let looked_at = made.len(); println!(\"ready\"); {{ {wait} }};");
        let outcome = stop_when_ready(evaluator, &code, 1, &recorder);
        let Outcome::Error(error) = outcome else {
            panic!("`{wait}` ends by the button alone");
        };
        let text = plain(&error);
        assert_eq!(error.ename, "Interrupted", "{text}");
        assert!(
            text.contains("variables that were lost: `made`\nhint: `:replay`"),
            "{wait}\n{text}"
        );
        ok(evaluator, ":replay");
        assert_eq!(value(evaluator, "made"), "[7, 8]", "{wait}");
        assert_eq!(value(evaluator, "made.len() + 1"), "3", "{wait}");
    }
}

fn crash_within_a_panic_names_its_place(engine: Engine, cache: &Path) {
    let evaluator = &mut *start(engine, cache);
    value(evaluator, "let lost = 1;");
    let (_, error) = error(
        evaluator,
        "extern \"C\" fn called() { panic!(\"thrown here\") }\ncalled();",
    );
    let text = plain(&error);
    assert!(error.evalue.contains("SIGABRT"), "{text}");
    assert!(text.contains("variables that were lost: `lost`"), "{text}");
    assert!(text.contains("thrown here"), "{text}");
}
