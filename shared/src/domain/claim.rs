//! A claimed order: the claim itself, what follows an attempt that did not complete it, and suspects, which may kill
//! their workers.

use std::sync::Arc;
use std::time::Duration;

use super::{ClaimToken, NotDone, Order, OrderId};

/// The right and the duty to finish one claimed order: to complete, fail or release it, exactly once.
///
/// Only the store makes claims, and every way out of PROCESSING takes one by value.
#[derive(Debug)]
#[must_use = "a claimed order must be completed, failed or released"]
pub struct Claim {
    order: Order,
    token: ClaimToken,
}

impl Claim {
    pub(crate) fn new(order: Order, token: ClaimToken) -> Self {
        Self { order, token }
    }

    /// The order as it was when it was claimed.
    #[must_use]
    pub fn order(&self) -> &Order {
        &self.order
    }

    /// The order's id.
    #[must_use]
    pub fn order_id(&self) -> OrderId {
        self.order.order_id
    }

    /// The batch that it was claimed in.
    #[must_use]
    pub fn token(&self) -> ClaimToken {
        self.token
    }
}

/// Longest pause before a retry. A longer one would outlast most outages by far.
const DELAY_MAX: Duration = Duration::from_mins(10);

/// How long an order waits for what its work depends on, from the first time that it was away, before it is FAILED.
pub const GIVE_UP_AFTER: Duration = Duration::from_hours(72);

/// When an order is tried again, and when it is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// The pauses between attempts.
    pub pauses: Pauses,
    /// How long an order waits for what its work depends on, from the first time that it was away.
    pub give_up_after: Duration,
}

/// The pauses between the attempts at an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pauses {
    /// Each twice as long as the one before, up to ten minutes, shortened by up to half at random.
    Doubling {
        /// Maximum number of attempts; if the last one fails, the order is FAILED.
        max_attempts: u16,
        /// The first pause.
        base: Duration,
    },
    /// These, each longer or shorter by up to a fifth at random. There is one attempt more.
    Listed(Arc<[Duration]>),
}

/// What follows an attempt that did not complete its order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum NextStep {
    /// Another attempt, after this pause.
    RetryAfter(Duration),
    /// Another try of the same attempt, once what it depends on may be there again.
    Wait(Wait),
    /// No further attempt: the order is FAILED.
    Fail,
    /// No further attempt: the order is CANCELED.
    Cancel,
}

/// How an order waits for what its work depends on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Wait {
    /// The pause that the work names, or a longer one from the second time on; `None` leaves it to the number of times
    /// that the order has waited.
    after: Option<Duration>,
    give_up_after: Duration,
    /// From 0.0 to 1.0.
    jitter: f64,
}

/// The first pause of an order that waits for what its work depends on.
const WAIT_MIN: Duration = Duration::from_secs(1);

/// The longest pause of such an order.
const WAIT_MAX: Duration = Duration::from_mins(5);

/// The longest pause of a schedule, the longest that work can name, and the longest wait.
pub const PAUSE_MAX: Duration = Duration::from_hours(30 * 24);

impl Wait {
    /// The pause after the `times`-th time in a row that what the work depends on was away, for `waited` in all since
    /// the first; `None` if the order has waited long enough and is FAILED.
    #[must_use]
    pub fn pause(self, times: u32, waited: Duration) -> Option<Duration> {
        let doubled = WAIT_MIN.saturating_mul(1 << times.saturating_sub(1).min(31)).min(WAIT_MAX);
        let pause = by_a_fifth(doubled, self.jitter);
        // Named again and again, a short time would wear out a service that is away.
        let pause = self.after.map_or(pause, |after| if times > 1 { after.max(pause) } else { after });
        (waited < self.give_up_after).then_some(pause)
    }
}

