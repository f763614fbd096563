//! A database's clock that goes back, as after a virtual machine was restored or a wrong time was set right.
//!
//! What was due before must not wait until the clock is there again. So whoever claims looks every few seconds whether it
//! went back, and takes meanwhile what is due in the future by its own time alone.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::Instant;

use crate::store::{Store, StoreError};

/// The clock, and how far it is behind the newest order: read by the last entry of an index.
const CLOCK: &str = r"
    select now(6), coalesce(timestampdiff(microsecond, now(6), max(created_at)), 0)
    from orders
";

/// Less is the work of a clock that is kept right step by step, and passes by itself.
const BEHIND_MIN: Duration = Duration::from_secs(1);

/// An answer that took longer does not say when its clock was read.
const ANSWER_MAX: Duration = Duration::from_millis(500);

/// The newest order says no more than this. One that was placed by a clock which was years ahead would otherwise make every
/// claim look through all orders of years.
const NEWEST_SAYS_MAX: Duration = Duration::from_hours(24);

/// How far ahead of a change an order may be due: the longest pause between two attempts.
const PAUSE_MAX: Duration = Duration::from_mins(10);

/// What a process knows of the database's clock.
#[derive(Debug, Default)]
pub(in crate::store) struct Clock(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// The last time that was read, and when that was.
    read: Option<(DateTime<Utc>, Instant)>,
    /// Until the clock is there again from where it went back.
    behind_until: Option<Instant>,
}

impl Known {
    fn behind(&self, now: Instant) -> Duration {
        self.behind_until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now))
    }
}

impl Clock {
    /// How far into the future of the clock a claim looks for what was due before the clock went back.
    pub(in crate::store) fn looks_ahead(&self) -> Duration {
        let behind = self.behind(Instant::now());
        if behind.is_zero() { Duration::ZERO } else { behind + PAUSE_MAX }
    }

    fn behind(&self, now: Instant) -> Duration {
        self.known().behind(now)
    }

    /// Notes a reading that was asked for at `asked` and answered `now`, and gives how far the clock is behind.
    fn read(&self, clock: DateTime<Utc>, behind_newest: Duration, asked: Instant, now: Instant) -> Duration {
        let mut known = self.known();
        let mut went_back = TimeDelta::zero();
        if now - asked < ANSWER_MAX {
            went_back = known.read.map_or(went_back, |(before, at)| before + (now - at) - clock);
            known.read = Some((clock, now));
        }
        // A step back adds to what is left of an earlier one, and a step forward takes from it.
        let is_step = went_back.abs().to_std().is_ok_and(|step| step >= BEHIND_MIN);
        let left = TimeDelta::from_std(known.behind(now)).unwrap_or_default()
            + if is_step { went_back } else { TimeDelta::zero() };
        let behind = behind_newest.min(NEWEST_SAYS_MAX).max(left.to_std().unwrap_or_default());
        known.behind_until = (behind >= BEHIND_MIN).then(|| now + behind);
        behind
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store {
    /// Looks at the database's clock, so that claims know of it, and gives how far it is behind where it was once.
    ///
    /// # Errors
    ///
    /// When the database is away.
    pub async fn check_clock(&self) -> Result<Duration, StoreError> {
        let asked = Instant::now();
        let (clock, behind_newest) = self.read_clock().await?;
        Ok(self.clock.read(clock, behind_newest, asked, Instant::now()))
    }

    /// The database's clock, and how far it is behind the newest order.
    pub(in crate::store) async fn read_clock(&self) -> Result<(DateTime<Utc>, Duration), StoreError> {
        self.call("read the database's clock", async {
            let mut line = self.line().await?;
            let (clock, behind_us): (DateTime<Utc>, i64) = sqlx::query_as(CLOCK).fetch_one(&mut *line).await?;
            line.done();
            let behind = Duration::from_micros(u64::try_from(behind_us).unwrap_or_default());
            Ok((clock, if behind < BEHIND_MIN { Duration::ZERO } else { behind }))
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_000_000 + seconds, 0).unwrap()
    }

    fn read(clock: &Clock, time: DateTime<Utc>, behind_newest: Duration, now: Instant) -> Duration {
        clock.read(time, behind_newest, now, now)
    }

    #[test]
    fn a_clock_that_went_back_is_behind_until_it_is_there_again() {
        let (clock, now) = (Clock::default(), Instant::now());
        assert_eq!(read(&clock, at(0), Duration::ZERO, now), Duration::ZERO);

        let behind = read(&clock, at(-597), Duration::ZERO, now + 3 * SECOND);

        assert_eq!(behind, 600 * SECOND);
        assert_eq!(clock.behind(now + 603 * SECOND), Duration::ZERO);
        assert_eq!(read(&clock, at(-497), Duration::ZERO, now + 103 * SECOND), 500 * SECOND);
        assert_eq!(read(&clock, at(4), Duration::ZERO, now + 604 * SECOND), Duration::ZERO);
    }

    #[test]
    fn a_clock_that_is_set_right_again_is_not_behind() {
        let (clock, now) = (Clock::default(), Instant::now());
        read(&clock, at(0), Duration::ZERO, now);
        assert_eq!(read(&clock, at(-597), Duration::ZERO, now + 3 * SECOND), 600 * SECOND);

        assert_eq!(read(&clock, at(6), Duration::ZERO, now + 6 * SECOND), Duration::ZERO);
    }

    #[test]
    fn an_order_of_years_ahead_says_no_more_than_a_day() {
        let clock = Clock::default();

        assert_eq!(read(&clock, at(0), 100_000_000 * SECOND, Instant::now()), NEWEST_SAYS_MAX);
    }

    #[test]
    fn a_process_that_never_saw_the_clock_before_knows_by_the_newest_order() {
        let (clock, now) = (Clock::default(), Instant::now());

        assert_eq!(read(&clock, at(0), 90 * SECOND, now), 90 * SECOND);

        assert!(clock.looks_ahead() > PAUSE_MAX);
    }

    #[test]
    fn small_steps_and_steps_forward_are_nothing() {
        let (clock, now) = (Clock::default(), Instant::now());
        read(&clock, at(0), Duration::ZERO, now);

        read(&clock, at(9), Duration::ZERO, now + 10 * SECOND - Duration::from_millis(1));
        read(&clock, at(600), Duration::ZERO, now + 11 * SECOND);

        assert_eq!(clock.looks_ahead(), Duration::ZERO);
    }

    #[test]
    fn an_answer_that_took_long_is_no_step() {
        let (clock, now) = (Clock::default(), Instant::now());
        read(&clock, at(0), Duration::ZERO, now);

        clock.read(at(10), Duration::ZERO, now + 10 * SECOND, now + 12 * SECOND);
        read(&clock, at(15), Duration::ZERO, now + 15 * SECOND);

        assert_eq!(clock.looks_ahead(), Duration::ZERO);
    }
}
