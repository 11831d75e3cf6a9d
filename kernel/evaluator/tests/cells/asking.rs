//! Checks of completion, inspection, and input requests.

use azureml_kernel_evaluator::{Evaluator, InputAnswer, Outcome};

use crate::support::{Check, Recorder, error, plain, value};

pub const CHECKS: &[Check] = &[
    (
        "completion_counts_code_points",
        completion_counts_code_points,
    ),
    ("commands_are_completed", commands_are_completed),
    (
        "deeply_nested_cells_are_refused",
        deeply_nested_cells_are_refused,
    ),
    (
        "cells_without_an_end_are_compile_errors",
        cells_without_an_end_are_compile_errors,
    ),
    (
        "what_stands_at_the_cursor_is_described",
        what_stands_at_the_cursor_is_described,
    ),
    ("stdin_asks_the_reader", standard_input_asks),
    (
        "evcxr_input_asks_with_its_prompt",
        evcxr_input_asks_with_its_prompt,
    ),
    (
        "without_input_reading_fails_with_words",
        without_input_reading_fails_with_words,
    ),
    (
        "the_end_of_the_input_is_no_error",
        the_end_of_the_input_is_no_error,
    ),
    (
        "a_cancelled_question_fails_without_words",
        a_cancelled_question_fails_without_words,
    ),
];

fn completion_counts_code_points(evaluator: &mut dyn Evaluator) {
    value(evaluator, "let completed = vec![1];");
    // The emoji is one glyph and three code points.
    let code = "let 이름 = \"한🧑‍🔬\"; completed.is_em";
    let cursor = code.chars().count();
    let found = evaluator.complete(code, cursor);
    assert_eq!((found.start, found.end), (cursor - 5, cursor));
    let texts: Vec<_> = found.matches.iter().map(|one| one.text.as_str()).collect();
    assert!(
        texts.iter().any(|text| text.starts_with("is_empty")),
        "{texts:?}"
    );
    assert_eq!(found.matches[0].kind, "function");
}

fn commands_are_completed(evaluator: &mut dyn Evaluator) {
    let found = evaluator.complete(":va", 3);
    assert_eq!((found.start, found.end), (0, 3));
    let texts: Vec<_> = found.matches.iter().map(|one| one.text.as_str()).collect();
    assert_eq!(texts, [":vars"]);
}

fn deeply_nested_cells_are_refused(evaluator: &mut dyn Evaluator) {
    for opening in ["(", "!", "if a {"] {
        let code = opening.repeat(100_000);
        let (_, failed) = error(evaluator, &code);
        assert_eq!(failed.ename, "CompileError");
        assert!(plain(&failed).contains("nested too deeply"), "{failed:?}");
        assert!(evaluator.complete(&code, 5).matches.is_empty());
        assert_eq!(evaluator.inspect(&code, 5), None);
    }
    assert_eq!(value(evaluator, "1 + 1"), "2");
}

fn cells_without_an_end_are_compile_errors(evaluator: &mut dyn Evaluator) {
    for code in ["b\"", "\"한글", "r#\"", "let b = c\"", "fn f() { \""] {
        let (_, failed) = error(evaluator, code);
        assert_eq!(failed.ename, "CompileError", "{code}: {failed:?}");
    }
    assert_eq!(value(evaluator, "1 + 1"), "2");
}

fn what_stands_at_the_cursor_is_described(evaluator: &mut dyn Evaluator) {
    let code = "// 한🧑‍🔬\nlet documented = Vec::<u8>::with_capacity(3);";
    let cursor = code.chars().count() - "capacity(3);".len();
    let found = evaluator.inspect(code, cursor).expect("it is documented");
    let text = found["text/plain"].as_str().expect("plain text is text");
    assert!(text.contains("with_capacity"), "{text}");
    assert!(found.contains_key("text/html"));
    assert_eq!(evaluator.inspect("", 0), None);
}

fn standard_input_asks(evaluator: &mut dyn Evaluator) {
    let recorder = Recorder::answering(&["한글", "second"]);
    let code = r#"
        print!("who? ");
        let mut one = String::new();
        let length = std::io::stdin().read_line(&mut one).unwrap();
        let mut two = String::new();
        std::io::stdin().read_line(&mut two).unwrap();
        println!("{length} {one:?} {two:?}");
    "#;
    let outcome = evaluator.execute(&format!("{{{code}}}"), &recorder);
    assert!(matches!(outcome, Outcome::Ok(None)), "{outcome:?}");
    assert_eq!(
        recorder.seen(),
        [
            "out:who? ",
            "input:",
            "input:",
            "out:7 \"한글\\n\" \"second\\n\"\n"
        ]
    );
}

fn evcxr_input_asks_with_its_prompt(evaluator: &mut dyn Evaluator) {
    // The cell prints the same markers as the crate `evcxr_input`.
    let code = r#"
        for marker in ["EVCXR_INPUT_REQUEST", "EVCXR_INPUT_REQUEST_PASSWORD"] {
            println!("{}:{}", marker, "Name? ");
            let mut line = String::new();
            std::io::stdin().read_line(&mut line).unwrap();
            println!("{}", line.trim());
        }
    "#;
    let recorder = Recorder::answering(&["me", "secret"]);
    let outcome = evaluator.execute(code, &recorder);
    assert!(matches!(outcome, Outcome::Ok(None)), "{outcome:?}");
    assert_eq!(
        recorder.seen(),
        [
            "input:Name? ",
            "out:me\n",
            "input:Name?  (hidden)",
            "out:secret\n"
        ]
    );
}

fn without_input_reading_fails_with_words(evaluator: &mut dyn Evaluator) {
    let recorder = Recorder::default();
    let code = "{ let mut line = String::new(); std::io::stdin().read_line(&mut line).is_err() }";
    let Outcome::Ok(Some(value)) = evaluator.execute(code, &recorder) else {
        panic!("the cell has a value");
    };
    assert_eq!(value["text/plain"], "true");
    assert!(
        recorder.text("err").contains("hint: "),
        "{:?}",
        recorder.seen()
    );
}

fn the_end_of_the_input_is_no_error(evaluator: &mut dyn Evaluator) {
    let answers = [InputAnswer::Line("one".to_owned()), InputAnswer::End];
    let recorder = Recorder::giving(answers.into_iter());
    let code = "std::io::stdin().lines().map(Result::unwrap).collect::<Vec<_>>()";
    let Outcome::Ok(Some(value)) = evaluator.execute(code, &recorder) else {
        panic!("the cell has a value: {:?}", recorder.seen());
    };
    assert_eq!(value["text/plain"], "[\"one\"]");
    assert_eq!(recorder.text("err"), "");
}

fn a_cancelled_question_fails_without_words(evaluator: &mut dyn Evaluator) {
    let recorder = Recorder::giving([InputAnswer::Cancelled].into_iter());
    let code = "{ let mut line = String::new(); std::io::stdin().read_line(&mut line).is_err() }";
    let Outcome::Ok(Some(value)) = evaluator.execute(code, &recorder) else {
        panic!("the cell has a value");
    };
    assert_eq!(value["text/plain"], "true");
    assert_eq!(recorder.text("err"), "");
}
