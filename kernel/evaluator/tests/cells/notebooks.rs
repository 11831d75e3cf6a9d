//! Runs tables of short notebooks, each at both paces: all cells at once, and with the evaluator's
//! idle work done between cells.

use std::path::Path;

use azureml_kernel_evaluator::{CellName, Evaluator, Outcome};

use crate::support::{Engine, Recorder, plain, start, write};

/// The expected result of a cell.
pub enum Then {
    /// The cell succeeds.
    Runs,
    /// The cell has this value.
    Is(&'static str),
    /// The cell prints this text and has no value.
    Prints(&'static str),
    /// The cell has this value and prints this text.
    Gives(&'static str, &'static str),
    /// The cell succeeds and shows a text that contains this one, as output or as a warning.
    Shows(&'static str),
    /// The cell fails, and the user sees these texts.
    Fails(&'static [&'static str]),
    /// The cell ends its process, with this text.
    Dies(&'static str),
}

use Then::{Dies, Fails, Gives, Is, Prints, Runs, Shows};

/// A notebook: its title and its cells.
///
/// If a cell begins with `@name` and a newline, it has this id. A cell that begins with
/// `#file name` writes a file to the folder that replaces `$FOLDER`.
pub type Notebook<'a> = (&'a str, &'a [(&'a str, Then)]);

/// Internal names that must not be visible to the user.
const INTERNAL: [&str; 7] = [
    "__azk",
    "cell_runtime",
    "fn cell",
    "*mut ",
    "run_cell",
    "ByDebug",
    "cell_",
];

/// The pace of the cells.
#[derive(Debug, Clone, Copy)]
enum Pace {
    /// Without a pause, as in `Run All`.
    AtOnce,
    /// After the evaluator has finished its idle work.
    Settled,
}

/// Runs the notebooks at both paces in parallel.
pub fn run(engine: Engine, cache: &Path, notebooks: &[Notebook<'_>]) {
    let run_at = |pace| run_at(pace, engine, cache, notebooks);
    let wrong = std::thread::scope(|scope| {
        let settled = scope.spawn(|| run_at(Pace::Settled));
        let mut wrong = run_at(Pace::AtOnce);
        wrong.extend(settled.join().expect("no check panics here"));
        wrong
    });
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

fn run_at(pace: Pace, engine: Engine, cache: &Path, notebooks: &[Notebook<'_>]) -> Vec<String> {
    let evaluator = &mut *start(engine, cache);
    let mut wrong = Vec::new();
    for (title, cells) in notebooks {
        clear(evaluator);
        let folder = tempfile::tempdir().expect("a temporary folder");
        for (number, (code, then)) in (1..).zip(*cells) {
            let code = code.replace("$FOLDER", &folder.path().display().to_string());
            if let Some((name, text)) = code
                .strip_prefix("#file ")
                .and_then(|file| file.split_once('\n'))
            {
                write(folder.path(), name, text);
                continue;
            }
            if let Err(words) = judge(execute_as(evaluator, &code, Some(number)), then) {
                wrong.push(format!("{title}, {pace:?}, cell {number}: {words}"));
                break;
            }
            if let Pace::Settled = pace {
                evaluator.warm_up();
            }
        }
    }
    wrong
}

/// Clears the session.
pub fn clear(evaluator: &mut dyn Evaluator) {
    execute(evaluator, ":clear").1.expect("it is cleared");
}

/// Runs a cell; returns its output, and its value or error as text.
pub fn execute(evaluator: &mut dyn Evaluator, code: &str) -> (String, Result<String, String>) {
    let (seen, outcome) = execute_as(evaluator, code, None);
    (seen.concat(), outcome)
}

/// Runs a cell with this execution count. The output has one entry for each stream and display.
fn execute_as(
    evaluator: &mut dyn Evaluator,
    code: &str,
    count: Option<u32>,
) -> (Vec<String>, Result<String, String>) {
    let (id, code) = match code
        .strip_prefix('@')
        .and_then(|rest| rest.split_once('\n'))
    {
        Some((id, code)) => (Some(id.to_owned()), code),
        None => (None, code),
    };
    evaluator.name_cell(CellName { id, count });
    let recorder = Recorder::default();
    let outcome = match evaluator.execute(code, &recorder) {
        Outcome::Ok(value) => {
            let text = value.and_then(|value| value["text/plain"].as_str().map(str::to_owned));
            Ok(text.unwrap_or_default())
        }
        Outcome::Error(error) => Err(format!("{}: {}", error.ename, plain(&error))),
    };
    (recorder.seen(), outcome)
}

fn judge(
    (seen, outcome): (Vec<String>, Result<String, String>),
    then: &Then,
) -> Result<(), String> {
    let all = seen.concat();
    let printed: String = seen
        .iter()
        .filter_map(|entry| entry.strip_prefix("out:"))
        .collect();
    let error = outcome.as_ref().err().map_or("", String::as_str);
    let internal = INTERNAL
        .iter()
        .find(|word| all.contains(*word) || error.contains(*word));
    let fits = match (then, &outcome) {
        (Runs, Ok(_)) => true,
        (Is(value), Ok(found)) => found == value,
        (Prints(words), Ok(value)) => printed == *words && value.is_empty(),
        (Gives(value, words), Ok(found)) => printed == *words && found == value,
        (Shows(words), Ok(_)) => all.contains(words),
        (Fails(words), Err(error)) => {
            !error.starts_with("ProcessDied") && words.iter().all(|word| error.contains(word))
        }
        (Dies(words), Err(error)) => error.starts_with("ProcessDied") && error.contains(words),
        _ => false,
    };
    match internal {
        Some(word) => Err(format!("`{word}` in: {all}{error}")),
        None if fits => Ok(()),
        None => Err(format!("{outcome:?}\nshown: {all}")),
    }
}
