//! The Jupyter protocol from outside: real `ZeroMQ` sockets, an independent client library, and an evaluator that does what the
//! tests tell it.

mod broken;
mod client;
mod execution;
mod lifetime;
mod process;
mod properties;
mod questions;
mod scripted;
mod stdin;
