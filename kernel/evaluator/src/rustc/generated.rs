//! Names of generated crates, and in generated code.

/// The name of the crate of cells that include the items of earlier cells, and of the library of
/// items. Both have the same name, so that types have the same identity in both.
pub(super) const WITH_ITEMS: &str = "session";

/// The name of the crate of cells that link to the library.
pub(super) const WITHOUT_ITEMS: &str = "cell";

/// The prefix of names in generated code, which must not collide with names of the user. See
/// [`Plan::new`](super::plan::Plan::new) for user code that contains it.
pub(super) const RESERVED: &str = "__azk_";

/// The name of the library of items in cells. It does not collide with the user's crates and
/// modules.
pub(super) const ITEMS: &str = "__azk_items";

/// The name of the runtime in cells.
pub(super) const RUNTIME: &str = "__azk_runtime";
