//! Cells that take their process with them.

use azureml_kernel_evaluator::Evaluator;

use crate::support::{Check, error, plain, value};

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
];

/// Runs a cell that ends the process; checks that the kernel goes on with its definitions.
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
