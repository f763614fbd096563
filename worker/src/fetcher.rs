use std::sync::Arc;
use std::time::Duration;

use orders_shared::domain::{Claim, Suspects, WorkerId};
use orders_shared::shutdown::Shutdown;
use orders_shared::store::{ClaimError, Claimed, Store};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::Instant;

use crate::bell::Bell;
use crate::desk::Desk;
use crate::heart::Identity;
use crate::metrics::WorkerMetrics;

/// Orders that one claim takes at most. More would hold row locks for longer than other claimers should skip.
const CLAIM_BATCH_MAX: usize = 500;

/// Wait after a claim that the database refused or did not answer.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// How long it claims nothing in order to be idle for a suspect, and how long it then works on before it tries again.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// The one claimer of this process: takes as many due orders as there are free slots, never one query a slot.
pub(crate) struct Fetcher {
    store: Store,
    desk: Desk,
    /// Who this worker is; nobody until it is registered, and after it was declared dead.
    identity: watch::Receiver<Option<Identity>>,
    bell: Bell,
    poll: Duration,
    metrics: Arc<WorkerMetrics>,
    /// Who it was when it last looked.
    known_as: Option<WorkerId>,
    /// No claim before then.
    next_claim: Instant,
    /// Whether the last claim found nothing.
    is_idle: bool,
    /// Since when it claims nothing in order to be idle for a suspect.
    waits_since: Option<Instant>,
    /// Does not wait for suspects before then.
    waits_again: Instant,
}

impl Fetcher {
    pub(crate) fn new(
        store: Store,
        desk: Desk,
        identity: watch::Receiver<Option<Identity>>,
        bell: Bell,
        poll: Duration,
        metrics: Arc<WorkerMetrics>,
    ) -> Self {
        let now = Instant::now();
        Self {
            store,
            desk,
            identity,
            bell,
            poll,
            metrics,
            known_as: None,
            next_claim: now,
            is_idle: false,
            waits_since: None,
            waits_again: now,
        }
    }

    /// Claims until the shutdown begins, then waits for the orders under way until it is over, and ends the rest.
    pub(crate) async fn run(mut self, shutdown: Shutdown) {
        while let Some((worker_id, slots)) = self.ready(&shutdown).await {
            self.fetch(worker_id, slots, &shutdown).await;
        }
        tokio::select! {
            () = self.desk.drained() => return,
            () = shutdown.over() => self.desk.give_up(),
        }
        self.desk.drained().await;
    }

    /// Waits until it is time to claim, with free slots; `None` when the shutdown begins.
    async fn ready(&mut self, shutdown: &Shutdown) -> Option<(WorkerId, OwnedSemaphorePermit)> {
        loop {
            let worker_id = self.identity.borrow_and_update().map(|identity| identity.worker_id);
            if worker_id != self.known_as {
                // What it held belongs to others now. Handing it back does no harm: the tokens tell.
                self.desk.give_up();
                self.known_as = worker_id;
            }
            tokio::select! {
                biased;
                () = shutdown.begun() => return None,
                changed = self.identity.changed() => if changed.is_err() {
                    // The heart gave up. It says why, and the worker ends by that, not as if its work were done.
                    shutdown.begun().await;
                    return None;
                },
                slots = async {
                    tokio::select! {
                        () = tokio::time::sleep_until(self.next_claim) => {}
                        // Whoever rings says that orders are there: no need to look before the claim.
                        () = self.bell.rung(), if self.is_idle => self.is_idle = false,
                    }
                    self.desk.free_slots().await
                }, if worker_id.is_some() => return Some((worker_id?, slots?)),
            }
        }
    }

    /// Claims once.
    async fn fetch(&mut self, worker_id: WorkerId, slots: OwnedSemaphorePermit, shutdown: &Shutdown) {
        let limit = slots.num_permits().min(CLAIM_BATCH_MAX);
        let suspects = self.suspects(&slots);
        // A claim that was begun is waited for: dropped halfway it could hold orders that nobody works on.
        let claimed = tokio::select! {
            biased;
            claimed = self.claim(worker_id, limit, suspects) => claimed,
            () = shutdown.over() => return,
        };
        self.next_claim = Instant::now();
        self.is_idle = matches!(&claimed, Ok(Claimed::Orders(claims)) if claims.is_empty());
        if !matches!(claimed, Ok(Claimed::WaitUntilIdle)) {
            self.waits_since = None;
        }
        match claimed {
            Ok(Claimed::Orders(claims)) if claims.is_empty() => self.next_claim += self.poll,
            Ok(Claimed::Orders(claims)) => {
                self.metrics.claimed(claims.len());
                let too_late = shutdown.has_begun() || self.known() != Some(worker_id);
                self.give_out(claims, slots, too_late);
            }
            Ok(Claimed::WaitUntilIdle) => self.wait_until_idle(),
            Err(ClaimError { error, doubtful }) => {
                let orders = doubtful.len();
                tracing::warn!(error = &error as &dyn std::error::Error, orders, "no claim; trying again");
                self.next_claim += RETRY_AFTER;
                self.give_out(doubtful, slots, true);
            }
        }
    }

    /// Claims, unless the last claim found nothing and there is nothing to claim yet: to look takes one statement, a claim three.
    async fn claim(&self, worker_id: WorkerId, limit: usize, suspects: Suspects) -> Result<Claimed, ClaimError> {
        if self.is_idle {
            match self.store.is_any_due().await {
                Ok(true) => {}
                Ok(false) => return Ok(Claimed::Orders(Vec::new())),
                Err(error) => return Err(ClaimError { error, doubtful: Vec::new() }),
            }
        }
        self.store.claim(worker_id, u32::try_from(limit).unwrap_or(u32::MAX), suspects).await
    }

    /// What to do about suspects. One worker at a time gets idle for them, so that the others go on.
    fn suspects(&self, slots: &OwnedSemaphorePermit) -> Suspects {
        let eldest = self.identity.borrow().is_some_and(|identity| identity.eldest);
        if slots.num_permits() >= self.desk.concurrency() as usize {
            Suspects::Take
        } else if eldest && Instant::now() >= self.waits_again {
            Suspects::WaitFor
        } else {
            Suspects::PassOver
        }
    }

    /// Claims nothing for a moment: the slots get free. What does not end in time is not waited for.
    fn wait_until_idle(&mut self) {
        let now = Instant::now();
        if *self.waits_since.get_or_insert(now) + WAIT_MAX <= now {
            self.waits_since = None;
            self.waits_again = now + WAIT_MAX;
        } else {
            self.next_claim = now + self.poll;
        }
    }

    /// Who this worker is now.
    fn known(&self) -> Option<WorkerId> {
        self.identity.borrow().map(|identity| identity.worker_id)
    }

    /// Starts the work on these orders, or hands them back.
    fn give_out(&mut self, claims: Vec<Claim>, mut slots: OwnedSemaphorePermit, back: bool) {
        for claim in claims {
            // A suspect, which comes alone, takes every slot, so that no other order is near it.
            let needed = if claim.order().is_suspect() { slots.num_permits() } else { 1 };
            let Some(slots) = slots.split(needed) else {
                tracing::error!(order_id = %claim.order_id(), "more orders were claimed than there are slots");
                return;
            };
            if back { self.desk.hand_back(claim, slots) } else { self.desk.start(claim, slots) }
        }
    }
}
