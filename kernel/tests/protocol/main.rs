//! Tests of the Jupyter protocol from outside: real `ZeroMQ` sockets, an independent client
//! library, and an evaluator that is scripted by the tests.

mod broken;
mod client;
mod execution;
mod fuzz;
mod hostile;
mod lifetime;
mod process;
mod properties;
mod questions;
mod raw;
mod scripted;
mod stdin;
