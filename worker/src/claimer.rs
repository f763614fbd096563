//! The claimer of this process: takes as many due orders as there are free slots, never one query a slot.
//!
//! `Invariant:` a shutdown waits for a claim that was begun. Dropped halfway it could hold orders that nobody works on.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use orders_shared::domain::{Claim, Suspects, WorkerId};
use orders_shared::shutdown::Shutdown;
use orders_shared::store::{BatchError, Claimed, Store};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, sleep_until};

use crate::claim_cursor::{ClaimCursor, Scan};
use crate::claim_schedule::{CLAIM_BATCH_MAX, ClaimResult, ClaimSchedule, NextClaim};
use crate::executor::Executor;
use crate::heartbeat::Identity;
use crate::metrics::WorkerMetrics;
use crate::wakeup::Wakeup;

pub(crate) struct Claimer {
    store: Store,
    executor: Executor,
    /// Who this worker is; none until it is registered, and after it was declared dead.
    identity: watch::Receiver<Option<Identity>>,
    wakeup: Wakeup,
    metrics: Arc<WorkerMetrics>,
    /// The identity under which it last claimed.
    known_as: Option<WorkerId>,
    schedule: ClaimSchedule,
    cursor: ClaimCursor,
    claims: FuturesUnordered<BoxFuture<'static, EndedClaim>>,
}

/// A claim that has ended, with the slots that it was made for.
struct EndedClaim {
    worker_id: WorkerId,
    slots: OwnedSemaphorePermit,
    scan: Scan,
    was_draining: bool,
    claimed: Result<Claimed, BatchError<Claim>>,
}

enum Next {
    Claim(WorkerId, OwnedSemaphorePermit),
    Claimed(EndedClaim),
}

impl Claimer {
    pub(crate) fn new(
        store: Store,
        executor: Executor,
        identity: watch::Receiver<Option<Identity>>,
        wakeup: Wakeup,
        poll: Duration,
        metrics: Arc<WorkerMetrics>,
    ) -> Self {
        let now = Instant::now();
        let (schedule, cursor) = (ClaimSchedule::new(now, poll), ClaimCursor::new(now));
        let claims = FuturesUnordered::new();
        Self { store, executor, identity, wakeup, metrics, known_as: None, schedule, cursor, claims }
    }

    /// Claims until the shutdown begins, then waits for the orders under way until it is over, and ends the rest.
    pub(crate) async fn run(mut self, shutdown: Shutdown) {
        while let Some(next) = self.next(&shutdown).await {
            match next {
                Next::Claim(worker_id, slots) => self.claim(worker_id, slots),
                Next::Claimed(ended) => self.end_claim(ended, false),
            }
        }
        while let Some(ended) = tokio::select! {
            biased;
            ended = self.claims.next() => ended,
            () = shutdown.over() => None,
        } {
            self.end_claim(ended, true);
        }
        self.claims.clear();
        tokio::select! {
            () = self.executor.drained() => return,
            () = shutdown.over() => self.executor.give_up(),
        }
        self.executor.drained().await;
    }

    /// Waits until it is time to claim, with free slots, or until a claim has ended; `None` when the shutdown begins.
    async fn next(&mut self, shutdown: &Shutdown) -> Option<Next> {
        loop {
            let worker_id = self.identity.borrow_and_update().map(|identity| identity.worker_id);
            if worker_id != self.known_as {
                // What it held belongs to others now. Handing it back does no harm: the tokens tell.
                self.executor.give_up();
                self.known_as = worker_id;
            }
            let next_claim = self.schedule.next(self.claims.len());
            tokio::select! {
                biased;
                () = shutdown.begun() => return None,
                changed = self.identity.changed() => if changed.is_err() {
                    // The heartbeat gave up. It says why, and the worker ends by that, not as if its work were done.
                    shutdown.begun().await;
                    return None;
                },
                Some(ended) = self.claims.next() => return Some(Next::Claimed(ended)),
                slots = async {
                    match next_claim {
                        NextClaim::AfterAnother => std::future::pending().await,
                        NextClaim::At(at) => sleep_until(at).await,
                        NextClaim::AtOrWhenNotified(at) => tokio::select! {
                            () = sleep_until(at) => {}
                            () = self.wakeup.notified() => self.schedule.notified(Instant::now()),
                        },
                    }
                    self.executor.free_slots().await
                }, if worker_id.is_some() => return Some(Next::Claim(worker_id?, slots?)),
            }
        }
    }

