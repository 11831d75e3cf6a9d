//! Quotes arguments for a POSIX shell command line.

/// Quotes one argument, so that the shell passes it unchanged. `${{…}}` stays a placeholder, which
/// the service replaces.
pub fn quote(argument: &str) -> String {
    if argument.is_empty() {
        return "''".to_owned();
    }
    let mut quoted = String::with_capacity(argument.len() + 2);
    let mut rest = argument;
    while let Some(start) = rest.find("${{") {
        let Some(length) = rest[start..].find("}}") else {
            break;
        };
        let end = start + length + 2;
        quote_literal(&rest[..start], &mut quoted);
        // In double quotes a value with spaces stays one argument, and a shell variable from the
        // service is expanded.
        quoted.push('"');
        quoted.push_str(&rest[start..end]);
        quoted.push('"');
        rest = &rest[end..];
    }
    quote_literal(rest, &mut quoted);
    quoted
}

/// Joins a program and its arguments into one line.
pub fn join<'a>(arguments: impl IntoIterator<Item = &'a str>) -> String {
    let quoted: Vec<String> = arguments.into_iter().map(quote).collect();
    quoted.join(" ")
}

fn quote_literal(text: &str, quoted: &mut String) {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if text.chars().all(plain) {
        quoted.push_str(text);
    } else {
        quoted.push('\'');
        quoted.push_str(&text.replace('\'', r"'\''"));
        quoted.push('\'');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_arguments_stay_readable_and_placeholders_stay_placeholders() {
        for (argument, expected) in [
            ("--epochs", "--epochs"),
            ("1e-3", "1e-3"),
            ("", "''"),
            ("a b", "'a b'"),
            ("it's", r"'it'\''s'"),
            ("$HOME", "'$HOME'"),
            ("~", "'~'"),
            ("${{inputs.mnist}}", r#""${{inputs.mnist}}""#),
            (
                "--data=${{inputs.mnist}}/a b",
                r#"--data="${{inputs.mnist}}"'/a b'"#,
            ),
            ("${{unfinished", "'${{unfinished'"),
            ("한글", "'한글'"),
        ] {
            assert_eq!(quote(argument), expected);
        }
    }

    #[test]
    fn a_shell_gives_back_exactly_what_was_quoted() {
        let arguments = [
            "plain",
            "",
            " ",
            "a b",
            "it's",
            "\"",
            "\\",
            "\\'",
            "$HOME",
            "`id`",
            "$(id)",
            "*",
            "a\nb",
            "\t",
            "!x",
            "#",
            ";",
            "&",
            "|",
            ">",
            "~",
            "{a,b}",
            "한글 🙂",
            "-",
            "--",
            "a=b",
        ];
        let script = format!("printf '%s\\0' {}", join(arguments));
        let output = std::process::Command::new("sh")
            .args(["-c", &script])
            .output()
            .unwrap();
        let given: Vec<&str> = std::str::from_utf8(&output.stdout)
            .unwrap()
            .split_terminator('\0')
            .collect();
        assert_eq!(given, arguments);
    }
}
