//! Input from the user.

use std::io::{self, BufRead, Write};

/// Requests a line of input from the user, with a prompt beside the input box:
/// `let name = notebook::input("Your name? ")?;`.
///
/// In a terminal the prompt is printed and a line is read from standard input.
///
/// # Errors
/// Fails when the front end does not support input (a headless run), when the cell is interrupted
/// meanwhile, and at the end of the input.
pub fn input(prompt: &str) -> io::Result<String> {
    ask("EVCXR_INPUT_REQUEST", prompt)
}

/// Requests a secret: like [`input`], but a notebook hides the typed text and does not store it. A
/// terminal shows it.
///
/// # Errors
/// As [`input`].
pub fn password(prompt: &str) -> io::Result<String> {
    ask("EVCXR_INPUT_REQUEST_PASSWORD", prompt)
}

/// In a notebook the request is a line of output that the kernel intercepts; its format is that of
/// the crate `evcxr_input`.
fn ask(marker: &str, prompt: &str) -> io::Result<String> {
    if crate::in_notebook() {
        // The kernel does not recognise the marker on a line that begins with earlier output.
        io::stdout().flush()?;
        // A second line of the prompt would be shown as output.
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
