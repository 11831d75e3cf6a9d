//! Builds one program from the cells of a session: items at the top, statements in `main`, tests in
//! a module.
//!
//! Two properties are known only to the compiler and are derived from its errors: whether a value
//! is shown with `Debug` or with a method of its type, and whether every `?` converts to a standard
//! error.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::cell::{Cell, What, mentions};
use super::diagnostics::Message;
use super::export::Error;
use super::history::{History, Ran};
use super::plan::Format;
use super::session::{Definition, Session};
use super::source::{Origin, Source};
use super::testing;
use crate::compatibility::DISPLAY_METHOD;

/// Commands that leave no other trace in the program and may matter to its users.
const NOTED: [&str; 4] = [":build_env", ":clear", ":env", ":opt"];

/// Expressions that are statements without a semicolon.
const BLOCKS: [&str; 7] = ["for", "while", "loop", "if", "match", "unsafe", "{"];

/// The error type of `main` if some errors do not implement `std::error::Error`.
const OWN_ERROR: &str = "
/// What `?` makes of an error: its text.
struct NAME(String);

impl<E: std::fmt::Display> From<E> for NAME {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

impl std::fmt::Debug for NAME {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}
";

/// The helper crate that displays values.
const DISPLAYING: &str = "notebook";

/// How the program shows a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// With `println!` and the format of `:fmt`, by default `Debug`.
    Print,
    /// With `notebook::display`, which prints text outside a notebook.
    Display,
    /// With a method of the type.
    Own,
}

/// A program under construction.
pub(super) struct Program<'a> {
    session: &'a Session,
    history: &'a History,
    cells: Vec<Part<'a>>,
    /// Whether `main` returns the program's error type, [`OWN_ERROR`].
    own_error: bool,
    /// Whether a cell defines `main`.
    has_main: bool,
}

/// A cell in the program.
struct Part<'a> {
    ran: &'a Ran,
    cell: Cell,
    /// The number of ways to show the value that failed to compile.
    failed: usize,
}

impl<'a> Program<'a> {
    /// Collects the cells of the history.
    pub(super) fn new(session: &'a Session, history: &'a History) -> Result<Self, Error> {
        let cells: Vec<_> = history
            .cells()
            .into_iter()
            .map(|ran| Part {
                ran,
                cell: Cell::parse_rust(&ran.code),
                failed: 0,
            })
            .collect();
        let mut program = Self {
            session,
            history,
            cells,
            own_error: false,
            has_main: session
                .items
                .iter()
                .any(|item| item.what == What::Value("main".to_owned())),
        };
        if program.has_main {
            program.cells.retain(|part| !part.calls_main());
            if program.cells.iter().any(Part::runs) {
                return Err(Error::Main);
            }
        }
        if program.session.items.is_empty() && !program.cells.iter().any(Part::runs) {
            return Err(Error::Nothing);
        }
        Ok(program)
    }

    /// Returns the number of cells in the program.
    pub(super) fn count(&self) -> usize {
        let items = self.session.items.iter().map(|item| item.cell);
        let statements = self.cells.iter().filter(|part| part.runs());
        items
            .chain(statements.map(|part| part.ran.number))
            .collect::<BTreeSet<_>>()
            .len()
    }

    pub(super) fn has_tests(&self) -> bool {
        self.session
            .items
            .iter()
            .any(|item| item.text.contains("#[test]"))
    }

    /// Returns whether the program's code contains a name.
    pub(super) fn mentions(&self, name: &str) -> bool {
        let displays = self
            .cells
            .iter()
            .any(|part| part.way() == Some(Way::Display));
        displays && name == DISPLAYING || self.texts().any(|text| mentions(text, name))
    }

    /// Returns the code of the cells.
    fn texts(&self) -> impl Iterator<Item = &String> {
        let items = self.session.items.iter().map(|item| &item.text);
        let imports = self.session.imports.iter().map(|(_, import)| &import.code);
        let cells = self.cells.iter().map(|part| &part.ran.code);
        items.chain(imports).chain(cells)
    }