/// The pause, longer or shorter by up to a fifth, so that orders that were put off together do not all come back
/// together. `jitter` is from 0.0 to 1.0.
fn by_a_fifth(pause: Duration, jitter: f64) -> Duration {
    pause.mul_f64(0.8 + 0.4 * jitter.clamp(0.0, 1.0))
}

impl RetryPolicy {
    /// What follows the `attempt`-th attempt, which ended so. `jitter` is from 0.0 to 1.0.
    #[must_use]
    pub fn after(&self, attempt: u16, end: &NotDone, jitter: f64) -> NextStep {
        match *end {
            NotDone::Retry { after, .. } => match self.pauses.after(attempt, jitter) {
                Some(pause) => NextStep::RetryAfter(after.map_or(pause, |after| after.min(PAUSE_MAX))),
                None => NextStep::Fail,
            },
            NotDone::Unavailable { after, .. } => {
                let after = after.map(|after| after.clamp(WAIT_MIN, PAUSE_MAX));
                NextStep::Wait(Wait { after, give_up_after: self.give_up_after, jitter })
            }
            NotDone::Rejected(_) => NextStep::Fail,
            NotDone::Canceled => NextStep::Cancel,
        }
    }
}

impl Pauses {
    /// The pause after the `attempt`-th attempt; `None` if it was the last.
    fn after(&self, attempt: u16, jitter: f64) -> Option<Duration> {
        match self {
            Self::Doubling { max_attempts, .. } if attempt >= *max_attempts => None,
            Self::Doubling { base, .. } => {
                let doublings = u32::from(attempt.saturating_sub(1)).min(31);
                let pause = base.saturating_mul(1 << doublings).min(DELAY_MAX);
                Some(pause.mul_f64(1.0 - jitter.clamp(0.0, 1.0) / 2.0))
            }
            Self::Listed(pauses) => {
                let pause = pauses.get(usize::from(attempt.saturating_sub(1)))?;
                Some(by_a_fifth(*pause, jitter))
            }
        }
    }
}

/// Rescues after which an order is FAILED. It may be innocent of the first two deaths; at the third it was alone in its
/// worker (see [`share`]).
pub const RESCUES_MAX: u8 = 3;

/// Rescues after which an order is a suspect: one more makes it FAILED.
pub(crate) const SUSPECT_FROM: u8 = RESCUES_MAX - 1;

/// What a worker does about suspects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suspects {
    /// It is idle and takes one, alone.
    Take,
    /// It is busy, and drains its slots to take one.
    WaitFor,
    /// It is busy, and leaves them to other workers.
    PassOver,
}

/// How many of the due orders a worker takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// This many, from the front.
    Take(usize),
    /// The first one, as soon as nothing else is under way in this process.
    WaitUntilIdle,
}

impl Order {
    /// Whether one more death of its worker makes it FAILED. A suspect is processed alone, so that no other order is
    /// blamed if the worker dies.
    #[must_use]
    pub fn is_suspect(&self) -> bool {
        self.rescues >= SUSPECT_FROM
    }
}

