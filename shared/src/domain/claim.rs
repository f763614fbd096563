//! A claimed order: the claim itself, what follows a failed attempt, and suspects, which may kill their workers.

use std::time::Duration;

use super::{ClaimToken, Order, OrderId};

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

/// When a failed order is tried again, and when it is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Maximum number of attempts; if the last one fails, the order is FAILED.
    pub max_attempts: u16,
    /// Pause after the first failed attempt. It doubles with each further failure, up to ten minutes.
    pub base: Duration,
}

/// What follows a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextStep {
    /// Another attempt, after this pause.
    RetryAfter(Duration),
    /// No further attempt: the order is FAILED.
    Fail,
}

/// A failed attempt, and what follows.
#[derive(Debug)]
#[must_use = "a failed attempt must be stored"]
pub struct FailedAttempt {
    /// The claim under which it was made.
    pub claim: Claim,
    /// What went wrong, for people.
    pub error: String,
    /// How long it took.
    pub duration: Duration,
    /// What follows.
    pub next_step: NextStep,
}

impl RetryPolicy {
    /// What follows the `attempt`-th attempt, which failed with a retryable error.
    ///
    /// `jitter`, from 0.0 to 1.0, takes away up to half of the pause, so that orders that failed together do not all
    /// come back together.
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
