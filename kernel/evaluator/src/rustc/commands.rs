//! The commands of a notebook: lines that begin with `:` or `!`, as in other Rust kernels.

use std::path::Path;
use std::process::Command as Program;

use super::RustcEvaluator;
use super::command_list::COMMANDS;
use super::heading::Command;
use super::html::escaped;
use super::plan::Format;
use super::types::short;
use crate::MimeBundle;
use crate::tag::Tag;

/// Commands of other Rust kernels without effect here: their setting is not needed, or always
/// active.
const WITHOUT_EFFECT: &[&str] = &[
    ":allow_static_linking",
    ":cache",
    ":clear_cache",
    ":codegen_backend",
    ":efmt",
    ":internal_debug",
    ":last_error_json",
    ":linker",
    ":load_config",
    ":preserve_vars_on_panic",
    ":quit",
    ":sccache",
    ":time_passes",
    ":toolchain",
];

/// Runs a command and returns its output, or an error message.
pub(super) fn run(evaluator: &mut RustcEvaluator, command: &Command) -> Result<MimeBundle, String> {
    let arguments = command.arguments.as_str();
    let on = |now: bool| match arguments {
        "" => !now,
        value => value == "1",
    };
    match command.name.as_str() {
        "!" => shell(arguments, &evaluator.recipe.socket),
        ":vars" => Ok(variables(evaluator)),
        ":type" | ":t" => type_of(evaluator, arguments),
        ":clear" => evaluator.clear().map(|()| MimeBundle::new()),
        ":restart" => {
            evaluator.restart()?;
            Ok(text("Child process restarted"))
        }
        ":show_deps" => {
            let lines: Vec<_> = evaluator
                .dependencies
                .lines
                .iter()
                .map(|(name, specification)| format!("{name} = {specification}"))
                .collect();
            Ok(text_unless_empty(&lines.join("\n")))
        }
        ":opt" => {
            let level = match (arguments, evaluator.compiler.opt_level.as_str()) {
                ("", "0") => "2",
                ("", _) => "0",
                (level, _) => level,
            };
            if !["0", "1", "2", "3", "s", "z"].contains(&level) {
                return Err(format!(
                    "`{level}` is no level of optimisation\nhint: 0, 1, 2, 3, s or z"
                ));
            }
            level.clone_into(&mut evaluator.compiler.opt_level);
            Ok(text(&format!("Optimization: {level}")))
        }
        ":fmt" => {
            evaluator.show.format = match arguments {
                "" | "{:?}" => Format::Debug,
                "{:#?}" => Format::Pretty,
                "{}" => Format::Display,
                other => {
                    return Err(format!(
                        "`{other}` is no format\nhint: {{:?}}, {{:#?}} or {{}}"
                    ));
                }
            };
            Ok(text(&format!("Output format: {arguments}")))
        }
        ":types" => {
            evaluator.show.types = on(evaluator.show.types);
            Ok(text(&format!("Types: {}", evaluator.show.types)))
        }
        ":timing" => {
            evaluator.timing = on(evaluator.timing);
            Ok(text(&format!("Timing: {}", evaluator.timing)))
        }
        ":offline" => {
            evaluator.dependencies.offline = on(evaluator.dependencies.offline);
            Ok(text(&format!(
                "Offline mode: {}",
                evaluator.dependencies.offline
            )))
        }
        ":explain" => explain(evaluator, arguments),
        ":export" => evaluator
            .export(arguments)
            .map(|words| text(&words))
            .map_err(|error| error.to_string()),
        ":build_env" => {
            let (name, value) = key_and_value(arguments)?;
            evaluator
                .compiler
                .environment
                .push((name.clone(), value.clone()));
            Ok(text(&format!("Set {name}={value} for build")))
        }
        ":env" => {
            let (name, value) = key_and_value(arguments)?;
            evaluator.set_environment(&name, &value);
            Ok(text(&format!(
                "Set {name}={value} (use :restart command to reload child process)"
            )))
        }
        ":version" => Ok(text(&format!(
            "{} with {}",
            env!("CARGO_PKG_VERSION"),
            evaluator.toolchain.short_version()
        ))),
        ":last_compile_dir" => Ok(text(&format!("{}", evaluator.compiler.folder().display()))),
        ":doc" => evaluator
            .documentation(arguments)
            .ok_or_else(|| format!("nothing is known of `{arguments}`")),
        ":help" => Ok(help()),
        name if WITHOUT_EFFECT.contains(&name) => {
            Ok(text(&format!("{name} has no effect in this kernel")))
        }
        name if name.starts_with('%') => Err(magic(name)),
        name => Err(unknown(name)),
    }
}

/// Returns an error that names the replacement for an `IPython` magic.
fn magic(name: &str) -> String {
    let instead = match name.trim_start_matches('%') {
        "time" | "timeit" => "`:timing` shows how long cells take",
        "pip" | "conda" => "`:dep` adds a crate; a line that begins with `!` runs in the shell",
        "bash" | "sh" | "system" | "script" => "a line that begins with `!` runs in the shell",
        "env" | "set_env" => "`:env name=value` sets a variable of the environment",
        "who" | "whos" => "`:vars` shows the variables",
        "reset" => "`:clear` forgets what cells have left",
        "cd" => "`std::env::set_current_dir` changes the folder",
        _ => "`:help` shows all commands",
    };
    format!("`{name}` is a magic of IPython, which a Rust notebook has not\nhint: {instead}")
}

