//! Jupyter's wire: what a message is, how it is signed, and the five sockets it travels on.
//!
//! Messages are handled as raw JSON rather than as closed types, because a kernel must live with what front ends send: unknown message
//! types, missing members and members that newer versions of the protocol add (the parent header of a reply is the very
//! bytes of the request's header). Nothing here knows what the messages mean.

pub mod connection;
pub mod content;
pub mod iopub;
pub mod message;
pub mod sockets;

/// The version of the messaging protocol that this kernel speaks.
pub const VERSION: &str = "5.5";
