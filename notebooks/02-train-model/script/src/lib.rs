//! What the programs of lab 02 are made of.
//!
//! `train.rs`, the script that the notebook submits, reads like the workshop's `train.py`; here is what PyTorch's
//! Python side brings along and tch does not: the MNIST reader, Adadelta and `StepLR`, the network with PyTorch's
//! initial weights, the choice of the device, drawings that look like MNIST's, and files that are whole or not there.

pub mod data;
pub mod device;
pub mod digits;
pub mod error;
pub mod model;
pub mod optim;
pub mod save;
