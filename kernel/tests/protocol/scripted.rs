//! A scripted evaluator whose language has one command per line.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex};

use azureml_kernel_evaluator::{
    Analyst, CellError, CellName, Completion, Completions, Evaluator, Event, Events, InputAnswer,
    Interrupter, LateEvents, MimeBundle, Outcome, Variable,
};
use serde_json::json;

/// Blocks waiting threads until it is opened; an interrupt ends one wait.
#[derive(Default)]
pub struct Gate {
    state: Mutex<GateState>,
    changed: Condvar,
}

#[derive(Default)]
struct GateState {
    open: bool,
    waiting: bool,
    interrupted: bool,
}

impl Gate {
    /// Opens the gate for all waiting threads.
    pub fn open(&self) {
        self.state.lock().expect("no panic").open = true;
        self.changed.notify_all();
    }

    /// Waits until the gate is open; returns false if interrupted.
    pub fn pass(&self) -> bool {
        let mut state = self.state.lock().expect("no panic");
        state.waiting = true;
        state = self
            .changed
            .wait_while(state, |state| !state.open && !state.interrupted)
            .expect("no panic");
        state.waiting = false;
        !std::mem::take(&mut state.interrupted)
    }

    fn interrupt(&self) {
        let mut state = self.state.lock().expect("no panic");
        state.interrupted = state.waiting;
        self.changed.notify_all();
    }
}

/// The scripted evaluator.
#[derive(Default)]
pub struct Scripted {
    pub gate: Arc<Gate>,
    /// The name of the cell.
    pub name: CellName,
    /// Takes what comes between cells.
    late: Option<Arc<dyn LateEvents>>,
}

impl Scripted {
    pub fn new(gate: Arc<Gate>) -> Self {
        Self {
            gate,
            ..Self::default()
        }
    }
}

fn text(value: &str) -> MimeBundle {
    MimeBundle::from([("text/plain".to_owned(), json!(value))])
}

fn error(ename: &str, evalue: &str) -> Outcome {
    Outcome::Error(CellError {
        ename: ename.to_owned(),
        evalue: evalue.to_owned(),
        traceback: vec![format!("{ename}: {evalue}")],
    })
}

impl Evaluator for Scripted {
    fn name_cell(&mut self, name: CellName) {
        self.name = name;
    }

    fn show_late(&mut self, late: Arc<dyn LateEvents>) {
        self.late = Some(late);
    }

    fn execute(&mut self, code: &str, events: &dyn Events) -> Outcome {
        for line in code.lines() {
            let (command, rest) = line.split_once(' ').unwrap_or((line, ""));
            match command {
                "print" => events.emit(Event::Stdout(format!("{rest}\n"))),
                "eprint" => events.emit(Event::Stderr(format!("{rest}\n"))),
                "lines" => {
                    for number in 0..rest.parse::<u32>().expect("a number") {
                        events.emit(Event::Stdout(format!("line {number}\n")));
                    }
                }
                "display" => events.emit(Event::Display {
                    data: text(rest),
                    id: Some("id".to_owned()),
                }),
                "update" => events.emit(Event::UpdateDisplay {
                    data: text(rest),
                    id: "id".to_owned(),
                }),
                "clear" => events.emit(Event::ClearOutput { wait: true }),
                "ask" => {
                    let (reply, answer) = std::sync::mpsc::channel();
                    events.emit(Event::Input {
                        prompt: rest.to_owned(),
                        password: false,
                        reply,
                    });
                    let answer = match answer.recv() {
                        Ok(InputAnswer::Line(line)) => line,
                        other => format!("{other:?}"),
                    };
                    events.emit(Event::Stdout(format!("{answer}\n")));
                }
                "wait" => {
                    if !self.gate.pass() {
                        return error("Interrupted", "the cell was interrupted");
                    }
                }
                "name" => return Outcome::Ok(Some(text(&format!("{:?}", self.name)))),
                // A thread of this cell prints when the cell is over.
                "later" => {
                    let late = self.late.clone().expect("the kernel takes it");
                    let (gate, cell) = (self.gate.clone(), self.name.count);
                    let text = format!("{rest}\n");
                    std::thread::spawn(move || {
                        gate.pass();
                        late.emit(cell, Event::Stdout(text));
                    });
                }
                "value" => return Outcome::Ok(Some(text(rest))),
                "fail" => return error("Panic", rest),
                "panic" => panic!("{rest}"),
                _ => return error("CompileError", "no such command"),
            }
        }
        Outcome::Ok(None)
    }

    fn values(&mut self, names: &[&str], limit: usize) -> BTreeMap<String, String> {
        let text: String = "value <1>".chars().take(limit).collect();
        names
            .iter()
            .map(|name| ((*name).to_owned(), text.clone()))
            .collect()
    }

    fn analyst(&self) -> Arc<dyn Analyst> {
        Arc::new(Scripted::new(self.gate.clone()))
    }

    fn interrupter(&self) -> Interrupter {
        let gate = self.gate.clone();
        Arc::new(move || gate.interrupt())
    }
}

impl Analyst for Scripted {
    fn complete(&self, code: &str, cursor: usize) -> Completions {
        // Returns the code before the cursor, which shows how cursor positions are counted.
        let before: String = code.chars().take(cursor).collect();
        Completions {
            matches: vec![Completion {
                text: format!("{before}!"),
                kind: "function".to_owned(),
                signature: "fn()".to_owned(),
            }],
            start: 0,
            end: cursor,
        }
    }

    fn inspect(&self, code: &str, cursor: usize) -> Option<MimeBundle> {
        let at = code.chars().nth(cursor)?;
        Some(text(&at.to_string()))
    }

    fn variables(&self) -> Vec<Variable> {
        vec![Variable {
            name: "x".to_owned(),
            type_name: "Vec<u8>".to_owned(),
        }]
    }
}
