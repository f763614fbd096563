//! Where a claim starts to read the queue, so that it does not read again what this worker has already claimed.
//!
//! InnoDB keeps the index entry of a claimed order, marked as deleted, for as long as an older read view is open: a
//! backup in one transaction, a report, a forgotten console. A scan from the front of the queue reads all of them. At
//! full load that halves the rate within half a minute.
//!
//! A scan from the cursor does not see what lies before it: orders that came back to their old place, orders whose
//! commit took long, and those that a failed claim had locked. So now and then a claim makes a full scan, from the
//! front. The quicker a full scan is, the more often one is made; without such a read view it is as quick as any other.

use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};

/// Full scans may take one tenth of the time.
const FULL_SCANS_FOR_ONE_IN: u32 = 10;

/// The longest time between two full scans.
const FULL_SCAN_WITHIN: Duration = Duration::from_secs(10);

/// How far behind the cursor a scan begins: an order is due from the moment of its insert, but visible only once that
/// is committed.
const COMMITS_WITHIN: TimeDelta = TimeDelta::milliseconds(250);

#[derive(Debug)]
pub(crate) struct ClaimCursor {
    /// The due time of the first order that the last non-empty scan found.
    due_since: Option<DateTime<Utc>>,
    full_scan_at: Instant,
    is_full_scan_under_way: bool,
}

/// One scan of the queue, for a claim.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scan {
    /// It sees the orders that became due since then; `None` for a full scan.
    pub(crate) from: Option<DateTime<Utc>>,
    began: Instant,
}

impl ClaimCursor {
    pub(crate) fn new(now: Instant) -> Self {
        Self { due_since: None, full_scan_at: now, is_full_scan_under_way: false }
    }

    pub(crate) fn begin_scan(&mut self, now: Instant, must_be_full: bool) -> Scan {
        let is_full = must_be_full || (now >= self.full_scan_at && !self.is_full_scan_under_way);
        let from = self.due_since.filter(|_| !is_full).map(|since| since - COMMITS_WITHIN);
        self.is_full_scan_under_way |= from.is_none();
        Scan { from, began: now }
    }

    /// Moves the cursor to the first order that this scan found, if it found any.
    pub(crate) fn end_scan(&mut self, now: Instant, scan: Scan, due_since: Option<DateTime<Utc>>) {
        if scan.from.is_none() {
            self.is_full_scan_under_way = false;
            self.full_scan_at = now + FULL_SCAN_WITHIN.min((now - scan.began) * FULL_SCANS_FOR_ONE_IN);
        }
        // Another scan may have moved the cursor back since, to orders that this scan did not read.
        if scan.from <= self.due_since {
            self.due_since = due_since.or(self.due_since);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(seconds: i64) -> Option<DateTime<Utc>> {
        DateTime::from_timestamp(1_000_000 + seconds, 0)
    }

    fn just_before(since: Option<DateTime<Utc>>) -> Option<DateTime<Utc>> {
        since.map(|since| since - COMMITS_WITHIN)
    }

    /// A cursor that stood at 0 and has just made a full scan, which took this long and found this order.
    fn cursor(took: Duration, found: Option<DateTime<Utc>>) -> (ClaimCursor, Instant) {
        let began = Instant::now();
        let mut cursor = ClaimCursor::new(began);
        for (ended, found) in [(began, at(0)), (began + took, found)] {
            let scan = cursor.begin_scan(began, true);
            cursor.end_scan(ended, scan, found);
        }
        (cursor, began + took)
    }

    #[test]
    fn scans_go_on_from_the_cursor_for_ten_times_as_long_as_a_full_scan_took_and_for_ten_seconds_at_most() {
        for (took, found, after, from) in [
            (SECOND / 2, at(3), 4 * SECOND, just_before(at(3))),
            (SECOND / 2, at(3), 5 * SECOND, None),
            (5 * SECOND, None, 9 * SECOND, just_before(at(0))),
            (5 * SECOND, None, 10 * SECOND, None),
        ] {
            let (mut cursor, now) = cursor(took, found);

            assert_eq!(cursor.begin_scan(now + after, false).from, from, "{took:?} {found:?} {after:?}");
        }
    }

    #[test]
    fn a_scan_moves_the_cursor_to_what_it_found_and_leaves_it_where_it_found_nothing() {
        let (mut cursor, now) = cursor(SECOND, at(0));
        for (found, next) in [(at(5), at(5)), (None, at(5))] {
            let scan = cursor.begin_scan(now, false);

            cursor.end_scan(now, scan, found);

            assert_eq!(cursor.begin_scan(now, false).from, just_before(next));
        }
    }

    #[test]
    fn one_full_scan_is_under_way_at_a_time_unless_it_must_be() {
        let (mut cursor, now) = cursor(SECOND, at(0));

        for (must_be_full, from) in [(false, None), (false, just_before(at(0))), (true, None)] {
            assert_eq!(cursor.begin_scan(now + 10 * SECOND, must_be_full).from, from);
        }
    }

    #[test]
    fn until_an_order_was_found_every_scan_is_full() {
        let now = Instant::now();
        let mut cursor = ClaimCursor::new(now);

        assert_eq!([(); 2].map(|()| cursor.begin_scan(now, false).from), [None, None]);
    }

    #[test]
    fn a_scan_that_began_behind_does_not_hide_what_a_full_scan_has_found() {
        let (mut cursor, now) = cursor(SECOND, at(100));
        let (behind, full) = (cursor.begin_scan(now, false), cursor.begin_scan(now, true));
        cursor.end_scan(now, full, at(7));

        cursor.end_scan(now, behind, at(101));

        assert_eq!(cursor.due_since, at(7));
    }
}
