//! When to claim next, and how: a pure decision. It is told the time and what happened, and waits for nothing itself.
//!
//! A paused queue needs no case of its own: to a claim it looks empty.
//!
//! A worker that has claimed all that was due waits a moment. At a thousand orders a second its claims and completions
//! would otherwise be as many commits as the intake's own, which wait behind them.
//!
//! The eldest worker drains its slots for a suspect if no worker is idle. It then makes one claim at a time, each from
//! the front of the queue, and what an earlier claim brings does not end the wait.

use std::time::{Duration, Instant};

use orders_shared::domain::{Suspects, WorkerId};

use crate::allowance::Allowance;
use crate::heartbeat::Identity;

/// The most orders that one claim takes. More would hold row locks for longer than other claimers should skip.
const CLAIM_BATCH_MAX: usize = 500;

/// The most claims under way at once, if one cannot take all that is due: while one waits for its commit, the
/// other's statement runs. More would skip one another's locks.
const CLAIMS_MAX: usize = 2;

/// The wait after a claim that took all that was due, so that what arrives in that time is claimed, and later
/// completed, in one commit. A shorter wait would slow the intake's commits down, a longer one would delay an order
/// that follows closely.
const GATHER: Duration = Duration::from_millis(10);

/// The wait after a claim that the database rejected or did not answer.
const CLAIM_RETRY_AFTER: Duration = Duration::from_millis(500);

/// How long the worker drains its slots for a suspect, and how long it then works normally before it tries again.
const DRAIN_MAX: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(crate) struct ClaimSchedule {
    /// All slots of this worker.
    slots: usize,
    poll: Duration,
    next_at: Instant,
    /// The last claim found nothing.
    is_idle: bool,
    /// The last claim took as many orders as one can.
    is_backlogged: bool,
    /// When it began to drain its slots for a suspect. Until that ends it claims nothing else.
    draining_since: Option<Instant>,
    drains_again_at: Instant,
}

/// What the claimer knows when it asks for the next step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Situation {
    pub(crate) now: Instant,
    /// Who this worker is, while it is registered.
    pub(crate) identity: Option<Identity>,
    pub(crate) free_slots: usize,
    pub(crate) claims_under_way: usize,
    /// How many orders may be claimed for the sake of what the work depends on.
    pub(crate) allowed: Allowance,
}

/// Claim now, or the one event to wait for before asking again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NextClaim {
    Now(ClaimPlan),
    At(Instant),
    /// At this time, or as soon as a wake-up arrives.
    AtOrWhenNotified(Instant),
    WhenSlotIsFree,
    /// At this time if there is one, when more is allowed, or when more slots than these are free.
    WhenAllowed {
        at: Option<Instant>,
        free_slots: usize,
    },
    /// When a claim under way has ended.
    AfterAnother,
    OnceRegistered,
}

/// How to make one claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClaimPlan {
    pub(crate) worker_id: WorkerId,
    /// Free slots to take for it: more than `limit` only for the sake of a suspect, which needs them all.
    pub(crate) slots: usize,
    /// The most orders that it takes.
    pub(crate) limit: usize,
    pub(crate) suspects: Suspects,
    /// Ask first whether anything is due, which takes one statement; a claim takes three.
    pub(crate) asks_first: bool,
    /// The worker is draining its slots for a suspect.
    pub(crate) is_draining: bool,
}

/// The outcome of one claim.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ClaimResult {
    /// The number of orders claimed.
    Orders(usize),
    /// The next order is a suspect, and this worker is not idle.
    WaitUntilIdle,
    Failed,
}

impl ClaimSchedule {
    pub(crate) fn new(now: Instant, slots: usize, poll: Duration) -> Self {
        let (is_idle, is_backlogged) = (false, false);
        Self { slots, poll, next_at: now, is_idle, is_backlogged, draining_since: None, drains_again_at: now }
    }

    pub(crate) fn next(&self, situation: Situation) -> NextClaim {
        let Situation { now, identity, free_slots, claims_under_way, allowed } = situation;
        let Some(identity) = identity else { return NextClaim::OnceRegistered };
        let claims_max = if self.is_backlogged && !self.is_draining() { CLAIMS_MAX } else { 1 };
        if claims_under_way >= claims_max {
            NextClaim::AfterAnother
        } else if now < self.next_at {
            if self.is_idle { NextClaim::AtOrWhenNotified(self.next_at) } else { NextClaim::At(self.next_at) }
        } else if free_slots == 0 {
            NextClaim::WhenSlotIsFree
        } else {
            match allowed {
                Allowance::All => NextClaim::Now(self.plan(now, identity, free_slots, CLAIM_BATCH_MAX)),
                Allowance::UpTo(limit) => NextClaim::Now(self.plan(now, identity, free_slots, limit)),
                Allowance::Nothing(at) => NextClaim::WhenAllowed { at, free_slots },
            }
        }
    }

