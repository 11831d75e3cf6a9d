//! Checks of interrupts.

use std::time::{Duration, Instant};

use azureml_kernel_evaluator::{CellError, Evaluator, Outcome};

use crate::support::{Check, Recorder, plain, stop_when_ready, value, write};

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
    (
        "interrupt_keeps_variables_in_a_sleep",
        interrupt_keeps_variables_in_a_sleep,
    ),
    (
        "interrupt_keeps_variables_in_a_printing_loop",
        interrupt_keeps_variables_in_a_printing_loop,
    ),
    (
        "interrupt_keeps_variables_in_waits",
        interrupt_keeps_variables_in_waits,
    ),
    ("interrupt_spares_a_drop", interrupt_spares_a_drop),
    ("a_compile_is_stopped", a_compile_is_stopped),
    (
        "stopping_nothing_changes_nothing",
        stopping_nothing_changes_nothing,
    ),
];

/// Runs a cell and interrupts it after it has printed `ready`.
fn stopped(evaluator: &mut dyn Evaluator, code: &str) -> Outcome {
    stop_when_ready(evaluator, code, 1, &Recorder::default())
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
    value(evaluator, "let kept_beside_a_program = 6;");
    interrupted(stopped(evaluator, code));
    assert_eq!(value(evaluator, "kept_beside_a_program"), "6");
}

/// Interrupts a cell that uses an earlier variable. Checks that the variable is kept and that the
/// error contains nothing else.
fn stays(evaluator: &mut dyn Evaluator, code: &str) {
    value(evaluator, "let stays = vec![String::from(\"stays\")];");
    let begin = Instant::now();
    let error = interrupted(stopped(
        evaluator,
        &format!("let never = stays.len(); println!(\"ready\"); {code}"),
    ));
    assert!(
        begin.elapsed() < Duration::from_secs(3) + COMPILING,
        "it was killed after all"
    );
    assert_eq!(
        plain(&error),
        "Interrupted: the cell was stopped\nvariables are still there",
        "{code}"
    );
    assert_eq!(value(evaluator, "stays"), "[\"stays\"]", "{code}");
    assert!(
        evaluator.variables().iter().all(|one| one.name != "never"),
        "{code}"
    );
}

/// Upper bound of the compile time of a cell on a busy machine.
const COMPILING: Duration = Duration::from_secs(30);

fn interrupt_keeps_variables_in_a_sleep(evaluator: &mut dyn Evaluator) {
    stays(
        evaluator,
        "std::thread::sleep(std::time::Duration::from_secs(1000));",
    );
    // The cell repeatedly starts a new short sleep.
    stays(
        evaluator,
        "loop { std::thread::sleep(std::time::Duration::from_micros(10)); }",
    );
}

fn interrupt_keeps_variables_in_a_printing_loop(evaluator: &mut dyn Evaluator) {
    stays(evaluator, "for line in 0.. { println!(\"{line}\"); }");
    stays(evaluator, "for line in 0.. { eprintln!(\"{line}\"); }");
}

fn interrupt_keeps_variables_in_waits(evaluator: &mut dyn Evaluator) {
    for code in [
        "std::thread::spawn(|| loop { std::thread::park(); }).join().unwrap();",
        "std::net::TcpListener::bind(\"127.0.0.1:0\").unwrap().accept().unwrap();",
        "let listener = std::net::TcpListener::bind(\"127.0.0.1:0\").unwrap(); \
         let mut stream = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap(); \
         std::io::Read::read(&mut stream, &mut [0]).unwrap();",
        "std::process::Command::new(\"sleep\").arg(\"1000\").output().unwrap();",
    ] {
        stays(evaluator, code);
    }
}

fn interrupt_spares_a_drop(evaluator: &mut dyn Evaluator) {
    value(
        evaluator,
        "struct Last; impl Drop for Last { fn drop(&mut self) { println!(\"cleaned up\"); } } let spared = 1;",
    );
    let recorder = Recorder::default();
    let code = "let last = Last; println!(\"ready\"); std::thread::sleep(std::time::Duration::from_secs(1000)); drop(last);";
    let outcome = stop_when_ready(evaluator, code, 1, &recorder);
    interrupted(outcome);
    assert_eq!(recorder.seen(), ["out:ready\ncleaned up\n"]);
    assert_eq!(value(evaluator, "spared"), "1");
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
    // The build script creates a file and never ends.
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
            // Interrupts even if the build did not start: the cell then ends, and the check fails.
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
