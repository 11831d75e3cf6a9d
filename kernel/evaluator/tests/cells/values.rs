//! Checks of displayed values, and of variables that persist between cells.

use azureml_kernel_evaluator::Evaluator;
use serde_json::json;

use crate::support::{Check, ok, ok_bundle, value, write};

pub const CHECKS: &[Check] = &[
    (
        "a_last_expression_is_the_value",
        a_last_expression_is_the_value,
    ),
    ("a_type_can_show_itself", a_type_can_show_itself),
    (
        "every_block_of_a_cell_survives",
        every_block_of_a_cell_survives,
    ),
    ("live_display_comes_in_order", live_display_comes_in_order),
    ("variables_have_their_types", variables_have_their_types),
    ("every_value_is_dropped_once", every_value_is_dropped_once),
    (
        "a_type_that_is_defined_again_loses_its_variables_only",
        a_type_that_is_defined_again_loses_its_variables_only,
    ),
    ("commands_of_evcxr_work", commands_of_evcxr_work),
    (
        "a_local_crate_is_a_dependency",
        a_local_crate_is_a_dependency,
    ),
    (
        "clearing_keeps_the_kernel_usable",
        clearing_keeps_the_kernel_usable,
    ),
];

fn a_last_expression_is_the_value(evaluator: &mut dyn Evaluator) {
    assert_eq!(value(evaluator, "1 + 1"), "2");
    assert_eq!(
        value(evaluator, r#"("한글", Some(1.5))"#),
        r#"("한글", Some(1.5))"#
    );
    assert_eq!(value(evaluator, "2;"), "");
    assert_eq!(
        ok(evaluator, r#"print!("first"); vec![1]"#),
        (vec!["out:first".to_owned()], Some("[1]".to_owned()))
    );
}

fn every_value_is_dropped_once(evaluator: &mut dyn Evaluator) {
    let code = r#"
        struct Noisy(u8);
        impl Drop for Noisy { fn drop(&mut self) { println!("dropped {}", self.0); } }
        struct Nothing;
        impl Drop for Nothing { fn drop(&mut self) { println!("dropped nothing"); } }
        #[repr(align(128))] struct Wide(u8);
        let first = Noisy(1);
        let second = Noisy(2);
        let nothing = Nothing;
        let wide = Wide(7);
    "#;
    assert_eq!(ok(evaluator, code).0, [""; 0]);
    assert_eq!(value(evaluator, "(first.0, wide.0)"), "(1, 7)");
    assert_eq!(ok(evaluator, "drop(first);").0, ["out:dropped 1\n"]);
    assert_eq!(
        ok(evaluator, "let second = Noisy(3);").0,
        ["out:dropped 2\n"]
    );
    assert_eq!(
        ok(evaluator, "let nothing = wide.0;").0,
        ["out:dropped nothing\n"]
    );
    assert_eq!(value(evaluator, "(second.0, nothing)"), "(3, 7)");
}

fn a_type_can_show_itself(evaluator: &mut dyn Evaluator) {
    let code = r#"
        struct Shown;
        impl Shown {
            fn evcxr_display(&self) {
                println!("EVCXR_BEGIN_CONTENT text/plain\nplain\nEVCXR_END_CONTENT");
                println!("EVCXR_BEGIN_CONTENT text/html\n<b>\nrich</b>\nEVCXR_END_CONTENT");
            }
        }
        Shown
    "#;
    let (seen, shown) = ok_bundle(evaluator, code);
    assert_eq!(seen, [""; 0]);
    assert_eq!(
        json!(shown),
        json!({"text/plain": "plain", "text/html": "<b>\nrich</b>"})
    );
}

fn every_block_of_a_cell_survives(evaluator: &mut dyn Evaluator) {
    let code = r#"
        println!("before");
        for i in 1..=3 { println!("EVCXR_BEGIN_CONTENT text/html\n<b>{i}</b>\nEVCXR_END_CONTENT"); }
        println!("between");
        println!("EVCXR_BEGIN_CONTENT image/png\niVBORw==\nEVCXR_END_CONTENT");
    "#;
    let (seen, last) = ok_bundle(evaluator, code);
    assert_eq!(
        seen,
        [
            "out:before\n",
            r#"display:{"text/html":"<b>1</b>"}"#,
            r#"display:{"text/html":"<b>2</b>"}"#,
            r#"display:{"text/html":"<b>3</b>"}"#,
            "out:between\n",
        ]
    );
    assert_eq!(json!(last), json!({"image/png": "iVBORw=="}));
}

fn live_display_comes_in_order(evaluator: &mut dyn Evaluator) {
    // The cell acts like the crate `notebook`, and checks that a program it starts does not inherit
    // the descriptor.
    let code = r##"
        use std::io::Write;
        use std::os::fd::FromRawFd;
        let number: i32 = std::env::var("NOTEBOOK_DISPLAY_FD").unwrap().parse().unwrap();
        assert_eq!(std::env::var("NOTEBOOK_DISPLAY_PID").unwrap(), std::process::id().to_string());
        let mut display = std::mem::ManuallyDrop::new(unsafe { std::fs::File::from_raw_fd(number) });
        for step in 0..50 {
            println!("{step}");
            writeln!(display, r#"{{"kind":"update","data":{{"text/plain":"{step}"}},"id":"live"}}"#).unwrap();
        }
        writeln!(display, r#"{{"kind":"clear","wait":true}}"#).unwrap();
        writeln!(display, r#"{{"kind":"result","data":{{"text/plain":"done"}}}}"#).unwrap();
        std::process::Command::new("sh").args(["-c", "test ! -e /proc/self/fd/$NOTEBOOK_DISPLAY_FD"]).status().unwrap().success()
    "##;
    let code = format!("let closed = {{{}}}; assert!(closed);", code.trim());
    let (seen, result) = ok(evaluator, &code);
    let mut expected: Vec<String> = (0..50)
        .flat_map(|step| {
            let update = format!(r#"update:{{"text/plain":"{step}"}}"#);
            [format!("out:{step}\n"), update]
        })
        .collect();
    expected.push("clear:true".to_owned());
    assert_eq!(seen, expected);
    assert_eq!(result.as_deref(), Some("done"));
}

fn variables_have_their_types(evaluator: &mut dyn Evaluator) {
    value(
        evaluator,
        r#"use std::collections::HashMap;
        let typed_map: HashMap<String, Vec<u8>> = HashMap::new();
        let typed_vec = vec![1.5, 2.5];
        let typed_closure: Box<dyn Fn(i32) -> i32> = Box::new(|x| x + 1);
        let (typed_left, typed_right) = ("가".to_string(), Some(3u8));"#,
    );
    let types: Vec<_> = evaluator
        .variables()
        .into_iter()
        .filter(|variable| variable.name.starts_with("typed_"))
        .map(|variable| format!("{}: {}", variable.name, variable.type_name))
        .collect();
    assert_eq!(
        types,
        [
            "typed_closure: Box<dyn Fn(i32) -> i32>",
            "typed_left: String",
            "typed_map: HashMap<String, Vec<u8>>",
            "typed_right: Option<u8>",
            "typed_vec: Vec<f64>",
        ]
    );
    assert_eq!(
        value(evaluator, "typed_closure(typed_vec.len() as i32)"),
        "3"
    );
}

fn a_type_that_is_defined_again_loses_its_variables_only(evaluator: &mut dyn Evaluator) {
    value(
        evaluator,
        "struct Twice { a: i32 } let twice = Twice { a: 1 }; let stays = 5;",
    );
    let (seen, _) = ok(
        evaluator,
        "struct Twice { a: i32, b: i32 } println!(\"defined\");",
    );
    // After this text, the kernel's own engine adds the list of changes.
    assert!(
        seen[0].starts_with("err:The type of the variable twice was redefined, so was lost."),
        "{seen:?}"
    );
    assert_eq!(seen[1..], ["out:defined\n"]);
    assert_eq!(value(evaluator, "stays"), "5");
    assert!(
        evaluator
            .variables()
            .iter()
            .all(|variable| variable.name != "twice")
    );
}

fn commands_of_evcxr_work(evaluator: &mut dyn Evaluator) {
    value(evaluator, "let listed = 1u64;");
    let (_, answer) = ok_bundle(evaluator, ":vars");
    let answer = answer.expect("`:vars` answers");
    assert!(
        answer["text/plain"]
            .as_str()
            .is_some_and(|text| text.contains("listed: u64"))
    );
    assert!(
        answer["text/html"]
            .as_str()
            .is_some_and(|text| text.contains("<td>listed</td>"))
    );
    let (seen, both) = ok(evaluator, ":vars\nlisted + 1");
    assert!(seen[0].contains("listed: u64"), "{seen:?}");
    assert_eq!(both.as_deref(), Some("2"));
    assert_eq!(value(evaluator, ":opt 1"), "Optimization: 1");
    assert_eq!(value(evaluator, ":opt 0"), "Optimization: 0");
    assert_eq!(value(evaluator, "!echo from the shell"), "from the shell");
}

fn a_local_crate_is_a_dependency(evaluator: &mut dyn Evaluator) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let write = |name: &str, text: &str| write(folder.path(), name, text);
    write(
        "Cargo.toml",
        "[package]\nname = \"near-by\"\nversion = \"1.0.0\"\nedition = \"2024\"\n",
    );
    write(
        "src/lib.rs",
        "pub struct Near(pub i32);\npub fn answer() -> Near { Near(42) }\n",
    );
    let path = folder.path().display();
    // The build output of cargo may be shown.
    ok(
        evaluator,
        &format!(":dep near-by = {{ path = \"{path}\" }}\nlet near = near_by::answer();"),
    );
    assert_eq!(value(evaluator, "near.0"), "42");
    let variables = evaluator.variables();
    let near = variables
        .iter()
        .find(|variable| variable.name == "near")
        .expect("it lives on");
    assert_eq!(near.type_name, "near_by::Near");
    // The crate's folder is deleted at the end of this check, so the dependency must be removed.
    value(evaluator, ":clear");
}

fn clearing_keeps_the_kernel_usable(evaluator: &mut dyn Evaluator) {
    value(evaluator, "let cleared = 1;");
    value(evaluator, ":clear");
    assert_eq!(evaluator.variables(), []);
    assert_eq!(value(evaluator, "1 + 1"), "2");
}