    fn plan(&self, now: Instant, identity: Identity, free_slots: usize, allowed: usize) -> ClaimPlan {
        let Identity { worker_id, eldest } = identity;
        let suspects = if free_slots >= self.slots {
            Suspects::Take
        } else if eldest && now >= self.drains_again_at {
            // One worker at a time drains its slots for a suspect, so that the others go on working.
            Suspects::WaitFor
        } else {
            Suspects::PassOver
        };
        let limit = free_slots.min(allowed).min(CLAIM_BATCH_MAX);
        let slots = if suspects == Suspects::Take { free_slots } else { limit };
        ClaimPlan { worker_id, slots, limit, suspects, asks_first: self.is_idle, is_draining: self.is_draining() }
    }

    fn is_draining(&self) -> bool {
        self.draining_since.is_some()
    }

    /// A wake-up has announced new orders, so the next claim need not ask first.
    pub(crate) fn notified(&mut self, now: Instant) {
        (self.is_idle, self.next_at) = (false, now);
    }

    /// A claim that was made by this plan has ended.
    pub(crate) fn claimed(&mut self, now: Instant, plan: ClaimPlan, result: ClaimResult) {
        if plan.is_draining && !matches!(result, ClaimResult::WaitUntilIdle) {
            self.draining_since = None;
        }
        self.is_idle = matches!(result, ClaimResult::Orders(0));
        self.is_backlogged = matches!(result, ClaimResult::Orders(CLAIM_BATCH_MAX));
        self.next_at = now
            + match result {
                ClaimResult::Orders(0) => self.poll,
                ClaimResult::Orders(count) if count < plan.limit => GATHER.min(self.poll),
                ClaimResult::Orders(_) => Duration::ZERO,
                ClaimResult::WaitUntilIdle => self.drain(now),
                ClaimResult::Failed => CLAIM_RETRY_AFTER,
            };
    }

    /// Claims nothing for a moment, so that slots become free, but does not wait for a suspect longer than
    /// [`DRAIN_MAX`].
    fn drain(&mut self, now: Instant) -> Duration {
        if now < *self.draining_since.get_or_insert(now) + DRAIN_MAX {
            return self.poll;
        }
        (self.draining_since, self.drains_again_at) = (None, now + DRAIN_MAX);
        Duration::ZERO
    }
}

#[cfg(test)]
mod tests {
    use super::ClaimResult::{Failed, Orders, WaitUntilIdle};
    use super::NextClaim::{AfterAnother, At, AtOrWhenNotified, Now, OnceRegistered, WhenAllowed, WhenSlotIsFree};
    use super::Suspects::{PassOver, Take, WaitFor};
    use super::*;

    const POLL: Duration = Duration::from_millis(50);

    const SLOTS: usize = 2_000;

    /// A new schedule, and the situation of a worker that is the eldest and has some slots free.
    fn schedule() -> (ClaimSchedule, Situation) {
        let now = Instant::now();
        let identity = Some(Identity { worker_id: WorkerId::fresh(), eldest: true });
        let situation = Situation { now, identity, free_slots: 64, claims_under_way: 0, allowed: Allowance::All };
        (ClaimSchedule::new(now, SLOTS, POLL), situation)
    }

    fn after(situation: Situation, time: Duration) -> Situation {
        Situation { now: situation.now + time, ..situation }
    }

