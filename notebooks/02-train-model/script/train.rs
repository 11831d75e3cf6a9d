//! Trains.

fn main() {}
