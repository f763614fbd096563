//! A claimed order: the claim itself, what follows an attempt that failed, and orders that killed their workers.

use std::time::Duration;

use super::{ClaimToken, Order, OrderId};

/// The right to finish one claimed order, and the duty: it is completed, failed or released, once.
///
/// Only the store makes one, and its ways out of PROCESSING take it by value.
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

    /// The order, as it stands since the claim.
    #[must_use]
    pub fn order(&self) -> &Order {
        &self.order
    }

    /// Its identity.
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

/// No retry waits for longer. A longer pause would outlast most outages by far.
const DELAY_MAX: Duration = Duration::from_mins(10);

/// When an order that could not be processed is tried again, and when no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Attempts that an order has; the last one that fails makes it FAILED.
    pub max_attempts: u16,
    /// Pause after the first failed attempt; it doubles with each further one, up to ten minutes.
    pub base: Duration,
}

/// What follows a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextStep {
    /// Another attempt, after this pause.
    RetryAfter(Duration),
    /// None.
    Fail,
}

/// An attempt that did not succeed, and what follows.
#[derive(Debug)]
#[must_use = "a failed attempt must be stored"]
pub struct FailedAttempt {
    /// The claim that it was made under.
    pub claim: Claim,
    /// Why, for people.
    pub error: String,
    /// How long it took.
    pub duration: Duration,
    /// What follows.
    pub next_step: NextStep,
}

impl RetryPolicy {
    /// What follows the `attempt`-th attempt, which failed with an error that another attempt may mend.
    ///
    /// `jitter`, 0.0 to 1.0, takes up to half of the pause away, so that orders that failed together do not come back
    /// together.
    #[must_use]
    pub fn after(self, attempt: u16, jitter: f64) -> NextStep {
        if attempt >= self.max_attempts {
            return NextStep::Fail;
        }
        let doublings = u32::from(attempt.saturating_sub(1)).min(31);
        let pause = self.base.saturating_mul(1 << doublings).min(DELAY_MAX);
        NextStep::RetryAfter(pause.mul_f64(1.0 - jitter.clamp(0.0, 1.0) / 2.0))
    }
}

/// Rescues that make an order FAILED. It may be innocent of one worker's death, and of a second; at the third it was
/// alone in its process (see [`share`]).
pub const RESCUES_MAX: u8 = 3;

/// Rescues after which one more makes an order FAILED.
pub(crate) const SUSPECT_FROM: u8 = RESCUES_MAX - 1;

/// What a worker does about suspects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suspects {
    /// It is idle: it takes one, alone.
    Take,
    /// It is not idle, and will be for the sake of one.
    WaitFor,
    /// It is not idle, and leaves them to others.
    PassOver,
}

/// How much of a batch of due orders a worker takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// This many from the front.
    Take(usize),
    /// The first one, once nothing else is under way in this process.
    WaitUntilIdle,
}

impl Order {
    /// Whether one more death of its worker makes it FAILED: it is worked on with no neighbours, so that none of them
    /// is taken for what kills workers.
    #[must_use]
    pub fn is_suspect(&self) -> bool {
        self.rescues >= SUSPECT_FROM
    }
}

/// How much of `due` a worker takes that is `idle` or not: suspects alone, all others together.
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

    const POLICY: RetryPolicy = RetryPolicy { max_attempts: 40, base: Duration::from_secs(1) };

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

            assert_eq!(POLICY.after(attempt, jitter), NextStep::RetryAfter(pause), "{attempt} {jitter}");
        }
    }

    #[test]
    fn the_last_attempt_is_followed_by_none() {
        assert!(matches!(POLICY.after(39, 0.5), NextStep::RetryAfter(_)));
        assert_eq!(POLICY.after(40, 0.5), NextStep::Fail);
    }
}
