//! What came of claims: all that a batch of outcomes can end in, and what of it stays in this process's hands.

use std::collections::HashSet;

use crate::domain::{Claim, OrderId};
use crate::store::{Store, StoreError};

/// What became of a batch of claims that ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Finished {
    /// Orders that changed.
    pub changed: u64,
    /// Orders that somebody else holds or has finished by now: nothing was changed.
    pub stale: u64,
}

/// What became of a batch of failed attempts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Settled {
    /// Orders that wait for another attempt.
    pub retried: u64,
    /// Orders that are FAILED.
    pub failed: u64,
    /// Orders that somebody else holds or has finished by now: nothing was changed.
    pub stale: u64,
}

/// What rescuing a batch came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Rescued {
    /// Orders that wait again.
    pub rescued: u64,
    /// Orders that had been rescued too often and are FAILED now.
    pub poisonous: u64,
}

/// A batch of which some could not be stored.
#[derive(Debug)]
#[must_use]
pub struct Partly<T, Done> {
    /// What became of the others.
    pub done: Done,
    /// Somebody else has locked these: they are to be tried again.
    pub busy: Vec<T>,
}

impl Store {
    /// The result of claims of which so many changed and those were busy; the claims come back with an error.
    pub(super) fn finished(
        &self,
        claims: Vec<Claim>,
        stored: Result<(u64, HashSet<OrderId>), StoreError>,
    ) -> Result<Partly<Claim, Finished>, (Vec<Claim>, StoreError)> {
        let (changed, busy) = match stored {
            Ok(stored) => stored,
            Err(error) => return Err((claims, error)),
        };
        let asked = claims.len() as u64;
        let busy = self.let_go(claims, &busy, |claim| claim);
        let stale = asked.saturating_sub(changed + busy.len() as u64);
        Ok(Partly { done: Finished { changed, stale }, busy })
    }

    /// Lets all of these go but those that are busy, which it gives back: the others' outcomes are stored, or they are
    /// somebody else's.
    pub(super) fn let_go<T>(&self, all: Vec<T>, busy: &HashSet<OrderId>, claim: fn(&T) -> &Claim) -> Vec<T> {
        let (busy, gone): (Vec<_>, Vec<_>) = all.into_iter().partition(|one| busy.contains(&claim(one).order_id()));
        self.batches.let_go(gone.iter().map(|one| claim(one).token()));
        busy
    }
}
