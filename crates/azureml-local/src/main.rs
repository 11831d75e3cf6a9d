//! A local workspace.
fn main() {}
