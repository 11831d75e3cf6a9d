//! A Jupyter kernel for Rust: the Jupyter protocol in front of an evaluator.
//!
//! - [`zmtp`] is `ZeroMQ`'s wire, with limits for those who do not know the key.
//! - [`protocol`] is Jupyter's wire on it: messages, signatures, the five sockets.
//! - [`server`] gives messages their meaning and drives the evaluator, which it knows only as
//!   [`Evaluator`](azureml_kernel_evaluator::Evaluator).
//! - [`kernelspec`] is what Jupyter finds on disk.
//! - [`cli`] holds the commands of the binary.
//!
//! The library exists for the binary and for the tests; it promises nothing to others.

pub mod cli;
pub mod env;
pub mod kernelspec;
pub mod logging;
pub mod protocol;
pub mod server;
pub mod toolchain;
pub mod zmtp;
