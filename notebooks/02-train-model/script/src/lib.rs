//! Components of the programs of lab 02.
//!
//! `train.rs`, the script that the notebook submits, has the structure of the workshop's
//! `train.py`. This crate contains the MNIST-specific parts: the reader, the network with PyTorch's
//! initial weights, the conversion of drawings to MNIST's style, and the model's files. The general
//! parts of a training program are in the crate `training`.

pub mod data;
pub mod digits;
pub mod error;
pub mod evaluation;
pub mod model;
pub mod save;
