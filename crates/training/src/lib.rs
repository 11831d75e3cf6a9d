//! What a training program in `tch` needs besides its network and its data.
//!
//! A program reads [`Settings`] from its command line, lets [`Compute`] choose the device, moves weights by
//! [`Adadelta`] and [`StepLr`] in a [`GraphedStep`], keeps a [`Checkpoint`] after each epoch, and leaves a model that others
//! can open ([`export`]). Several [`Processes`] do the work of one. [`error::exit`] ends it with a word on what went wrong and
//! the way out.
//! `notebooks/02-train-model/script/train.rs` is such a program.

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
