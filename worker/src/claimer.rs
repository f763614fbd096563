//! The claimer of this process: claims as many due orders as there are free slots, never one query per slot.
//! [`ClaimSchedule`] decides when and how; this file carries it out.
//!
//! A claim whose commit lost its answer may have taken effect. Then orders are PROCESSING for a worker that lives, so
//! that nobody would rescue them. So a claim that fails gives its orders back as doubtful, and this worker releases
//! them under its token. If the commit did not take effect, the release matches no row, and the orders count as stale
//! outcomes.
//!
//! `Invariant:` a shutdown waits for a claim that has begun. Dropped halfway, it could leave orders claimed that nobody
//! works on.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use orders_shared::domain::{Claim, WorkerId};
use orders_shared::shutdown::Shutdown;
use orders_shared::store::{BatchError, Claimed, Store};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::sleep_until;

use crate::allowance::Allowance;
use crate::breaker::Probe;
use crate::claim_cursor::{ClaimCursor, Scan};
use crate::claim_schedule::{ClaimPlan, ClaimResult, ClaimSchedule, NextClaim, Situation};
use crate::executor::Executor;
use crate::gate::Gate;
use crate::heartbeat::Identity;
use crate::metrics::WorkerMetrics;
use crate::wakeup::Wakeup;

pub(crate) struct Claimer {
    store: Store,
    executor: Executor,
    /// Who this worker is; `None` until it is registered, and after it was declared dead.
    identity: watch::Receiver<Option<Identity>>,
    wakeup: Wakeup,
    /// What limits the claims; `None` if nothing does.
    gate: Option<Arc<Gate>>,
    metrics: Arc<WorkerMetrics>,
    /// The worker id under which the orders under way were claimed.
    known_as: Option<WorkerId>,
    schedule: ClaimSchedule,
    cursor: ClaimCursor,
    claims: FuturesUnordered<BoxFuture<'static, EndedClaim>>,
}

/// A claim that has ended, with the slots that were taken for it.
struct EndedClaim {
    plan: ClaimPlan,
    /// The probe that it was made for, if it was.
    probe: Option<Probe>,
    slots: OwnedSemaphorePermit,
    scan: Scan,
    claimed: Result<Claimed, BatchError<Claim>>,
}

enum Event {
    ClaimIsDue(ClaimPlan),
    ClaimEnded(EndedClaim),
    ShutdownBegan,
    /// The schedule should be asked again.
    Changed,
}

impl Claimer {
    pub(crate) fn new(
        store: Store,
        executor: Executor,
        identity: watch::Receiver<Option<Identity>>,
        wakeup: Wakeup,
        gate: Option<Arc<Gate>>,
        poll: Duration,
        metrics: Arc<WorkerMetrics>,
    ) -> Self {
        let now = Instant::now();
        let (schedule, cursor) = (ClaimSchedule::new(now, executor.slots(), poll), ClaimCursor::new(now));
        let claims = FuturesUnordered::new();
        Self { store, executor, identity, wakeup, gate, metrics, known_as: None, schedule, cursor, claims }
    }

    /// Claims until the shutdown begins, then lets the orders under way finish within the grace period, and hands
    /// back the rest.
    pub(crate) async fn run(mut self, shutdown: Shutdown) {
        loop {
            let situation = self.situation();
            let next = self.schedule.next(situation);
            match self.wait(next, &shutdown).await {
                Event::ClaimIsDue(plan) => self.begin_claim(plan),
                Event::ClaimEnded(ended) => self.end_claim(ended, true),
                Event::Changed => {}
                Event::ShutdownBegan => break,
            }
        }
        while let Some(ended) = tokio::select! {
            biased;
            ended = self.claims.next() => ended,
            () = shutdown.over() => None,
        } {
            self.end_claim(ended, false);
        }
        self.claims.clear();
        tokio::select! {
            () = self.executor.drained() => return,
            () = shutdown.over() => self.executor.give_up(),
        }
        self.executor.drained().await;
    }

    /// What the schedule has to know. Gives up the work of an identity that this worker has lost.
    fn situation(&mut self) -> Situation {
        let identity = *self.identity.borrow_and_update();
        let worker_id = identity.map(|identity| identity.worker_id);
        if worker_id != self.known_as {
            // Its orders now belong to other workers. Handing them back does no harm: the claim tokens protect them.
            self.executor.give_up();
            self.known_as = worker_id;
        }
        let free_slots = self.executor.free_slots();
        // A claim under way holds slots too.
        let in_flight = self.executor.slots().saturating_sub(free_slots);
        let allowed = self.gate.as_ref().map_or(Allowance::All, |gate| gate.allows(in_flight));
        Situation { now: Instant::now(), identity, free_slots, claims_under_way: self.claims.len(), allowed }
    }

