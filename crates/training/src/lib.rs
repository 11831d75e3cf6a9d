//! Components of training programs in `tch`, besides the network and its data.
//!
//! A program reads [`Settings`] from its command line, chooses the device with [`Compute`], updates
//! weights with [`Adadelta`] and [`StepLr`] in a [`GraphedStep`], saves a [`Checkpoint`] after each
//! epoch, and exports a model that other programs can open ([`export`]). Several [`Processes`] can
//! train together. [`error::exit`] runs the program and reports an error with a hint.
//! `notebooks/02-train-model/script/train.rs` is an example.

pub mod checkpoint;
pub mod device;
pub mod distributed;
mod dropout;
pub mod error;
pub mod export;
pub mod file;
pub mod gpu;
pub mod graph;
mod library;
mod memory;
mod nccl;
pub mod optimizer;
pub mod schedule;
pub mod settings;

pub use checkpoint::Checkpoint;
pub use device::Compute;
pub use distributed::Processes;
pub use dropout::dropout;
pub use error::Error;
pub use graph::GraphedStep;
pub use optimizer::Adadelta;
pub use schedule::StepLr;
pub use settings::{Precision, Settings};