    /// Adapts the program to the compiler's errors. Returns whether it changed.
    pub(super) fn change(&mut self, messages: &[Message], source: &Source, file: &str) -> bool {
        let mut again = false;
        for message in messages.iter().filter(|message| message.is_error()) {
            if message.code() == "E0277" && message.text().starts_with("`?` couldn't convert") {
                again |= !self.own_error;
                self.own_error = true;
                continue;
            }
            let shown = message
                .origins(source, file)
                .into_iter()
                .find_map(|origin| {
                    let Origin::Cell { cell, .. } = origin else {
                        return None;
                    };
                    usize::try_from(*cell).ok()
                });
            if let Some(part) = shown.and_then(|place| self.cells.get_mut(place))
                && part.failed < 2
            {
                part.failed += 1;
                again = true;
            }
        }
        again
    }

    /// Returns the source. The pieces that show values have the index of their cell in the program
    /// as origin.
    pub(super) fn source(&self) -> Source {
        let mut source = Source::default();
        source.generated(
            "//! The cells of a notebook that have run, as `:export` wrote them.\n//!\n//! Files have the paths that they have from the notebook's folder: run this from there, with `--manifest-path`.\n\n",
        );
        for attribute in &self.session.attributes {
            source.generated(attribute).generated("\n");
        }
        for (_, import) in &self.session.imports {
            source.generated(&import.code).generated("\n");
        }
        let is_macro = |item: &&Definition| matches!(item.what, What::Macro(_));
        let is_test = |item: &&Definition| testing::is_test(&item.text);
        let items = &self.session.items;
        // Macros must be defined before their first use.
        self.items(&mut source, items.iter().filter(is_macro));
        self.items(
            &mut source,
            items
                .iter()
                .filter(|item| !is_macro(item) && !is_test(item)),
        );
        if !self.has_main {
            self.main(&mut source);
        }
        let tests: Vec<_> = items.iter().filter(is_test).collect();
        if !tests.is_empty() {
            let name = self.free_name("tests");
            source.generated(&format!(
                "\n#[cfg(test)]\nmod {name} {{\n    use super::*;\n"
            ));
            self.items(&mut source, tests.into_iter());
            source.generated("}\n");
        }
        source
    }

    fn items<'b>(&self, source: &mut Source, items: impl Iterator<Item = &'b Definition>) {
        let mut before = None;
        for item in items {
            source.generated("\n");
            if before != Some(item.cell) {
                before = Some(item.cell);
                source.generated(&format!("// cell {}\n", self.history.label(item.cell)));
                // The comments above statements are written to `main`.
                let above = self
                    .history
                    .runs()
                    .find(|ran| ran.number == item.cell && !runs(&Cell::parse_rust(&ran.code)));
                if let Some(ran) = above {
                    source.generated(&heading(&ran.heading, true));
                }
            }
            source.generated(&item.text).generated("\n");
        }
    }

    fn main(&self, source: &mut Source) {
        let awaits = self.cells.iter().any(|part| part.ran.awaits);
        let fails = awaits || self.cells.iter().any(|part| part.cell.fails);
        let error = if self.own_error {
            self.free_name("Failed")
        } else {
            "Box<dyn std::error::Error>".to_owned()
        };
        if self.own_error {
            source.generated(&OWN_ERROR.replace("NAME", &error));
        }
        // The name `Result` may be shadowed by an item or an import.
        let result = if self.redefines_result() {
            "std::result::Result"
        } else {
            "Result"
        };
        source.generated(&if fails {
            format!("\nfn main() -> {result}<(), {error}> {{\n")
        } else {
            "\nfn main() {\n".to_owned()
        });
        let runtime = self.free_name("runtime");
        let mut has_runtime = false;
        let mut is_first = true;
        for (place, part) in self.cells.iter().enumerate() {
            let noted = heading(&part.ran.heading, false);
            if !part.runs() && !part.is_noted() {
                continue;
            }
            if !std::mem::take(&mut is_first) {
                source.generated("\n");
            }
            source.generated(&format!(
                "// cell {}\n{noted}",
                self.history.label(part.ran.number)
            ));
            if !part.runs() {
                continue;
            }
            if !part.ran.awaits {
                part.statements(source, place);
                continue;
            }
            if !std::mem::replace(&mut has_runtime, true) {
                source.generated(&format!(
                    "let {runtime} = tokio::runtime::Runtime::new()?;\n"
                ));
            }
            part.waiting(source, place, &runtime, &error);
        }
        source.generated(if fails { "\nOk(())\n}\n" } else { "}\n" });
    }

    fn redefines_result(&self) -> bool {
        let named = |name: Option<&str>| name == Some("Result");
        self.session
            .items
            .iter()
            .any(|item| named(item.what.name()))
            || self
                .session
                .imports
                .iter()
                .any(|(_, import)| named(import.name.as_deref()) || import.code.ends_with("*;"))
    }

    /// Returns a name that does not occur in the code of the cells.
    fn free_name(&self, name: &str) -> String {
        let mut name = name.to_owned();
        while self.texts().any(|text| mentions(text, &name)) {
            name.push('_');
        }
        name
    }
}

