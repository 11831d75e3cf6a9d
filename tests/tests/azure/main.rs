//! What nobody can see on Azure itself from here: that what is sent there is what the official client sends, that a real blob service
//! takes it, and that no secret is left behind anywhere.

#![allow(
    clippy::unwrap_used,
    reason = "all of this is tests, and the SDK's errors say what went wrong"
)]

mod azurite;
mod requests;
mod secrets;
