//! What happens if the database's clock goes back, for instance when a virtual machine is restored or a wrong time is
//! corrected.
//!
//! What was due before must not wait until the clock is there again. So each worker checks every few seconds whether it
//! went back, and meanwhile claims what only the clock's new time puts into the future: orders whose clients did not
//! ask for a later time. The newest order tells a worker that starts in the meantime.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use tokio::time::Instant;

use crate::store::sql::micros;
use crate::store::{Store, StoreError};

/// The clock, and how far it is behind the newest order, which the last entry of an index tells.
const CLOCK: &str = r"
    select now(6), coalesce(timestampdiff(microsecond, now(6), max(created_at)), 0)
    from orders
";

/// A smaller step is a usual correction of a clock, and passes by itself.
const BEHIND_MIN: Duration = Duration::from_secs(1);

/// If an answer takes longer, one cannot say when the clock was read.
const ANSWER_MAX: Duration = Duration::from_millis(500);

/// A newest order in the future counts for no more than this. One that was placed while the clock was years ahead would
/// otherwise make every claim look through the orders of years.
const NEWEST_SAYS_MAX: Duration = Duration::from_hours(24);

/// The longest pause between two attempts: no change makes an order due later.
const PAUSE_MAX: Duration = Duration::from_mins(10);

/// What a process knows of the database's clock.
#[derive(Debug, Default)]
pub(in crate::store) struct Clock(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// The latest reading, and when it was taken.
    read: Option<(DateTime<Utc>, Instant)>,
    /// When the clock will have caught up, after it went back.
    behind_until: Option<Instant>,
}

impl Known {
    fn behind(&self, now: Instant) -> Duration {
        self.behind_until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now))
    }
}

/// The range of `available_at` in which due orders are looked for (see `is_due!` in `claim.rs`).
pub(super) struct Scan {
    pub(super) from: NaiveDateTime,
    /// How far into the clock's future: there are the orders that were due before it went back.
    pub(super) ahead_us: u64,
}

/// The earliest time that the database knows: before every order.
pub(in crate::store) fn earliest() -> NaiveDateTime {
    DateTime::from_timestamp(-30_610_224_000, 0).unwrap_or(DateTime::<Utc>::MIN_UTC).naive_utc()
}

impl Clock {
    /// The range from `cursor` on. It begins at the earliest time if there is no cursor, or while the clock is behind:
    /// then orders placed since it went back lie before the cursor.
    pub(super) fn scan(&self, cursor: Option<DateTime<Utc>>) -> Scan {
        let ahead = self.scan_ahead();
        let cursor = cursor.filter(|_| ahead.is_zero());
        Scan { from: cursor.map_or_else(earliest, |cursor| cursor.naive_utc()), ahead_us: micros(ahead) }
    }

    fn scan_ahead(&self) -> Duration {
        let behind = self.known().behind(Instant::now());
        if behind.is_zero() { Duration::ZERO } else { behind + PAUSE_MAX }
    }

    /// Notes a reading that was asked for at `asked` and answered `now`, and returns how far the clock is behind.
    fn read(&self, clock: DateTime<Utc>, behind_newest: Duration, asked: Instant, now: Instant) -> Duration {
        let mut known = self.known();
        let mut went_back = TimeDelta::zero();
        if now - asked < ANSWER_MAX {
            went_back = known.read.map_or(went_back, |(before, at)| before + (now - at) - clock);
            known.read = Some((clock, now));
        }
        // A step back adds to the rest of an earlier one, and a step forward reduces it.
        let is_step = went_back.abs().to_std().is_ok_and(|step| step >= BEHIND_MIN);
        let left = TimeDelta::from_std(known.behind(now)).unwrap_or_default()
            + if is_step { went_back } else { TimeDelta::zero() };
        let behind = behind_newest.min(NEWEST_SAYS_MAX).max(left.to_std().unwrap_or_default());
        known.behind_until = (behind >= BEHIND_MIN).then(|| now + behind);
        behind
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store {
    /// Reads the database's clock, so that claims allow for it, and returns how far it is behind an earlier time of its
    /// own.
    pub async fn check_clock(&self) -> Result<Duration, StoreError> {
        let asked = Instant::now();
        let (clock, behind_newest) = self.read_clock().await?;
        Ok(self.clock.read(clock, behind_newest, asked, Instant::now()))
    }

    /// The database's clock, and how far it is behind the newest order.
    pub(in crate::store) async fn read_clock(&self) -> Result<(DateTime<Utc>, Duration), StoreError> {
        self.call("read the database's clock", async |connection| {
            let (clock, behind_us): (DateTime<Utc>, i64) = sqlx::query_as(CLOCK).fetch_one(&mut *connection).await?;
            let behind = Duration::from_micros(u64::try_from(behind_us).unwrap_or_default());
            Ok((clock, if behind < BEHIND_MIN { Duration::ZERO } else { behind }))
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400_000;

    #[test]
    fn a_clock_is_behind_by_its_steps_back_and_by_the_newest_order() {
        // Readings: when, what the clock says, how far it is behind the newest order. Then how far it is behind. In ms.
        let cases = [
            ("never seen before", vec![(0, 0, 0)], 0),
            ("it went back", vec![(0, 0, 0), (3_000, -597_000, 0)], 600_000),
            ("it is on its way", vec![(0, 0, 0), (3_000, -597_000, 0), (103_000, -497_000, 0)], 500_000),
            ("it is there again", vec![(0, 0, 0), (3_000, -597_000, 0), (604_000, 4_000, 0)], 0),
            ("it was set right again", vec![(0, 0, 0), (3_000, -597_000, 0), (6_000, 6_000, 0)], 0),
            ("the newest order tells a new process", vec![(0, 0, 90_000)], 90_000),
            ("an order of years ahead says no more than a day", vec![(0, 0, 100_000_000_000)], DAY),
            ("a small step back", vec![(0, 0, 0), (9_999, 9_000, 0)], 0),
            ("a step forward", vec![(0, 0, 0), (11_000, 600_000, 0)], 0),
            ("steps of both kinds", vec![(0, 0, 0), (9_999, 9_000, 0), (11_000, 600_000, 0)], 0),
        ];
        for (case, readings, behind) in cases {
            let (clock, start) = (Clock::default(), Instant::now());
            let mut found = Duration::ZERO;
            for (after, says, behind_newest) in readings {
                let now = start + Duration::from_millis(after);
                found = clock.read(at(says), Duration::from_millis(behind_newest), now, now);
            }

            assert_eq!(TimeDelta::from_std(found).unwrap(), TimeDelta::milliseconds(behind), "{case}");
            assert_eq!(clock.scan_ahead() > PAUSE_MAX, behind > 0, "{case}");
        }
    }

    #[test]
    fn an_answer_that_took_long_is_no_step() {
        let (clock, start) = (Clock::default(), Instant::now());
        for (asked, answered, says) in [(0, 0, 0), (10, 12, 10), (15, 15, 15)] {
            let [asked, answered] = [asked, answered].map(|second| start + Duration::from_secs(second));
            clock.read(at(says * 1_000), Duration::ZERO, asked, answered);
        }

        assert_eq!(clock.scan_ahead(), Duration::ZERO);
    }

    fn at(millis: i64) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(1_000_000_000 + millis).unwrap()
    }
}
