//! The server side of ZMTP 3, `ZeroMQ`'s wire protocol (<https://rfc.zeromq.org/spec/23/>), with
//! limits on the memory and the time that a peer without the key can use.
//!
//! A kernel needs a small part of `ZeroMQ`: it listens on TCP or Unix sockets as a ROUTER, an XPUB
//! or an echo, with the NULL mechanism. No memory is allocated for announced sizes: memory grows
//! with the bytes that arrive, within a [`Budget`](budget::Budget) until one message of the peer is
//! verified.

mod broken;
pub mod budget;
pub mod echo;
mod limits;
pub mod listener;
mod peers;
pub mod publisher;
pub mod router;
mod wire;

pub use budget::Context;
pub use limits::{Limits, raise_descriptors};
pub use wire::Frames;
