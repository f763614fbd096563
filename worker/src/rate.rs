//! How many orders a second may be sent: a pure count, told the time.
//!
//! Time that passes is a credit, and each order costs some of it.

use std::time::{Duration, Instant};

use crate::allowance::Allowance;

/// Credit that is gathered before orders are claimed, unless one order costs more. With less there would be a claim for
/// each order, and with more the service would get its orders in bursts.
const GATHERED: Duration = Duration::from_millis(25);

/// Credit that is kept on top of the cost of one order while there are few orders: with more, those that are placed
/// together after a quiet time would all be sent at once.
const KEPT: Duration = Duration::from_millis(50);

/// The same while more orders are due than may be sent. Less would be lost when claims are late, so that the rate would
/// not be reached.
const KEPT_BEHIND: Duration = Duration::from_millis(500);

#[derive(Debug)]
pub(crate) struct Rate {
    /// Orders a second, of all workers together.
    of_all: f64,
    /// What one order of this worker costs; `None` until it is known how many workers share the rate.
    cost: Option<Duration>,
    /// Since when the credit has been gathered.
    since: Instant,
    /// The last claim brought as many orders as it was allowed, so that more are likely to be due.
    is_behind: bool,
}

impl Rate {
    pub(crate) fn new(now: Instant, of_all: f64) -> Self {
        Self { of_all, cost: None, since: now, is_behind: false }
    }

    /// So many workers share the rate. Returns whether that is news.
    pub(crate) fn share(&mut self, now: Instant, workers: u32) -> bool {
        let secs = f64::from(workers.max(1)) / self.of_all;
        let cost = Duration::try_from_secs_f64(secs).unwrap_or(Duration::MAX).max(Duration::from_nanos(1));
        if self.cost.is_none() {
            self.since = now;
        }
        self.cost.replace(cost) != Some(cost)
    }

    pub(crate) fn allows(&mut self, now: Instant) -> Allowance {
        let Some(cost) = self.cost else { return Allowance::Nothing(None) };
        let enough = cost.max(GATHERED);
        let credit = now.saturating_duration_since(self.since);
        if credit < enough {
            return Allowance::Nothing(self.since.checked_add(enough));
        }
        let kept = credit.min(cost.saturating_add(if self.is_behind { KEPT_BEHIND } else { KEPT }));
        self.since = now.checked_sub(kept).unwrap_or(self.since);
        Allowance::UpTo(usize::try_from(kept.as_nanos() / cost.as_nanos()).unwrap_or(usize::MAX))
    }

    /// Takes the credit for a claim of this many orders.
    pub(crate) fn claim_began(&mut self, limit: usize) {
        self.since = self.since.checked_add(self.cost_of(limit)).unwrap_or(self.since);
    }

    /// Gives back the credit for orders that the claim did not bring.
    pub(crate) fn claim_ended(&mut self, limit: usize, orders: usize) {
        self.is_behind = orders >= limit;
        self.since = self.since.checked_sub(self.cost_of(limit.saturating_sub(orders))).unwrap_or(self.since);
    }

    fn cost_of(&self, orders: usize) -> Duration {
        let orders = u32::try_from(orders).unwrap_or(u32::MAX);
        self.cost.unwrap_or_default().saturating_mul(orders)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(of_all: f64, workers: u32) -> (Rate, Instant) {
        let now = Instant::now();
        let mut rate = Rate::new(now, of_all);
        assert!(rate.share(now, workers));
        (rate, now)
    }

    /// Takes all that is allowed as soon as it is, each time this much too late. Returns the orders and the claims.
    fn take_for(rate: &mut Rate, start: Instant, time: Duration, late: Duration) -> (usize, u32) {
        let (mut now, mut orders, mut claims) = (start, 0, 0);
        while now < start + time {
            match rate.allows(now) {
                Allowance::UpTo(count) => {
                    assert!(count > 0);
                    rate.claim_began(count);
                    rate.claim_ended(count, count);
                    (orders, claims) = (orders + count, claims + 1);
                }
                Allowance::Nothing(Some(until)) => now = until + late,
                other => panic!("{other:?}"),
            }
        }
        (orders, claims)
    }

    #[test]
    fn the_rate_is_shared_by_the_workers_and_held_even_if_claims_are_late() {
        for (of_all, workers, orders) in
            [(0.5, 1, 30), (1.0, 1, 60), (10.0, 3, 200), (25.0, 1, 1_500), (600.0, 3, 12_000), (4_000.0, 2, 120_000)]
        {
            for late_ms in [0, 2, 20, 400] {
                let (mut rate, start) = rate(of_all, workers);

                let (taken, claims) =
                    take_for(&mut rate, start, Duration::from_mins(1), Duration::from_millis(late_ms));

                assert!(taken.abs_diff(orders) <= 2 + orders / 50, "{of_all} by {workers}, {late_ms} ms late: {taken}");
                assert!(claims <= 40 * 60, "{claims} claims");
            }
        }
    }

    #[test]
    fn an_idle_time_is_followed_by_a_small_burst() {
        for (of_all, burst) in [(0.1, 1), (1.0, 1), (20.0, 2), (1_000.0, 51)] {
            let (mut rate, start) = rate(of_all, 1);

            rate.claim_began(1);
            rate.claim_ended(1, 0);

            assert_eq!(rate.allows(start + Duration::from_hours(1)), Allowance::UpTo(burst), "{of_all}");
        }
    }

    #[test]
    fn nothing_is_sent_until_the_number_of_workers_is_known() {
        let now = Instant::now();
        let mut rate = Rate::new(now, 10.0);
        let later = now + Duration::from_mins(1);
        assert_eq!(rate.allows(later), Allowance::Nothing(None));

        assert!(rate.share(later, 2));

        assert!(!rate.share(later, 2), "it is no news");
        assert_eq!(rate.allows(later), Allowance::Nothing(Some(later + Duration::from_millis(200))));
    }

    #[test]
    fn credit_for_orders_that_were_not_there_is_given_back() {
        let (mut rate, start) = rate(1_000.0, 1);
        let now = start + Duration::from_millis(40);
        assert_eq!(rate.allows(now), Allowance::UpTo(40));

        rate.claim_began(40);
        assert_eq!(rate.allows(now), Allowance::Nothing(Some(now + GATHERED)));
        rate.claim_ended(40, 1);

        assert_eq!(rate.allows(now), Allowance::UpTo(39));
    }
}
