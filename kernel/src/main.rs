//! A Jupyter kernel for Rust.

fn main() {}