    /// Waits for what the schedule asks for, unless something else happens first.
    async fn wait(&mut self, next: NextClaim, shutdown: &Shutdown) -> Event {
        tokio::select! {
            biased;
            () = shutdown.begun() => Event::ShutdownBegan,
            changed = self.identity.changed() => {
                if changed.is_ok() {
                    return Event::Changed;
                }
                // The heartbeat task failed. The worker must end with its error, not as if the work were done.
                shutdown.begun().await;
                Event::ShutdownBegan
            }
            Some(ended) = self.claims.next() => Event::ClaimEnded(ended),
            event = async {
                match next {
                    NextClaim::Now(plan) => return Event::ClaimIsDue(plan),
                    NextClaim::At(at) => sleep_until(at.into()).await,
                    NextClaim::AtOrWhenNotified(at) => tokio::select! {
                        () = sleep_until(at.into()) => {}
                        () = self.wakeup.notified() => self.schedule.notified(Instant::now()),
                    },
                    NextClaim::WhenSlotIsFree => self.executor.wait_for_slots(1).await,
                    NextClaim::WhenAllowed { at, free_slots } => tokio::select! {
                        () = until(at) => {}
                        () = changed(self.gate.as_deref()) => {}
                        () = self.executor.wait_for_slots(free_slots + 1) => {}
                    },
                    NextClaim::AfterAnother | NextClaim::OnceRegistered => std::future::pending().await,
                }
                Event::Changed
            } => event,
        }
    }

    fn begin_claim(&mut self, plan: ClaimPlan) {
        let Some(slots) = self.executor.take_slots(plan.slots) else { return };
        let probe = self.gate.as_ref().and_then(|gate| gate.claim_began(plan.limit));
        // A suspect comes back to its old place, before the cursor, where only a full scan sees it.
        let scan = self.cursor.begin_scan(Instant::now(), plan.is_draining);
        let store = self.store.clone();
        self.claims.push(Box::pin(async move {
            let claimed = claim(&store, plan, scan).await;
            EndedClaim { plan, probe, slots, scan, claimed }
        }));
    }

    /// Starts the work on the claimed orders, or hands them back, and tells the schedule.
    fn end_claim(&mut self, ended: EndedClaim, may_start: bool) {
        let EndedClaim { plan, probe, slots, scan, claimed } = ended;
        let now = Instant::now();
        let due_since = if let Ok(Claimed::Orders { since, .. }) = &claimed { *since } else { None };
        self.cursor.end_scan(now, scan, due_since);
        let is_still_known = self.identity.borrow().is_some_and(|known| known.worker_id == plan.worker_id);
        let may_start = may_start && is_still_known;
        let count = if let Ok(Claimed::Orders { claims, .. }) = &claimed { claims.len() } else { 0 };
        let to_start = if may_start { count } else { 0 };
        let may_send = self.gate.as_ref().is_none_or(|gate| gate.claim_ended(probe, plan.limit, to_start));
        let result = match claimed {
            Ok(Claimed::Orders { claims, .. }) => {
                if count > 0 {
                    self.metrics.claimed(count);
                }
                self.dispatch(claims, slots, may_start && may_send);
                ClaimResult::Orders(count)
            }
            Ok(Claimed::WaitUntilIdle) => ClaimResult::WaitUntilIdle,
            Err(BatchError { error, left, .. }) => {
                let (error, orders) = (error.as_ref().map(|error| error as &dyn Error), left.len());
                tracing::warn!(error, orders, "claim failed; trying again");
                self.dispatch(left, slots, false);
                ClaimResult::Failed
            }
        };
        self.schedule.claimed(now, plan, result);
    }

    /// Starts the work on these orders, or hands them back.
    fn dispatch(&mut self, claims: Vec<Claim>, mut slots: OwnedSemaphorePermit, starts: bool) {
        let mut claimed = Vec::with_capacity(claims.len());
        for claim in claims {
            // A suspect comes alone and takes every slot, so that no other order runs beside it.
            let needed = if claim.order().is_suspect() { slots.num_permits() } else { 1 };
            match slots.split(needed) {
                Some(slots) if starts => claimed.push((claim, slots)),
                Some(slots) => self.executor.hand_back(claim, slots),
                None => tracing::error!(order_id = %claim.order_id(), "more orders were claimed than there are slots"),
            }
        }
        self.executor.start(claimed);
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

async fn changed(gate: Option<&Gate>) {
    match gate {
        Some(gate) => gate.changed().await,
        None => std::future::pending().await,
    }
}

async fn claim(store: &Store, plan: ClaimPlan, scan: Scan) -> Result<Claimed, BatchError<Claim>> {
    let is_due = if plan.asks_first { store.is_any_due(scan.from).await } else { Ok(true) };
    match is_due {
        Ok(true) => {
            let limit = u32::try_from(plan.limit).unwrap_or(u32::MAX);
            store.claim(plan.worker_id, limit, plan.suspects, scan.from).await
        }
        Ok(false) => Ok(Claimed::NONE),
        Err(error) => Err(BatchError::new(error, Vec::new())),
    }
}
