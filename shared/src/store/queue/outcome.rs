//! The outcome of a batch of claims, and which of its orders this process still holds.

use std::collections::HashSet;

use crate::domain::{Claim, OrderId};
use crate::store::{Store, StoreError};

/// What became of the orders of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Settled {
    /// Orders that are COMPLETED now.
    pub completed: u64,
    /// Orders that are back in the queue.
    pub pending: u64,
    /// Those of them that wait for what their work depends on.
    pub waiting: u64,
    /// Orders that are FAILED now.
    pub failed: u64,
    /// Orders that are CANCELED now.
    pub canceled: u64,
    /// Orders that somebody else holds or has finished by now: nothing was changed.
    pub stale: u64,
}

/// A batch that was done in part, or not at all, or whose outcome is unknown.
#[derive(Debug)]
#[must_use]
pub struct BatchError<T> {
    /// Why the call failed; `None` if only `left` was not done, as somebody else has these orders locked.
    pub error: Option<StoreError>,
    /// The part that was not done, or may not have been: all of it if the call failed.
    pub left: Vec<T>,
    /// What became of the other part.
    pub settled: Settled,
}

impl<T> BatchError<T> {
    /// The call failed: all of the batch is left.
    pub fn new(error: StoreError, left: Vec<T>) -> Self {
        Self { error: Some(error), left, settled: Settled::default() }
    }
}

impl Store {
    /// Lets go of the orders of a batch, as their outcomes are stored, or are somebody else's. This process still holds
    /// those that somebody else has locked, and after a failure all of them.
    pub(super) fn let_go<T>(
        &self,
        batch: Vec<T>,
        claim: fn(&T) -> &Claim,
        outcome: Result<(Settled, HashSet<OrderId>), StoreError>,
    ) -> Result<Settled, BatchError<T>> {
        let (settled, locked) = match outcome {
            Ok(outcome) => outcome,
            Err(error) => return Err(BatchError::new(error, batch)),
        };
        let (left, gone): (Vec<_>, Vec<_>) = batch.into_iter().partition(|one| locked.contains(&claim(one).order_id()));
        self.batches.let_go(gone.iter().map(|one| claim(one).token()));
        let changed = settled.completed + settled.pending + settled.failed + settled.canceled;
        let settled = Settled { stale: (gone.len() as u64).saturating_sub(changed), ..settled };
        if left.is_empty() { Ok(settled) } else { Err(BatchError { error: None, left, settled }) }
    }
}