    fn plan(schedule: &ClaimSchedule, situation: Situation) -> ClaimPlan {
        match schedule.next(situation) {
            Now(plan) => plan,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_next_claim_follows_from_what_the_last_one_found() {
        let (_, at) = schedule();
        for (free_slots, result, claims_under_way, next) in [
            (64, Orders(0), 0, Some(AtOrWhenNotified(at.now + POLL))),
            (64, Orders(63), 0, Some(At(at.now + GATHER))),
            (64, Orders(64), 0, None),
            (64, Orders(64), 1, Some(AfterAnother)),
            (700, Orders(CLAIM_BATCH_MAX), 1, None),
            (700, Orders(CLAIM_BATCH_MAX), 2, Some(AfterAnother)),
            (64, WaitUntilIdle, 0, Some(At(at.now + POLL))),
            (64, Failed, 0, Some(At(at.now + CLAIM_RETRY_AFTER))),
        ] {
            let mut schedule = ClaimSchedule::new(at.now, SLOTS, POLL);
            let last = plan(&schedule, Situation { free_slots, ..at });

            schedule.claimed(at.now, last, result);

            let is = schedule.next(Situation { claims_under_way, ..at });
            assert_eq!(Some(is).filter(|is| !matches!(is, Now(_))), next, "{result:?} {claims_under_way}");
        }
    }

    #[test]
    fn a_claim_waits_for_its_registration_its_turn_its_time_a_free_slot_and_until_it_is_allowed() {
        let (mut schedule, at) = schedule();
        schedule.claimed(at.now, plan(&schedule, at), Failed);
        let due = after(at, CLAIM_RETRY_AFTER);
        let later = due.now + POLL;
        for (situation, next) in [
            (Situation { identity: None, ..due }, OnceRegistered),
            (Situation { claims_under_way: 1, ..due }, AfterAnother),
            (Situation { free_slots: 0, ..at }, At(due.now)),
            (Situation { free_slots: 0, ..due }, WhenSlotIsFree),
            (Situation { allowed: Allowance::Nothing(None), ..at }, At(due.now)),
            (Situation { allowed: Allowance::Nothing(None), ..due }, WhenAllowed { at: None, free_slots: 64 }),
            (
                Situation { allowed: Allowance::Nothing(Some(later)), ..due },
                WhenAllowed { at: Some(later), free_slots: 64 },
            ),
            (due, Now(plan(&schedule, due))),
        ] {
            assert_eq!(schedule.next(situation), next, "{situation:?}");
        }
    }

    #[test]
    fn a_claim_takes_the_slots_of_one_batch_and_an_idle_worker_all_for_a_suspect() {
        let (schedule, at) = schedule();
        let (all, some) = (Allowance::All, Allowance::UpTo(5));
        for (free_slots, eldest, allowed, slots, limit, suspects) in [
            (SLOTS, false, all, SLOTS, CLAIM_BATCH_MAX, Take),
            (SLOTS, true, all, SLOTS, CLAIM_BATCH_MAX, Take),
            (SLOTS, true, some, SLOTS, 5, Take),
            (SLOTS - 1, false, all, CLAIM_BATCH_MAX, CLAIM_BATCH_MAX, PassOver),
            (SLOTS - 1, true, all, CLAIM_BATCH_MAX, CLAIM_BATCH_MAX, WaitFor),
            (SLOTS - 1, false, some, 5, 5, PassOver),
            (3, true, all, 3, 3, WaitFor),
            (3, true, some, 3, 3, WaitFor),
        ] {
            let identity = at.identity.map(|identity| Identity { eldest, ..identity });

            let plan = plan(&schedule, Situation { identity, free_slots, allowed, ..at });

            assert_eq!((plan.slots, plan.limit, plan.suspects), (slots, limit, suspects), "{free_slots} {allowed:?}");
        }
    }

    #[test]
    fn after_a_claim_that_found_nothing_the_next_one_asks_first_unless_a_wakeup_has_come() {
        let (mut schedule, at) = schedule();
        schedule.claimed(at.now, plan(&schedule, at), Orders(0));
        assert!(plan(&schedule, after(at, POLL)).asks_first);

        schedule.notified(at.now + POLL / 5);

        assert!(!plan(&schedule, after(at, POLL / 5)).asks_first);
    }

    #[test]
    fn a_drain_for_a_suspect_is_given_up_after_a_while_and_begun_again_after_another() {
        let (mut schedule, at) = schedule();
        for (secs, suspects, is_draining) in
            [(0, WaitFor, false), (1, WaitFor, true), (29, WaitFor, true), (30, WaitFor, true), (60, WaitFor, false)]
        {
            let situation = after(at, Duration::from_secs(secs));
            let plan = plan(&schedule, situation);
            assert_eq!((plan.suspects, plan.is_draining), (suspects, is_draining), "after {secs} s");

            schedule.claimed(situation.now, plan, WaitUntilIdle);

            if secs == 30 {
                let working = [0, 29].map(|secs| self::plan(&schedule, after(situation, Duration::from_secs(secs))));
                assert_eq!(working.map(|plan| (plan.suspects, plan.is_draining)), [(PassOver, false); 2]);
            }
        }
    }

    #[test]
    fn a_drain_ends_when_a_claim_made_meanwhile_finds_no_suspect_and_not_by_one_made_before() {
        for result in [Orders(0), Orders(1), Failed] {
            let (mut schedule, at) = schedule();
            let before = plan(&schedule, at);
            schedule.claimed(at.now, before, WaitUntilIdle);

            schedule.claimed(at.now, before, result);
            let meanwhile = plan(&schedule, after(at, CLAIM_RETRY_AFTER));
            schedule.claimed(at.now, meanwhile, result);

            assert!(meanwhile.is_draining, "{result:?}");
            assert!(!plan(&schedule, after(at, CLAIM_RETRY_AFTER)).is_draining, "{result:?}");
        }
    }

    #[test]
    fn a_worker_that_drains_its_slots_makes_one_claim_at_a_time() {
        let (mut schedule, at) = schedule();
        let full = plan(&schedule, Situation { free_slots: CLAIM_BATCH_MAX, ..at });
        schedule.claimed(at.now, full, WaitUntilIdle);

        schedule.claimed(at.now, full, Orders(CLAIM_BATCH_MAX));

        assert_eq!(schedule.next(Situation { claims_under_way: 1, ..at }), AfterAnother);
    }
}
