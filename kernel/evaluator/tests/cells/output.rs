//! Checks of the output of cells: complete, in order, and without the evaluator's own messages.

use std::path::Path;
use std::sync::{Arc, mpsc};

use azureml_kernel_evaluator::{CellName, Evaluator, Event, LateEvents, Outcome};

use crate::support::{Check, Engine, OwnCheck, Recorder, ok, start, value};

pub const OF_RUSTC: &[OwnCheck] = &[(
    "threads_write_below_their_cell_when_none_runs",
    threads_write_below_their_cell_when_none_runs,
)];

pub const CHECKS: &[Check] = &[
    ("streams_keep_their_order", streams_keep_their_order),
    ("partial_lines_come_at_once", part_of_a_line_comes_at_once),
    (
        "part_of_a_line_stays_in_its_cell",
        part_of_a_line_stays_in_its_cell,
    ),
    (
        "words_of_the_protocol_disturb_nothing",
        words_of_the_protocol_disturb_nothing,
    ),
    (
        "bytes_that_are_no_utf8_disturb_nothing",
        bytes_that_are_no_utf8_disturb_nothing,
    ),
    ("large_output_is_whole", large_output_is_whole),
    (
        "started_programs_write_in_order",
        started_programs_write_in_order,
    ),
    (
        "a_redirected_stream_goes_where_it_is_sent",
        a_redirected_stream_goes_where_it_is_sent,
    ),
    ("threads_write_too", threads_write_too),
];

fn streams_keep_their_order(evaluator: &mut dyn Evaluator) {
    let (seen, _) = ok(
        evaluator,
        r#"for i in 0..300 { println!("line {i}"); eprintln!("error {i}"); print!("part {i},"); eprint!("{}", i); }"#,
    );
    let mut expected = Vec::new();
    for i in 0..300 {
        let before = if i == 0 {
            String::new()
        } else {
            format!("part {},", i - 1)
        };
        if i == 0 {
            expected.push(format!("out:line {i}\n"));
        } else {
            // Text of the previous iteration is followed by its number on the other stream.
            expected.push(format!("out:{before}"));
            expected.push(format!("err:{}", i - 1));
            expected.push(format!("out:line {i}\n"));
        }
        expected.push(format!("err:error {i}\n"));
    }
    expected.push("out:part 299,".to_owned());
    expected.push("err:299".to_owned());
    assert_eq!(seen, expected);
}

fn part_of_a_line_comes_at_once(evaluator: &mut dyn Evaluator) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let go = folder.path().join("go").display().to_string();
    let code = format!(
        "print!(\"half of\"); while !std::path::Path::new(\"{go}\").exists() {{ std::thread::yield_now(); }} println!(\" a line\");"
    );
    let recorder = Recorder::default();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            recorder.wait_for("half of");
            std::fs::write(&go, "").expect("the folder is ours");
        });
        assert!(matches!(
            evaluator.execute(&code, &recorder),
            Outcome::Ok(None)
        ));
    });
    assert_eq!(recorder.seen(), ["out:half of a line\n"]);
}

