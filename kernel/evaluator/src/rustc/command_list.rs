//! The list of the commands.

/// The names of the commands and their descriptions.
pub(super) const COMMANDS: &[(&str, &str)] = &[
    (
        ":build_env",
        "Set an environment variable for compiling (key=value)",
    ),
    (":clear", "Forget variables, items and dependencies"),
    (":dep", "Add a dependency, e.g. :dep regex = \"1.0\""),
    (":doc", "Show the documentation of a name"),
    (
        ":env",
        "Set an environment variable (key=value); :restart for a process that has it",
    ),
    (
        ":explain",
        "Explain the last error, or one by its code (:explain E0382)",
    ),
    (
        ":export",
        "Write the cells that have run as a Cargo package (:export FOLDER): each cell as it ran last; where the front end does not tell cells apart, every run of one",
    ),
    (":fmt", "How values are shown: {:?} (default), {:#?} or {}"),
    (":help", "Show this list"),
    (":last_compile_dir", "Show the folder of the generated code"),
    (":offline", "Whether cargo may use the network (0/1)"),
    (
        ":opt",
        "How well cells are optimised (0 to 3); no number switches between 0 and 2",
    ),
    (
        ":replay",
        "Run the cells again that made the variables that were lost, as when the stop button had to kill a cell that computed or waited for a channel or a lock",
    ),
    (
        ":restart",
        "Start the cells' process again: forgets variables",
    ),
    (":show_deps", "Show the dependencies"),
    (
        ":test",
        "Run the `#[test]` functions of this cell and of earlier ones, or those whose names hold a word; also %test",
    ),
    (":t", "Short for :type"),
    (":timing", "Show how long cells take, on and off"),
    (":type", "Show the type of a variable"),
    (":types", "Show the types of values, on and off"),
    (":vars", "Show the variables and their types"),
    (
        ":version",
        "Show the version of the kernel and of the compiler",
    ),
];

/// Returns the commands whose names begin with `start`, with their descriptions.
pub(super) fn beginning_with(start: &str) -> impl Iterator<Item = (&'static str, &'static str)> {
    COMMANDS
        .iter()
        .copied()
        .filter(move |(name, _)| name.starts_with(start))
}
