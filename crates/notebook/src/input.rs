//! Questions to the reader.

use std::io::{self, BufRead, Write};

/// Asks the reader for a line, with words beside the input box: `let name = notebook::input("Your name? ")?;`.
///
/// In a terminal the words are printed and a line of standard input is read.
///
/// # Errors
/// When the front end offers no input (a headless run), when the cell is stopped meanwhile, and at the end of the input.
pub fn input(prompt: &str) -> io::Result<String> {
    ask("EVCXR_INPUT_REQUEST", prompt)
}

/// The same for a secret: a notebook hides what is typed and keeps nothing of it. A terminal shows it.
///
/// # Errors
/// As [`input`].
pub fn password(prompt: &str) -> io::Result<String> {
    ask("EVCXR_INPUT_REQUEST_PASSWORD", prompt)
}

/// In a notebook the question is a line that the kernel takes out, the same as of the crate `evcxr_input`.
fn ask(marker: &str, prompt: &str) -> io::Result<String> {
    if crate::in_notebook() {
        // A line is not taken out that begins with what was printed before.
        io::stdout().flush()?;
        // What follows the first line would be shown as output.
        println!("{marker}:{}", prompt.replace(['\n', '\r'], " "));
    } else {
        print!("{prompt}");
        io::stdout().flush()?;
    }
    let mut line = String::new();
    if io::stdin().lock().read_line(&mut line)? == 0 {
        return Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "the input has ended\nhint: answer the question, or give the value in the cell",
        ));
    }
    Ok(line.trim_end_matches(['\n', '\r']).to_owned())
}