fn part_of_a_line_stays_in_its_cell(evaluator: &mut dyn Evaluator) {
    assert_eq!(ok(evaluator, r#"print!("no end")"#).0, ["out:no end"]);
    assert_eq!(ok(evaluator, r#"println!("next")"#).0, ["out:next\n"]);
}

fn words_of_the_protocol_disturb_nothing(evaluator: &mut dyn Evaluator) {
    let words = [
        "EVCXR_EXECUTION_COMPLETE",
        "EVCXR_PANIC_NOTIFICATION",
        "EVCXR_ERROR_OCCURRED",
        "EVCXR_VARIABLE_CHANGED_TYPE:kept",
        "EVCXR_END_CONTENT",
        "LOAD_AND_RUN a b",
    ];
    value(evaluator, "let kept = 7;");
    let code = format!(
        "for word in {words:?} {{ println!(\"{{word}}\"); eprintln!(\"{{word}}\"); }} println!(\"end\"); let new = 8;"
    );
    let (seen, _) = ok(evaluator, &code);
    let mut expected: Vec<String> = words
        .iter()
        .flat_map(|word| [format!("out:{word}\n"), format!("err:{word}\n")])
        .collect();
    expected.push("out:end\n".to_owned());
    assert_eq!(seen, expected);
    assert_eq!(value(evaluator, "kept + new"), "15");
    assert_eq!(ok(evaluator, r#"println!("mine")"#).0, ["out:mine\n"]);
}

fn bytes_that_are_no_utf8_disturb_nothing(evaluator: &mut dyn Evaluator) {
    let code = r#"{
        use std::io::Write;
        let mut out = std::io::stdout();
        out.write_all(b"a\xff\xfeb\n").unwrap();
        for byte in "한글🧑‍🔬\n".as_bytes() { out.write_all(&[*byte]).unwrap(); out.flush().unwrap(); }
    }"#;
    assert_eq!(ok(evaluator, code).0, ["out:a\u{fffd}\u{fffd}b\n한글🧑‍🔬\n"]);
    assert_eq!(
        ok(evaluator, r#"println!("mine"); 3"#),
        (vec!["out:mine\n".to_owned()], Some("3".to_owned()))
    );
}

fn large_output_is_whole(evaluator: &mut dyn Evaluator) {
    let (seen, _) = ok(
        evaluator,
        r#"print!("{}", "가".repeat(400_000)); for i in 0..20_000 { println!("{i}"); }"#,
    );
    let numbers = lines(20_000, |i| format!("{i}\n"));
    assert_eq!(seen.len(), 1);
    assert!(
        seen[0] == format!("out:{}{numbers}", "가".repeat(400_000)),
        "output was lost or mixed up"
    );
}

fn started_programs_write_in_order(evaluator: &mut dyn Evaluator) {
    let code = r#"
        for i in 0..20 {
            println!("before {i}");
            std::process::Command::new("sh").args(["-c", "echo program"]).status().unwrap();
            println!("after {i}");
        }
        std::process::Command::new("sh").args(["-c", "cat; echo to stderr > /dev/stderr"]).status().unwrap();
    "#;
    let out = lines(20, |i| format!("before {i}\nprogram\nafter {i}\n"));
    assert_eq!(
        ok(evaluator, code).0,
        [format!("out:{out}"), "err:to stderr\n".to_owned()]
    );
}

fn a_redirected_stream_goes_where_it_is_sent(evaluator: &mut dyn Evaluator) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("out.txt").display().to_string();
    let code = format!(
        r#"{{
        use std::io::Write;
        use std::os::fd::AsRawFd;
        unsafe extern "C" {{ fn dup(fd: i32) -> i32; fn dup2(from: i32, to: i32) -> i32; fn close(fd: i32) -> i32; }}
        let file = std::fs::File::create("{path}").unwrap();
        let kept = unsafe {{ dup(1) }};
        unsafe {{ dup2(file.as_raw_fd(), 1) }};
        println!("to the file");
        std::io::stdout().flush().unwrap();
        unsafe {{ dup2(kept, 1); close(kept); }}
        println!("to the notebook");
    }}"#
    );
    assert_eq!(ok(evaluator, &code).0, ["out:to the notebook\n"]);
    assert_eq!(
        std::fs::read_to_string(&path).expect("the cell wrote it"),
        "to the file\n"
    );
}

fn threads_write_too(evaluator: &mut dyn Evaluator) {
    let code = r#"
        let workers: Vec<_> = (0..4).map(|_| std::thread::spawn(|| for _ in 0..100 { println!("out"); eprintln!("err"); })).collect();
        for worker in workers { worker.join().unwrap(); }
    "#;
    let recorder = Recorder::default();
    assert!(matches!(
        evaluator.execute(&format!("{{{code}}}"), &recorder),
        Outcome::Ok(None)
    ));
    assert_eq!(recorder.text("out"), "out\n".repeat(400));
    assert_eq!(recorder.text("err"), "err\n".repeat(400));
}

/// Forwards events that arrive between cells.
#[derive(Debug)]
struct Late(mpsc::Sender<(Option<u32>, String)>);

impl LateEvents for Late {
    fn emit(&self, cell: Option<u32>, event: Event) {
        if let Event::Stdout(text) = event {
            self.0.send((cell, text)).expect("the check listens");
        }
    }
}

fn threads_write_below_their_cell_when_none_runs(engine: Engine, cache: &Path) {
    let evaluator = &mut *start(engine, cache);
    let (sender, late) = mpsc::channel();
    evaluator.show_late(Arc::new(Late(sender)));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let go = |name: &str| folder.path().join(name).display().to_string();
    let mut run = |count: u32, code: &str| {
        let count = Some(count);
        evaluator.name_cell(CellName { id: None, count });
        ok(evaluator, code).0
    };
    // The first cell starts a thread, which starts another thread that prints text without a
    // newline.
    let first = format!(
        "std::thread::spawn(|| {{ while !std::path::Path::new(\"{0}\").exists() {{ std::thread::yield_now(); }} println!(\"one\"); std::thread::spawn(|| print!(\"part\")).join() }});",
        go("one")
    );
    let second = format!(
        "std::thread::spawn(|| {{ while !std::path::Path::new(\"{0}\").exists() {{ std::thread::yield_now(); }} println!(\"two\") }});",
        go("two")
    );
    run(1, &first);
    run(2, &second);
    assert_eq!(run(3, "println!(\"mine\")"), ["out:mine\n"]);
    for (file, cell, expected) in [("two", 2, "two\n"), ("one", 1, "one\npart")] {
        std::fs::write(go(file), "").expect("the folder is ours");
        let mut text = String::new();
        while text.len() < expected.len() {
            let (of, part) = late.recv().expect("the evaluator lives");
            assert!(of == Some(cell) || part == "part", "{of:?}: {part}");
            text += &part;
        }
        assert_eq!(text, expected);
    }
    assert_eq!(run(4, "let quiet = 1;"), [""; 0]);
}

fn lines(count: usize, line: impl Fn(usize) -> String) -> String {
    (0..count).map(line).collect::<Vec<_>>().concat()
}
