//! A Jupyter kernel for Rust: the Jupyter messaging protocol in front of an evaluator.
//!
//! - [`zmtp`] implements the wire protocol of `ZeroMQ`, with limits for peers that do not know the
//!   key.
//! - [`protocol`] implements Jupyter's wire protocol on top: messages, signatures, the five
//!   sockets.
//! - [`server`] handles the messages and drives the evaluator through the trait
//!   [`Evaluator`](azureml_kernel_evaluator::Evaluator).
//! - [`kernelspec`] installs the files that Jupyter reads from disk.
//! - [`cli`] contains the commands of the binary.
//!
//! The library exists for the binary and for the tests; it has no stable API.

pub mod cli;
pub mod env;
pub mod kernelspec;
pub mod logging;
pub mod protocol;
pub mod server;
pub mod toolchain;
pub mod zmtp;
