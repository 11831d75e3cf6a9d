//! The memory budget for messages of peers that have not yet proved that they know the key.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::broken::Broken;
use super::limits::Limits;

/// Bytes that each connection may use in addition to the budget, so that ordinary messages pass
/// even when other connections have used up the budget.
const FREE: usize = 64 << 10;

/// The maximum number of bytes of all unverified messages together.
#[derive(Debug)]
pub struct Budget {
    left: AtomicUsize,
}

impl Budget {
    fn new(total: usize) -> Self {
        Self {
            left: AtomicUsize::new(total),
        }
    }

    fn take(&self, bytes: usize) -> bool {
        self.left
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| {
                left.checked_sub(bytes)
            })
            .is_ok()
    }

    fn give_back(&self, bytes: usize) {
        self.left.fetch_add(bytes, Ordering::AcqRel);
    }
}

/// The limits of a kernel, and the budget that its sockets share.
#[derive(Debug, Clone)]
pub struct Context {
    pub(super) limits: Arc<Limits>,
    budget: Arc<Budget>,
}

impl Context {
    /// Creates a context with these limits.
    pub fn new(limits: Limits) -> Self {
        Self {
            budget: Arc::new(Budget::new(limits.unverified_total)),
            limits: Arc::new(limits),
        }
    }
}

/// The memory of the message that is being received on one connection.
#[derive(Debug)]
pub(super) struct Account {
    budget: Arc<Budget>,
    pub(super) limits: Arc<Limits>,
    verified: bool,
    held: usize,
    /// The part of `held` that was taken from the budget.
    taken: usize,
}

impl Account {
    pub(super) fn new(context: &Context) -> Self {
        Self {
            budget: context.budget.clone(),
            limits: context.limits.clone(),
            verified: false,
            held: 0,
            taken: 0,
        }
    }

    pub(super) fn verified(&self) -> bool {
        self.verified
    }

    /// Marks the peer as verified: its messages are no longer charged to the budget, only their
    /// size is limited.
    pub(super) fn verify(&mut self) {
        self.verified = true;
        self.budget.give_back(std::mem::take(&mut self.taken));
    }

    /// Charges additional bytes of the message.
    pub(super) fn charge(&mut self, bytes: usize) -> Result<(), Broken> {
        let held = self.held.saturating_add(bytes);
        let most = if self.verified {
            self.limits.message_size
        } else {
            self.limits.unverified_size
        };
        if held > most {
            return Err(Broken::TooLarge(most));
        }
        let beyond = held.saturating_sub(FREE);
        if !self.verified && beyond > self.taken {
            if !self.budget.take(beyond - self.taken) {
                return Err(Broken::NoRoom);
            }
            self.taken = beyond;
        }
        self.held = held;
        Ok(())
    }

    /// Releases the memory of a processed message.
    pub(super) fn settle(&mut self) {
        self.held = 0;
        self.budget.give_back(std::mem::take(&mut self.taken));
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.settle();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context() -> Context {
        Context::new(Limits {
            message_size: 10 << 20,
            unverified_size: 1 << 20,
            unverified_total: (1 << 20) + (100 << 10),
            ..Limits::default()
        })
    }

    #[test]
    fn a_budget_is_shared_and_comes_back() {
        let context = context();
        let mut first = Account::new(&context);
        let mut second = Account::new(&context);
        assert!(first.charge(1 << 20).is_ok());
        assert!(matches!(first.charge(1), Err(Broken::TooLarge(_))));
        assert!(second.charge(FREE).is_ok(), "small messages always pass");
        assert!(matches!(second.charge(900 << 10), Err(Broken::NoRoom)));
        drop(first);
        assert!(second.charge(900 << 10).is_ok());
        second.settle();
        assert_eq!(
            context.budget.left.load(Ordering::Relaxed),
            (1 << 20) + (100 << 10)
        );
    }

    #[test]
    fn a_verified_peer_needs_no_budget() {
        let context = context();
        let mut account = Account::new(&context);
        assert!(account.charge(1 << 20).is_ok());
        account.verify();
        assert!(account.charge(9 << 20).is_ok());
        assert!(matches!(account.charge(1), Err(Broken::TooLarge(_))));
        assert!(Account::new(&context).charge(1 << 20).is_ok());
    }
}
