//! The stop button.

use std::time::{Duration, Instant};

use azureml_kernel_evaluator::{CellError, Evaluator, Outcome};

use crate::support::{Check, Recorder, plain, value, write};

pub const CHECKS: &[Check] = &[
    ("a_loop_is_stopped", a_loop_is_stopped),
    (
        "a_program_that_the_cell_started_is_stopped",
        a_program_that_the_cell_started_is_stopped,
    ),
    (
        "user_code_that_listens_stops_by_itself",
        user_code_that_listens_stops_by_itself,
    ),
    ("a_compile_is_stopped", a_compile_is_stopped),
    (
        "stopping_nothing_changes_nothing",
        stopping_nothing_changes_nothing,
    ),
];

/// Runs a cell and presses the button when it has shown `ready`.
fn stopped(evaluator: &mut dyn Evaluator, code: &str) -> Outcome {
    let recorder = Recorder::default();
    let interrupt = evaluator.interrupter();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            recorder.wait_for("ready");
            interrupt();
        });
        evaluator.execute(code, &recorder)
    })
}

fn interrupted(outcome: Outcome) -> CellError {
    match outcome {
        Outcome::Error(error) if error.ename == "Interrupted" => error,
        other => panic!("not interrupted: {other:?}"),
    }
}

fn a_loop_is_stopped(evaluator: &mut dyn Evaluator) {
    value(evaluator, "let before_the_loop = 1;");
    let error = interrupted(stopped(
        evaluator,
        "println!(\"ready\"); loop { std::hint::spin_loop(); }",
    ));
    assert!(
        plain(&error).contains("`before_the_loop`"),
        "{}",
        plain(&error)
    );
    assert_eq!(value(evaluator, "1 + 1"), "2");
}

fn a_program_that_the_cell_started_is_stopped(evaluator: &mut dyn Evaluator) {
    let code = "println!(\"ready\"); std::process::Command::new(\"sleep\").arg(\"1000\").status().unwrap();";
    interrupted(stopped(evaluator, code));
    assert_eq!(value(evaluator, "1 + 1"), "2");
}

fn user_code_that_listens_stops_by_itself(evaluator: &mut dyn Evaluator) {
    value(evaluator, "let kept_when_listening = 3;");
    let code = r#"
        static STOP: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);
        extern "C" fn on_stop(_: i32) { STOP.store(true, std::sync::atomic::Ordering::SeqCst); }
        unsafe extern "C" { fn signal(number: i32, handler: extern "C" fn(i32)) -> usize; }
        unsafe { signal(2, on_stop); }
        println!("ready");
        while !STOP.load(std::sync::atomic::Ordering::SeqCst) { std::thread::yield_now(); }
    "#;
    let outcome = stopped(evaluator, code);
    assert!(matches!(outcome, Outcome::Ok(None)), "{outcome:?}");
    assert_eq!(value(evaluator, "kept_when_listening"), "3");
}

fn a_compile_is_stopped(evaluator: &mut dyn Evaluator) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let started = folder.path().join("started");
    let write = |name: &str, text: &str| write(folder.path(), name, text);
    write(
        "Cargo.toml",
        "[package]\nname = \"endless\"\nversion = \"1.0.0\"\nedition = \"2024\"\n",
    );
    write("src/lib.rs", "");
    // A build that never ends, and says that it has begun.
    write(
        "build.rs",
        &format!(
            "fn main() {{ std::fs::write(\"{}\", \"\").unwrap(); loop {{ std::thread::park(); }} }}",
            started.display()
        ),
    );
    let code = format!(
        ":dep endless = {{ path = \"{}\" }}\nprintln!(\"not reached\");",
        folder.path().display()
    );
    let recorder = Recorder::default();
    let interrupt = evaluator.interrupter();
    let outcome = std::thread::scope(|scope| {
        scope.spawn(|| {
            let begin = Instant::now();
            while !started.exists() && begin.elapsed() < Duration::from_mins(1) {
                std::thread::yield_now();
            }
            // Also when it did not start: the cell ends then, and the check fails.
            interrupt();
            assert!(started.exists(), "the build did not start");
        });
        evaluator.execute(&code, &recorder)
    });
    interrupted(outcome);
    assert_eq!(recorder.text("out"), "");
    assert_eq!(value(evaluator, "1 + 1"), "2");
}

fn stopping_nothing_changes_nothing(evaluator: &mut dyn Evaluator) {
    value(evaluator, "let idle = 4;");
    evaluator.interrupter()();
    assert_eq!(value(evaluator, "idle"), "4");
}
