//! Generates and evaluates a cell that reads the values of variables.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::MimeBundle;

/// The separator between a name and its value. `Debug` escapes this character.
const BETWEEN: char = '\u{1f}';

/// Returns the code of a cell whose value has a line for each variable whose type implements
/// `Debug`. Values are truncated to `limit` characters.
pub(super) fn cell(names: &[&str], limit: usize) -> String {
    // The name must differ from those of the variables.
    let mut all = "__azk_all".to_owned();
    while names.iter().any(|name| name.contains(&all)) {
        all.push('_');
    }
    let mut lines = String::new();
    for name in names {
        // Writing to a string cannot fail.
        let _ = writeln!(
            lines,
            "if let ::std::option::Option::Some(__azk_text) = __AzkOf(&{name}).__azk_text() {{ {all}.push_str({name:?}); {all}.push('\\u{{1f}}'); {all}.push_str(&__azk_text.escape_debug().to_string()); {all}.push('\\n'); }}"
        );
    }
    format!(
        r#"{{
struct __AzkText(::std::string::String, usize);
impl ::std::fmt::Write for __AzkText {{
    fn write_str(&mut self, text: &str) -> ::std::fmt::Result {{
        for sign in text.chars() {{
            if self.1 == 0 {{ self.0.push('…'); return ::std::result::Result::Err(::std::fmt::Error); }}
            self.1 -= 1;
            self.0.push(sign);
        }}
        ::std::result::Result::Ok(())
    }}
}}
struct __AzkOf<'a, T: ?::std::marker::Sized>(&'a T);
#[allow(dead_code)]
impl<T: ::std::fmt::Debug + ?::std::marker::Sized> __AzkOf<'_, T> {{
    fn __azk_text(&self) -> ::std::option::Option<::std::string::String> {{
        let mut text = __AzkText(::std::string::String::new(), {limit});
        let _ = ::std::fmt::Write::write_fmt(&mut text, ::std::format_args!("{{:?}}", self.0));
        ::std::option::Option::Some(text.0)
    }}
}}
#[allow(dead_code)]
trait __AzkHidden {{ fn __azk_text(&self) -> ::std::option::Option<::std::string::String> {{ ::std::option::Option::None }} }}
impl<T: ?::std::marker::Sized> __AzkHidden for __AzkOf<'_, T> {{}}
struct __AzkAll(::std::string::String);
impl ::std::fmt::Debug for __AzkAll {{ fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {{ f.write_str(&self.0) }} }}
let mut {all} = ::std::string::String::new();
{lines}__AzkAll({all})
}}"#
    )
}

/// Parses the value of such a cell.
pub(super) fn read(value: &MimeBundle) -> BTreeMap<String, String> {
    let text = value.get("text/plain").and_then(|text| text.as_str());
    text.unwrap_or_default()
        .lines()
        .filter_map(|line| line.split_once(BETWEEN))
        .map(|(name, value)| (name.to_owned(), unescaped(value)))
        .collect()
}

/// Reverses [`str::escape_debug`] for quotes and backslashes.
fn unescaped(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut signs = text.chars().peekable();
    while let Some(sign) = signs.next() {
        let hidden = signs.next_if(|next| sign == '\\' && matches!(next, '"' | '\'' | '\\'));
        shown.push(hidden.unwrap_or(sign));
    }
    shown
}
