//! The names of `evcxr` that notebooks and crates written for it rely on, and the lines by which its
//! generated code talks to the kernel. No other module of this crate spells them out.

/// The method by which a type displays itself as the value of a cell.
pub(crate) const DISPLAY_METHOD: &str = "evcxr_display";

/// Begins every line that is addressed to the kernel.
pub(crate) const MARKER: &str = "EVCXR_";

/// Begins a displayed value; the MIME type follows.
pub(crate) const BEGIN_CONTENT: &str = "EVCXR_BEGIN_CONTENT ";

/// Ends a displayed value.
pub(crate) const END_CONTENT: &str = "EVCXR_END_CONTENT";

/// Requests a line of input; the prompt follows.
pub(crate) const INPUT_REQUEST: &str = "EVCXR_INPUT_REQUEST:";

/// Requests a line of input that the front end hides; the prompt follows.
pub(crate) const PASSWORD_REQUEST: &str = "EVCXR_INPUT_REQUEST_PASSWORD:";

/// The cell's function has returned.
pub(crate) const EXECUTION_COMPLETE: &str = "EVCXR_EXECUTION_COMPLETE";

/// The cell's function has panicked, so the variables that it defines do not exist.
pub(crate) const PANICKED: &str = "EVCXR_PANIC_NOTIFICATION";

/// A failed `?` has ended the cell's function.
pub(crate) const LEFT_EARLY: &str = "EVCXR_ERROR_OCCURRED";

/// A variable has another type than in earlier cells; its name follows.
pub(crate) const TYPE_CHANGED: &str = "EVCXR_VARIABLE_CHANGED_TYPE:";

/// The line that [`PRELUDE`] writes to standard error before the text of a failed `?`'s error.
pub(crate) const ERROR_FOLLOWS: &[u8] = b"EVCXR_USER_ERROR_FOLLOWS\n";

/// Items that are added to each cell's crate.
///
/// For a failed `?`, the generated code prints the error, held in a variable `error`, without any
/// marker. This macro prints a marker that shows where the error text begins.
pub const PRELUDE: &str = r#"
#[allow(unused_macros)]
macro_rules! eprintln {
    ($format:literal, $value:ident) => {{
        if stringify!($value) == "error" {
            ::std::eprint!("EVCXR_USER_ERROR_FOLLOWS\n");
        }
        ::std::eprintln!($format, $value)
    }};
    ($($words:tt)*) => { ::std::eprintln!($($words)*) };
}
"#;

/// Set in the cell process.
pub(crate) const IS_RUNTIME: &str = "EVCXR_IS_RUNTIME";

/// The folder of [`START_FILES`]; [`CONFIGURATION`] in the user's configuration folder when unset.
pub(crate) const CONFIG_DIR: &str = "EVCXR_CONFIG_DIR";

/// The default name of the folder of [`START_FILES`].
pub(crate) const CONFIGURATION: &str = "evcxr";

/// The files that every notebook begins with: commands, and code.
pub(crate) const START_FILES: [&str; 2] = ["init.evcxr", "prelude.rs"];