    fn claim(&mut self, worker_id: WorkerId, mut slots: OwnedSemaphorePermit) {
        let now = Instant::now();
        let all_slots_free = slots.num_permits() >= self.executor.concurrency() as usize;
        let is_eldest = self.identity.borrow().is_some_and(|identity| identity.eldest);
        let suspects = self.schedule.suspects(now, all_slots_free, is_eldest);
        let asked = slots.num_permits().min(CLAIM_BATCH_MAX);
        if suspects != Suspects::Take {
            // What this claim cannot use is for the next one. A suspect needs them all.
            drop(slots.split(slots.num_permits() - asked));
        }
        let (store, asks_first) = (self.store.clone(), self.schedule.is_idle);
        let was_draining = self.schedule.is_draining();
        // A suspect comes back to its old place, before the cursor.
        let scan = self.cursor.begin_scan(now, was_draining);
        self.claims.push(Box::pin(async move {
            let limit = u32::try_from(asked).unwrap_or(u32::MAX);
            // To ask whether any is due takes one statement, a claim three.
            let claimed = match if asks_first { store.is_any_due(scan.from).await } else { Ok(true) } {
                Ok(true) => store.claim(worker_id, limit, suspects, scan.from).await,
                Ok(false) => Ok(Claimed::NONE),
                Err(error) => Err(BatchError::new(error, Vec::new())),
            };
            EndedClaim { worker_id, slots, scan, was_draining, claimed }
        }));
    }

    /// Notes what a claim has found, and starts the work on it or hands it back.
    fn end_claim(&mut self, ended: EndedClaim, is_shutdown: bool) {
        let EndedClaim { worker_id, slots, scan, was_draining, claimed } = ended;
        let now = Instant::now();
        let due_since = if let Ok(Claimed::Orders { since, .. }) = &claimed { *since } else { None };
        self.cursor.end_scan(now, scan, due_since);
        let result = match claimed {
            Ok(Claimed::Orders { claims, .. }) => {
                let (count, asked) = (claims.len(), slots.num_permits().min(CLAIM_BATCH_MAX));
                if count > 0 {
                    self.metrics.claimed(count);
                }
                let is_still_known = self.identity.borrow().is_some_and(|known| known.worker_id == worker_id);
                self.dispatch(claims, slots, !is_shutdown && is_still_known);
                ClaimResult::Orders { count, asked }
            }
            Ok(Claimed::WaitUntilIdle) => ClaimResult::WaitUntilIdle,
            Err(BatchError { error, left, .. }) => {
                let (error, orders) = (error.as_ref().map(|error| error as &dyn std::error::Error), left.len());
                tracing::warn!(error, orders, "no claim; trying again");
                self.dispatch(left, slots, false);
                ClaimResult::Failed
            }
        };
        self.schedule.claimed(now, was_draining, result);
    }

    /// Starts the work on these orders, or hands them back.
    fn dispatch(&mut self, claims: Vec<Claim>, mut slots: OwnedSemaphorePermit, starts: bool) {
        for claim in claims {
            // A suspect, which comes alone, takes every slot, so that no other order is near it.
            let needed = if claim.order().is_suspect() { slots.num_permits() } else { 1 };
            let Some(slots) = slots.split(needed) else {
                tracing::error!(order_id = %claim.order_id(), "more orders were claimed than there are slots");
                return;
            };
            if starts { self.executor.start(claim, slots) } else { self.executor.hand_back(claim, slots) }
        }
    }
}
