//! What the programs of lab 02 are made of.
//!
//! `train.rs`, the script that the notebook submits, reads like the workshop's `train.py`; here is what is about MNIST:
//! its reader, the network with PyTorch's initial weights, drawings that look like MNIST's, and the model's files. What
//! any training program needs is in the crate `training`.

pub mod data;
pub mod digits;
pub mod error;
pub mod evaluation;
pub mod model;
pub mod save;
