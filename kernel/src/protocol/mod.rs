//! Jupyter's wire protocol: messages, their signatures, and the five sockets.
//!
//! Messages are handled as raw JSON rather than as closed types, because a kernel must accept what
//! front ends send: unknown message types, missing members, and members of newer protocol versions.
//! The parent header of a reply contains the exact bytes of the request's header. This module does
//! not interpret the messages.

pub mod connection;
pub mod content;
pub mod iopub;
pub mod message;
pub mod sockets;

/// The version of the Jupyter messaging protocol that this kernel implements.
pub const VERSION: &str = "5.5";