fn unknown(name: &str) -> String {
    format!("Unrecognised command {name}\nhint: `:help` shows all commands")
}

fn shell(script: &str, socket: &Path) -> Result<MimeBundle, String> {
    let output = Tag::of_lines(socket)
        .put_on(Program::new("sh").args(["-c", script]))
        .output()
        .map_err(|error| format!("the shell cannot be started: {error}"))?;
    let printed = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(format!(
            "`{script}` failed: {}\n{complained}",
            output.status
        ));
    }
    Ok(text_unless_empty(
        format!("{printed}{complained}").trim_end_matches('\n'),
    ))
}

fn variables(evaluator: &RustcEvaluator) -> MimeBundle {
    let rows = evaluator
        .session
        .variables
        .iter()
        .map(|(name, variable)| (name.clone(), short(&variable.type_name)))
        .collect::<Vec<_>>();
    let plain = rows
        .iter()
        .map(|(name, type_name)| format!("{name}: {type_name}"));
    table("<tr><th>Variable</th><th>Type</th></tr>", &rows, plain)
}

fn type_of(evaluator: &RustcEvaluator, name: &str) -> Result<MimeBundle, String> {
    let variable = evaluator
        .session
        .variables
        .get(name)
        .ok_or_else(|| format!("Variable does not exist: {name}"))?;
    Ok(text(&format!("{name}: {}", short(&variable.type_name))))
}

fn explain(evaluator: &RustcEvaluator, code: &str) -> Result<MimeBundle, String> {
    let code = match (code, &evaluator.last_error) {
        ("", Some(code)) => code.clone(),
        ("", None) => {
            return Err(
                "No last error to explain\nhint: name one, as in `:explain E0382`".to_owned(),
            );
        }
        (code, _) => code.to_uppercase(),
    };
    // Validates the code, so that user input is not parsed as an option of the compiler.
    let known = |code: &str| {
        code.strip_prefix('E')
            .is_some_and(|digits| digits.len() == 4 && digits.parse::<u16>().is_ok())
    };
    if !known(&code) {
        return Err(format!(
            "`{code}` is no error of the compiler with an explanation\nhint: such codes look like E0382"
        ));
    }
    let output = Program::new(&evaluator.toolchain.rustc)
        .args(["--explain", &code])
        .output()
        .map_err(|error| format!("the compiler cannot be started: {error}"))?;
    let explanation = String::from_utf8_lossy(&output.stdout).into_owned();
    if explanation.is_empty() {
        return Err(format!("the compiler has no explanation of {code}"));
    }
    Ok(MimeBundle::from([
        ("text/plain".to_owned(), explanation.trim_end().into()),
        (
            "text/markdown".to_owned(),
            markdown(&code, &explanation).into(),
        ),
    ]))
}

/// Converts the compiler's Markdown for display: code blocks are tagged `rust`, without the
/// attributes for rustdoc.
fn markdown(code: &str, explanation: &str) -> String {
    let mut text = format!("### {code}\n\n");
    let mut inside = false;
    for line in explanation.lines() {
        if line.starts_with("```") {
            let other = ["text", "toml", "sh", "none", "console"];
            let rust = !inside && !other.iter().any(|word| line[3..].starts_with(word));
            text += if rust {
                "```rust"
            } else if inside {
                "```"
            } else {
                line
            };
            inside = !inside;
        } else {
            text += line;
        }
        text.push('\n');
    }
    text
}

fn help() -> MimeBundle {
    let rows: Vec<_> = COMMANDS
        .iter()
        .map(|(name, what)| ((*name).to_owned(), (*what).to_owned()))
        .collect();
    let plain = COMMANDS
        .iter()
        .map(|(name, what)| format!("{name:<17} {what}"));
    table("", &rows, plain)
}

/// Renders rows of two columns as an HTML table, and `plain` as lines of text.
fn table(head: &str, rows: &[(String, String)], plain: impl Iterator<Item = String>) -> MimeBundle {
    let rows: String = rows
        .iter()
        .flat_map(|(left, right)| {
            [
                "<tr><td>",
                &escaped(left),
                "</td><td>",
                &escaped(right),
                "</td></tr>",
            ]
            .map(str::to_owned)
        })
        .collect();
    MimeBundle::from([
        (
            "text/plain".to_owned(),
            plain.collect::<Vec<_>>().join("\n").into(),
        ),
        (
            "text/html".to_owned(),
            format!("<table>{head}{rows}</table>").into(),
        ),
    ])
}

fn key_and_value(arguments: &str) -> Result<(String, String), String> {
    arguments
        .split_once('=')
        .map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
        .ok_or_else(|| "Please supply key=value".to_owned())
}

pub(super) fn text(words: &str) -> MimeBundle {
    MimeBundle::from([("text/plain".to_owned(), words.into())])
}

fn text_unless_empty(words: &str) -> MimeBundle {
    if words.is_empty() {
        MimeBundle::new()
    } else {
        text(words)
    }
}