/// How many of the `due` orders a worker takes, given whether it is `idle`: a suspect alone, all others together.
#[must_use]
pub fn share(due: &[Order], idle: bool) -> Share {
    match due.iter().position(Order::is_suspect) {
        None => Share::Take(due.len()),
        Some(0) if idle => Share::Take(1),
        Some(0) => Share::WaitUntilIdle,
        Some(others) => Share::Take(others),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(pauses: Pauses) -> RetryPolicy {
        RetryPolicy { pauses, give_up_after: GIVE_UP_AFTER }
    }

    fn doubling() -> RetryPolicy {
        policy(Pauses::Doubling { max_attempts: 40, base: Duration::from_secs(1) })
    }

    #[test]
    fn the_pause_doubles_up_to_ten_minutes_and_jitter_takes_half_of_it_at_most() {
        for (attempt, jitter, secs) in [
            (1, 0.0, 1.0),
            (2, 0.0, 2.0),
            (3, 0.0, 4.0),
            (10, 0.0, 512.0),
            (11, 0.0, 600.0),
            (39, 0.0, 600.0),
            (1, 1.0, 0.5),
        ] {
            let pause = Duration::from_secs_f64(secs);

            let next = doubling().after(attempt, &NotDone::retry("busy"), jitter);

            assert_eq!(next, NextStep::RetryAfter(pause), "{attempt} {jitter}");
        }
    }

    #[test]
    fn listed_pauses_come_in_turn_by_a_fifth_longer_or_shorter() {
        let policy = policy(Pauses::Listed([5, 30, 120].map(Duration::from_secs).into()));
        for (attempt, jitter, secs) in [(1, 0.5, 5.0), (2, 0.0, 24.0), (3, 1.0, 144.0)] {
            let next = policy.after(attempt, &NotDone::retry("busy"), jitter);

            assert_eq!(next, NextStep::RetryAfter(Duration::from_secs_f64(secs)), "{attempt}");
        }
        assert_eq!(policy.after(4, &NotDone::retry("busy"), 0.5), NextStep::Fail);
    }

    #[test]
    fn the_last_attempt_is_followed_by_none() {
        assert!(matches!(doubling().after(39, &NotDone::retry("busy"), 0.5), NextStep::RetryAfter(_)));
        assert_eq!(doubling().after(40, &NotDone::retry("busy"), 0.5), NextStep::Fail);
    }

    #[test]
    fn a_time_that_the_work_names_replaces_the_pause_but_grants_no_attempt() {
        let after = Some(Duration::from_secs(7));
        let end = NotDone::Retry { error: "busy".into(), after };

        assert_eq!(doubling().after(39, &end, 0.5), NextStep::RetryAfter(Duration::from_secs(7)));
        assert_eq!(doubling().after(40, &end, 0.5), NextStep::Fail);
        let never = NotDone::Retry { error: "busy".into(), after: Some(Duration::MAX) };
        assert_eq!(doubling().after(1, &never, 0.5), NextStep::RetryAfter(PAUSE_MAX));
    }

    #[test]
    fn a_rejected_order_fails_and_a_canceled_one_is_canceled_at_the_first_attempt() {
        assert_eq!(doubling().after(1, &NotDone::rejected("no"), 0.5), NextStep::Fail);
        assert_eq!(doubling().after(1, &NotDone::Canceled, 0.5), NextStep::Cancel);
    }

    #[test]
    fn an_order_waits_from_a_second_up_to_five_minutes_until_it_gives_up() {
        let away = |attempt, after, jitter| match doubling().after(
            attempt,
            &NotDone::Unavailable { error: "away".into(), after },
            jitter,
        ) {
            NextStep::Wait(wait) => wait,
            other => panic!("{other:?}"),
        };
        let hour = Duration::from_hours(1);
        for (times, jitter, secs) in [
            (1, 0.5, 1.0),
            (2, 0.5, 2.0),
            (9, 0.5, 256.0),
            (10, 0.5, 300.0),
            (900, 0.5, 300.0),
            (1, 0.0, 0.8),
            (1, 1.0, 1.2),
        ] {
            let pause = away(40, None, jitter).pause(times, hour);

            assert_eq!(pause, Some(Duration::from_secs_f64(secs)), "{times} {jitter}");
        }
        let (second, minute) = (Duration::from_secs(1), Duration::from_mins(1));
        for (after, times, pause) in [
            (hour, 1, hour),
            (hour, 900, hour),
            (second, 1, second),
            (second, 7, Duration::from_secs(64)),
            (minute, 2, minute),
            (Duration::ZERO, 1, second),
            (Duration::MAX, 1, PAUSE_MAX),
        ] {
            assert_eq!(away(1, Some(after), 0.5).pause(times, hour), Some(pause), "{after:?} {times}");
        }
        assert_eq!(away(1, None, 0.5).pause(1_000, GIVE_UP_AFTER), None);
    }
}
