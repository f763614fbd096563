use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;

use orders_shared::domain::{Claim, Suspects, WorkerId};
use orders_shared::shutdown::Shutdown;
use orders_shared::store::{ClaimError, Claimed, Store};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;

use crate::bell::Bell;
use crate::desk::Desk;
use crate::head::{Head, Look};
use crate::heart::Identity;
use crate::metrics::WorkerMetrics;

/// Orders that one claim takes at most. More would hold row locks for longer than other claimers should skip.
const CLAIM_BATCH_MAX: usize = 500;

/// Claims under way at once, where one cannot take all that is due: while one waits for its commit, the other's statement
/// runs. More would pass over one another's locks.
const CLAIMS_MAX: usize = 2;

/// Wait after a claim that took all that was due, where looks are no more frequent anyhow: what comes meanwhile is claimed
/// together. Each claim is a commit, and each completion another, for which those of the intake wait. Shorter would slow the
/// intake down, longer would let an order wait that comes right behind another one.
const GATHER: Duration = Duration::from_millis(10);

/// Wait after a claim that the database refused or did not answer.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// How long it claims nothing in order to be idle for a suspect, and how long it then works on before it tries again.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// The claimer of this process: takes as many due orders as there are free slots, never one query a slot.
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
    /// Whether the last claim took as many as one can.
    is_plenty: bool,
    claims: JoinSet<Fetched>,
    head: Head,
    /// Since when it claims nothing in order to be idle for a suspect.
    waits_since: Option<Instant>,
    /// Does not wait for suspects before then.
    waits_again: Instant,
}

/// A claim that is through, with the slots that it was made for.
struct Fetched {
    worker_id: WorkerId,
    slots: OwnedSemaphorePermit,
    look: Look,
    /// Whether it was made while this worker claims nothing but a suspect.
    waits: bool,
    claimed: Result<Claimed, ClaimError>,
}

/// A panic ends the worker, so that others rescue what it holds.
fn or_panic(fetched: Result<Fetched, JoinError>) -> Fetched {
    fetched.unwrap_or_else(|error| match error.try_into_panic() {
        Ok(panic) => resume_unwind(panic),
        Err(_) => unreachable!("only this fetcher's end cancels its claims"),
    })
}

/// What the fetcher does next.
enum Next {
    Claim(WorkerId, OwnedSemaphorePermit),
    Claimed(Fetched),
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
            is_plenty: false,
            claims: JoinSet::new(),
            head: Head::new(now),
            waits_since: None,
            waits_again: now,
        }
    }

    /// Claims until the shutdown begins, then waits for the orders under way until it is over, and ends the rest.
    pub(crate) async fn run(mut self, shutdown: Shutdown) {
        while let Some(next) = self.next(&shutdown).await {
            match next {
                Next::Claim(worker_id, slots) => self.claim(worker_id, slots),
                Next::Claimed(fetched) => self.take(fetched, false),
            }
        }
        // A claim that was begun is waited for: dropped halfway it could hold orders that nobody works on.
        while let Some(fetched) = tokio::select! {
            biased;
            fetched = self.claims.join_next() => fetched,
            () = shutdown.over() => None,
        } {
            self.take(or_panic(fetched), true);
        }
        self.claims.shutdown().await;
        tokio::select! {
            () = self.desk.drained() => return,
            () = shutdown.over() => self.desk.give_up(),
        }
        self.desk.drained().await;
    }

    /// Waits until it is time to claim, with free slots, or until a claim is through; `None` when the shutdown begins.
    async fn next(&mut self, shutdown: &Shutdown) -> Option<Next> {
        loop {
            let worker_id = self.identity.borrow_and_update().map(|identity| identity.worker_id);
            if worker_id != self.known_as {
                // What it held belongs to others now. Handing it back does no harm: the tokens tell.
                self.desk.give_up();
                self.known_as = worker_id;
            }
            let two_at_once = self.is_plenty && self.waits_since.is_none();
            let may_claim = self.claims.len() < if two_at_once { CLAIMS_MAX } else { 1 };
            tokio::select! {
                biased;
                () = shutdown.begun() => return None,
                changed = self.identity.changed() => if changed.is_err() {
                    // The heart gave up. It says why, and the worker ends by that, not as if its work were done.
                    shutdown.begun().await;
                    return None;
                },
                Some(fetched) = self.claims.join_next() => return Some(Next::Claimed(or_panic(fetched))),
                slots = async {
                    tokio::select! {
                        () = tokio::time::sleep_until(self.next_claim) => {}
                        // Whoever rings says that orders are there: no need to look before the claim.
                        () = self.bell.rung(), if self.is_idle => {
                            self.is_idle = false;
                            self.next_claim = Instant::now();
                        }
                    }
                    self.desk.free_slots().await
                }, if may_claim && worker_id.is_some() => return Some(Next::Claim(worker_id?, slots?)),
            }
        }
    }

    /// Begins to claim.
    fn claim(&mut self, worker_id: WorkerId, mut slots: OwnedSemaphorePermit) {
        let suspects = self.suspects(&slots);
        let asked = slots.num_permits().min(CLAIM_BATCH_MAX);
        if suspects != Suspects::Take {
            // What this claim cannot use is for the next one. A suspect needs them all.
            drop(slots.split(slots.num_permits() - asked));
        }
        let (store, peeks, waits) = (self.store.clone(), self.is_idle, self.waits_since.is_some());
        // A suspect comes back to its old place, in front of the head.
        let look = self.head.look(Instant::now(), waits);
        self.claims.spawn(async move {
            let limit = u32::try_from(asked).unwrap_or(u32::MAX);
            // To look takes one statement, a claim three.
            let claimed = match if peeks { store.is_any_due(look.from).await } else { Ok(true) } {
                Ok(true) => store.claim(worker_id, limit, suspects, look.from).await,
                Ok(false) => Ok(Claimed::NONE),
                Err(error) => Err(ClaimError { error, doubtful: Vec::new() }),
            };
            Fetched { worker_id, slots, look, waits, claimed }
        });
    }

    /// Starts what was claimed, and decides when to claim again.
    fn take(&mut self, Fetched { worker_id, slots, look, waits, claimed }: Fetched, is_ending: bool) {
        let asked = slots.num_permits().min(CLAIM_BATCH_MAX);
        let (count, since) = match &claimed {
            Ok(Claimed::Orders { claims, since }) => (claims.len(), *since),
            Ok(Claimed::WaitUntilIdle) | Err(_) => (0, None),
        };
        let now = Instant::now();
        self.head.looked(now, look, since);
        self.next_claim = now;
        self.is_idle = count == 0 && matches!(claimed, Ok(Claimed::Orders { .. }));
        self.is_plenty = count == CLAIM_BATCH_MAX;
        if waits && !matches!(claimed, Ok(Claimed::WaitUntilIdle)) {
            self.waits_since = None;
        }
        match claimed {
            Ok(Claimed::Orders { claims, .. }) if claims.is_empty() => self.next_claim += self.poll,
            Ok(Claimed::Orders { claims, .. }) => {
                if count < asked {
                    self.next_claim += GATHER.min(self.poll);
                }
                self.metrics.claimed(count);
                self.give_out(claims, slots, is_ending || self.known() != Some(worker_id));
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
