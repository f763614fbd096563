//! When to claim next: a pure decision, from what the claims before have found. It knows neither the store nor the
//! clock.
//!
//! A worker that has claimed all that was due waits a moment. At a thousand orders a second its claims and completions
//! would otherwise be as many commits as the intake's own, which wait behind them.
//!
//! The eldest worker drains its slots for a suspect if no worker is idle. It then makes one claim at a time, each from
//! the front of the queue, and what an earlier claim brings does not end the wait.

use std::time::Duration;

use orders_shared::domain::Suspects;
use tokio::time::Instant;

/// Orders that one claim takes at most. More would hold row locks for longer than other claimers should skip.
pub(crate) const CLAIM_BATCH_MAX: usize = 500;

/// Claims under way at once, where one cannot take all that is due: while one waits for its commit, the other's statement
/// runs. More would skip one another's locks.
const CLAIMS_MAX: usize = 2;

/// Wait after a claim that took all that was due, so that what comes meanwhile is claimed, and later completed, in one
/// commit. Shorter would slow the intake's commits down, longer would delay an order that comes right behind another one.
const GATHER: Duration = Duration::from_millis(10);

/// Wait after a claim that the database rejected or did not answer.
const CLAIM_RETRY_AFTER: Duration = Duration::from_millis(500);

/// How long the worker drains its slots for a suspect, and how long it then works on before it tries again.
const DRAIN_MAX: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(crate) struct ClaimSchedule {
    poll: Duration,
    next_at: Instant,
    /// The last claim found nothing, so that the next one should ask first whether any is due.
    pub(crate) is_idle: bool,
    /// The last claim took as many as one can.
    is_backlogged: bool,
    /// When it began draining its slots for a suspect. It claims nothing else meanwhile.
    draining_since: Option<Instant>,
    drains_again_at: Instant,
}

/// What one claim came to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ClaimResult {
    Orders {
        count: usize,
        asked: usize,
    },
    /// The next order is a suspect, and this worker is not idle.
    WaitUntilIdle,
    Failed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NextClaim {
    AfterAnother,
    At(Instant),
    /// Then, or at once when a wake-up tells of new orders.
    AtOrWhenNotified(Instant),
}

impl ClaimSchedule {
    pub(crate) fn new(now: Instant, poll: Duration) -> Self {
        let (draining_since, drains_again_at) = (None, now);
        Self { poll, next_at: now, is_idle: false, is_backlogged: false, draining_since, drains_again_at }
    }

    pub(crate) fn next(&self, under_way: usize) -> NextClaim {
        let claims_max = if self.is_backlogged && !self.is_draining() { CLAIMS_MAX } else { 1 };
        match (under_way < claims_max, self.is_idle) {
            (false, _) => NextClaim::AfterAnother,
            (true, false) => NextClaim::At(self.next_at),
            (true, true) => NextClaim::AtOrWhenNotified(self.next_at),
        }
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining_since.is_some()
    }

    /// What the next claim does about suspects. One worker at a time drains its slots for them, so that the others go on.
    pub(crate) fn suspects(&self, now: Instant, all_slots_free: bool, is_eldest: bool) -> Suspects {
        if all_slots_free {
            Suspects::Take
        } else if is_eldest && now >= self.drains_again_at {
            Suspects::WaitFor
        } else {
            Suspects::PassOver
        }
    }

    /// A wake-up has told of new orders, so that the next claim need not ask first.
    pub(crate) fn notified(&mut self, now: Instant) {
        (self.is_idle, self.next_at) = (false, now);
    }

    /// A claim has ended, which was made while draining or not.
    pub(crate) fn claimed(&mut self, now: Instant, was_draining: bool, result: ClaimResult) {
        if was_draining && !matches!(result, ClaimResult::WaitUntilIdle) {
            self.draining_since = None;
        }
        self.is_idle = matches!(result, ClaimResult::Orders { count: 0, .. });
        self.is_backlogged = matches!(result, ClaimResult::Orders { count: CLAIM_BATCH_MAX, .. });
        self.next_at = now
            + match result {
                ClaimResult::Orders { count: 0, .. } => self.poll,
                ClaimResult::Orders { count, asked } if count < asked => GATHER.min(self.poll),
                ClaimResult::Orders { .. } => Duration::ZERO,
                ClaimResult::WaitUntilIdle => self.drain(now),
                ClaimResult::Failed => CLAIM_RETRY_AFTER,
            };
    }

    /// Claims nothing for a moment, so that slots get free, but does not wait for a suspect longer than [`DRAIN_MAX`].
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
    use super::*;

    #[test]
    fn the_next_claim_follows_from_what_the_last_one_found() {
        use ClaimResult::{Failed, Orders, WaitUntilIdle};
        use NextClaim::{AfterAnother, At, AtOrWhenNotified};
        let (now, poll) = (Instant::now(), Duration::from_millis(50));
        for (result, under_way, next) in [
            (Orders { count: 0, asked: 64 }, 0, AtOrWhenNotified(now + poll)),
            (Orders { count: 63, asked: 64 }, 0, At(now + GATHER)),
            (Orders { count: 64, asked: 64 }, 0, At(now)),
            (Orders { count: 64, asked: 64 }, 1, AfterAnother),
            (Orders { count: CLAIM_BATCH_MAX, asked: CLAIM_BATCH_MAX }, 1, At(now)),
            (Orders { count: CLAIM_BATCH_MAX, asked: CLAIM_BATCH_MAX }, 2, AfterAnother),
            (WaitUntilIdle, 0, At(now + poll)),
            (Failed, 0, At(now + CLAIM_RETRY_AFTER)),
        ] {
            let mut schedule = ClaimSchedule::new(now, poll);

            schedule.claimed(now, false, result);

            assert_eq!(schedule.next(under_way), next, "{result:?}");
        }
    }
}
