//! The project's chores: the lab and the tests, from nothing.

fn main() {}
