//! Checks that need no Azure account: the SDK sends the same requests as the official client, a
//! real blob service accepts them, and no secret remains in any file or output.

#![allow(
    clippy::unwrap_used,
    reason = "all of this is tests, and the SDK's errors say what went wrong"
)]

mod azurite;
mod requests;
mod secrets;