impl Part<'_> {
    fn runs(&self) -> bool {
        runs(&self.cell)
    }

    /// Returns whether the cell only calls the user's own `main`.
    fn calls_main(&self) -> bool {
        let parts = self.cell.statements.iter().chain(&self.cell.tail);
        let mut parts =
            parts.map(|range| self.ran.code[range.clone()].trim_end_matches([';', '?']));
        parts.next() == Some("main()") && parts.next().is_none()
    }

    /// Returns whether the commands of the cell are written as comments.
    fn is_noted(&self) -> bool {
        self.ran.heading.lines().any(is_noted)
    }

    fn statements(&self, source: &mut Source, place: usize) {
        let code = &self.ran.code;
        let items = self.cell.items.iter().map(|item| &item.range);
        let mut cuts: Vec<_> = items.chain(&self.cell.attributes).cloned().collect();
        cuts.extend(self.cell.tail.clone());
        cuts.sort_by_key(|cut| cut.start);
        let mut start = 0;
        for cut in cuts {
            source.generated(&code[start..cut.start]);
            start = cut.end;
            if Some(&cut) == self.cell.tail.as_ref() {
                self.value(source, place, &code[cut]);
            }
        }
        source.generated(code[start..].trim_end());
        if !source.text.ends_with('\n') {
            source.generated("\n");
        }
    }

    /// Returns how the value of the cell is shown, if it has one.
    fn way(&self) -> Option<Way> {
        let ways = if self.ran.shown?.rich {
            [Way::Display, Way::Own, Way::Print]
        } else {
            [Way::Print, Way::Display, Way::Own]
        };
        ways.get(self.failed).copied()
    }

    fn value(&self, source: &mut Source, place: usize, text: &str) {
        let origin = Origin::Cell {
            cell: place as u64,
            start: 0,
        };
        let Some(shown) = self.ran.shown else {
            let is_block = text.ends_with('}') && BLOCKS.iter().any(|word| text.starts_with(word));
            source
                .generated(text)
                .generated(if is_block { "" } else { ";" });
            return;
        };
        let (before, after) = match self.way() {
            None | Some(Way::Print) => {
                let format = match shown.format {
                    Format::Debug => "{:?}",
                    Format::Pretty => "{:#?}",
                    Format::Display => "{}",
                };
                (format!("println!(\"{format}\", "), ");".to_owned())
            }
            Some(Way::Display) => (format!("{DISPLAYING}::display(&("), "));".to_owned()),
            Some(Way::Own) => ("(".to_owned(), format!(").{DISPLAY_METHOD}();")),
        };
        source.piece(origin, &format!("{before}{text}{after}"));
    }

    /// Writes statements that await futures. Each such cell has its own `block_on`, because other
    /// cells may start a runtime, which panics inside an asynchronous context.
    fn waiting(&self, source: &mut Source, place: usize, runtime: &str, error: &str) {
        let kept: Vec<_> = self
            .cell
            .locals
            .iter()
            .filter(|local| self.ran.makes.contains(&local.name))
            .collect();
        let list = |names: Vec<String>| match names.as_slice() {
            [one] => one.clone(),
            _ => format!("({})", names.join(", ")),
        };
        if !kept.is_empty() {
            let pattern = kept.iter().map(|local| {
                let mutable = if local.mutable { "mut " } else { "" };
                format!("{mutable}{}", local.name)
            });
            source.generated(&format!("let {} = ", list(pattern.collect())));
        }
        source.generated(&format!("{runtime}.handle().block_on(async {{\n"));
        self.statements(source, place);
        let values = list(kept.iter().map(|local| local.name.clone()).collect());
        if self.cell.fails {
            source.generated(&format!("Ok::<_, {error}>({values})\n}})?;\n"));
        } else if kept.is_empty() {
            source.generated("});\n");
        } else {
            source.generated(&format!("{values}\n}});\n"));
        }
    }
}

fn runs(cell: &Cell) -> bool {
    !cell.statements.is_empty() || cell.tail.is_some()
}

