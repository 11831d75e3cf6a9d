//! The other roles of the kernel's binary.

/// Plays the part that the environment asks for: the process that runs cells, or the compiler's wrapper. Returns otherwise.
///
/// Must be the first thing in `main`.
pub fn child_hook() {}
