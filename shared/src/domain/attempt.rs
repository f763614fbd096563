use std::time::Duration;

use super::Claim;

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

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: RetryPolicy = RetryPolicy { max_attempts: 40, base: Duration::from_secs(1) };

    #[test]
    fn the_pause_doubles_up_to_ten_minutes() {
        let secs = |attempt| match POLICY.after(attempt, 0.0) {
            NextStep::RetryAfter(pause) => pause.as_secs(),
            NextStep::Fail => 0,
        };

        assert_eq!([1, 2, 3, 4, 10, 11, 39].map(secs), [1, 2, 4, 8, 512, 600, 600]);
    }

    #[test]
    fn jitter_takes_half_of_the_pause_at_most() {
        assert_eq!(POLICY.after(1, 1.0), NextStep::RetryAfter(Duration::from_millis(500)));
    }

    #[test]
    fn the_last_attempt_is_followed_by_none() {
        assert!(matches!(POLICY.after(39, 0.5), NextStep::RetryAfter(_)));
        assert_eq!(POLICY.after(40, 0.5), NextStep::Fail);
    }
}