fn is_noted(line: &str) -> bool {
    let name = line.split_whitespace().next().unwrap_or_default();
    NOTED.contains(&name) || line.starts_with('!')
}

/// Returns the comments above a cell's code, and its noted commands as comments.
fn heading(heading: &str, before_item: bool) -> String {
    let mut lines = String::new();
    for line in heading.lines() {
        let text = line.trim();
        let words = match text.strip_prefix("///") {
            _ if is_noted(line) => format!("// In the notebook: {text}"),
            Some(words) if !before_item => format!("//{words}"),
            _ if text.starts_with("//!") => format!("//{}", &text[3..]),
            _ if text.starts_with("//") => text.to_owned(),
            _ => continue,
        };
        // Writing to a string cannot fail.
        let _ = writeln!(lines, "{words}");
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rustc::history::Shown;

    /// Returns the exported program of these cells. Each cell ran with or without a value.
    fn exported(cells: &[(&str, bool)]) -> Result<String, Error> {
        let mut session = Session::default();
        let mut history = History::default();
        for (number, (code, has_value)) in (1..).zip(cells) {
            let cell = Cell::parse(code);
            session.define(number, code, &cell);
            history.add(Ran {
                number,
                heading: code[..cell.rust.start].to_owned(),
                code: code[cell.rust.clone()].to_owned(),
                makes: cell.locals.iter().map(|local| local.name.clone()).collect(),
                awaits: cell.awaits,
                shown: has_value.then_some(Shown {
                    format: Format::Debug,
                    rich: false,
                }),
                ..Ran::default()
            });
        }
        let source = Program::new(&session, &history)?.source().text;
        let (_, program) = source.split_once("--manifest-path`.\n\n").unwrap();
        Ok(program.to_owned())
    }

    #[test]
    fn cells_become_a_program() {
        let cells = [
            ("/// 점\nstruct 점 { 값: i32 }", false),
            (
                "use std::fmt;\n// 값\nlet p = 점 { 값: 1 };\nfn f() {}",
                false,
            ),
            (":vars", false),
            ("!ls data\n:env A=b", false),
            ("// sum\np.값 + 1 // one more", true),
            ("if p.값 > 0 { f() }", false),
            ("%test\n#[test]\nfn adds() {}", false),
        ];
        let expected = "use std::fmt;\n\n// cell 1\n/// 점\nstruct 점 { 값: i32 }\n\n// cell 2\nfn f() {}\n\n\
            fn main() {\n// cell 2\n\n// 값\nlet p = 점 { 값: 1 };\n\n// cell 4\n// In the notebook: !ls data\n// In the notebook: :env A=b\n\n\
            // cell 5\n// sum\nprintln!(\"{:?}\", p.값 + 1); // one more\n\n// cell 6\nif p.값 > 0 { f() }\n}\n\n\
            #[cfg(test)]\nmod tests {\n    use super::*;\n\n// cell 7\n#[test]\nfn adds() {}\n}\n";
        assert_eq!(exported(&cells).unwrap(), expected);
    }

    #[test]
    fn cells_that_wait_give_back_what_they_make() {
        let cells = [
            ("let runtime = 1;", false),
            ("let mut a = f().await?;\nlet b = a;\nb", true),
            ("f().await;", false),
        ];
        let expected = "\nfn main() -> Result<(), Box<dyn std::error::Error>> {\n// cell 1\nlet runtime = 1;\n\n// cell 2\n\
            let runtime_ = tokio::runtime::Runtime::new()?;\nlet (mut a, b) = runtime_.handle().block_on(async {\n\
            let mut a = f().await?;\nlet b = a;\nprintln!(\"{:?}\", b);\nOk::<_, Box<dyn std::error::Error>>((a, b))\n})?;\n\n\
            // cell 3\nruntime_.handle().block_on(async {\nf().await;\n});\n\nOk(())\n}\n";
        assert_eq!(exported(&cells).unwrap(), expected);
    }

    #[test]
    fn a_main_of_the_reader_stands_alone() {
        let own = exported(&[("fn main() {}", false), ("main();", false)]);
        assert_eq!(own.unwrap(), "\n// cell 1\nfn main() {}\n");
        let both = exported(&[("fn main() {}", false), ("let a = 1;", false)]);
        assert!(matches!(both, Err(Error::Main)));
        assert!(matches!(exported(&[(":vars", false)]), Err(Error::Nothing)));
    }
}
