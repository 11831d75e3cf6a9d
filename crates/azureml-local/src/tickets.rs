//! The one-time tickets in links to pages.
//!
//! A ticket is valid once, for an hour, and only with the server that issued it. It is signed with
//! a key that ends with the process: a restart would lose the record of used tickets and so make
//! them valid again.

use crate::hmac::hex;
use crate::home::random;
use crate::signer::Signer;
use chrono::{TimeDelta, Utc};
use std::collections::HashMap;
use std::io;
use std::sync::{Mutex, PoisonError};

/// Lifetime of an unused ticket.
const TICKET: TimeDelta = TimeDelta::hours(1);

/// The error message for requests without a cookie.
pub const NO_TICKET: &str = "this page opens from a link with a ticket\n\
    hint: run `run.portal_url()` in a cell and follow its link; each link opens once";

/// Issues tickets and remembers the used ones until they expire. Has no `Debug`: it contains a key.
pub struct Tickets {
    /// With a key of this process only.
    signer: Signer,
    used: Mutex<HashMap<String, i64>>,
}

impl Tickets {
    /// An empty set of tickets with a new key.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            signer: Signer::new(random()?),
            used: Mutex::default(),
        })
    }

    /// Issues a ticket; `None` if the system returns no random bytes. The link then has no ticket.
    pub fn issue(&self) -> Option<String> {
        let expiry = (Utc::now() + TICKET).timestamp();
        Some(self.signer.page_pass("ticket", expiry, &nonce()?))
    }

    /// Whether `ticket` is valid; marks it as used.
    pub fn exchange(&self, ticket: &str) -> bool {
        let now = Utc::now().timestamp();
        let Some((expiry, nonce)) = self.signer.page_pass_of("ticket", ticket, now) else {
            return false;
        };
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.retain(|_, expiry| *expiry > now);
        used.insert(nonce.to_owned(), expiry).is_none()
    }
}

/// Random text for a signature; `None` if the system returns no random bytes.
pub fn nonce() -> Option<String> {
    Some(hex(&random().ok()?[..12]))
}
