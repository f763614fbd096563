use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::Instant;

/// How much of the time may go by with looking back: one part in so many.
const LOOKS_BACK_FOR_ONE_IN: u32 = 10;

/// The longest time between two looks back.
const LOOKS_BACK_WITHIN: Duration = Duration::from_secs(10);

/// How far in front of the head a claim begins: orders are due from the moment of their statement, and are seen from the end
/// of its commit.
const COMMITS_WITHIN: TimeDelta = TimeDelta::milliseconds(250);

/// Where the queue begins, as far as this worker knows, so that it need not look at what it has claimed already.
///
/// The index entries of claimed orders stay for as long as anybody keeps a read view open that is older, a backup for example.
/// Who begins at the front of the queue reads them all to find the first order that waits: the more, the longer the view is
/// open. A claim that begins at the head reads few.
///
/// What is in front of the head it does not see: orders that came back to their old place, those whose commit took long, and
/// those of a claim that failed. So a claim looks back every now and then, from the front: the quicker that is, the more
/// often, and without such a view nearly always.
#[derive(Debug)]
pub(crate) struct Head {
    /// Since when the first order was due that was found last.
    since: Option<DateTime<Utc>>,
    looks_back_at: Instant,
    is_looking_back: bool,
}

/// One look at the queue, for a claim.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    /// It sees what is due since then; from the front of the queue without.
    pub(crate) from: Option<DateTime<Utc>>,
    began: Instant,
}

impl Head {
    pub(crate) fn new(now: Instant) -> Self {
        Self { since: None, looks_back_at: now, is_looking_back: false }
    }

    /// Begins a look; one that `must_look_back` begins at the front.
    pub(crate) fn look(&mut self, now: Instant, must_look_back: bool) -> Look {
        let looks_back = must_look_back || (now >= self.looks_back_at && !self.is_looking_back);
        let from = self.since.filter(|_| !looks_back).map(|since| since - COMMITS_WITHIN);
        self.is_looking_back |= from.is_none();
        Look { from, began: now }
    }

    /// A look is over: since when the first order was due that it found, if it found one.
    pub(crate) fn looked(&mut self, now: Instant, look: Look, since: Option<DateTime<Utc>>) {
        if look.from.is_none() {
            self.is_looking_back = false;
            self.looks_back_at = now + LOOKS_BACK_WITHIN.min((now - look.began) * LOOKS_BACK_FOR_ONE_IN);
        }
        // One that began further behind knows nothing of what another has found in front meanwhile.
        if look.from <= self.since {
            self.since = since.or(self.since);
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

    /// A head at this place, by a look back that took a second, until now.
    fn head(since: Option<DateTime<Utc>>) -> (Head, Instant) {
        let began = Instant::now();
        let mut head = Head::new(began);
        let look = head.look(began, false);
        assert_eq!(look.from, None);
        head.looked(began + SECOND, look, since);
        (head, began + SECOND)
    }

    #[test]
    fn looks_go_on_from_the_head_for_ten_times_as_long_as_looking_back_took() {
        let (mut head, now) = head(at(0));

        let look = head.look(now + 9 * SECOND, false);
        head.looked(now + 9 * SECOND, look, at(5));
        assert_eq!(look.from, just_before(at(0)));
        assert_eq!(head.look(now + 9 * SECOND, false).from, just_before(at(5)));

        assert_eq!(head.look(now + 10 * SECOND, false).from, None);
    }

    #[test]
    fn a_slow_look_back_is_repeated_within_ten_seconds_though_it_found_nothing() {
        let (mut head, now) = head(at(0));
        let look = head.look(now, true);
        let now = now + 5 * SECOND;
        head.looked(now, look, None);

        assert_eq!(head.look(now + 9 * SECOND, false).from, just_before(at(0)));
        assert_eq!(head.look(now + 10 * SECOND, false).from, None);
    }

    #[test]
    fn one_look_back_is_under_way_at_a_time_unless_it_must_be() {
        let (mut head, now) = head(at(0));
        let now = now + 10 * SECOND;

        assert_eq!(head.look(now, false).from, None);
        assert_eq!(head.look(now, false).from, just_before(at(0)));
        assert_eq!(head.look(now, true).from, None);
    }

    #[test]
    fn a_look_that_began_behind_does_not_hide_what_looking_back_has_found() {
        let (mut head, now) = head(at(100));
        let (behind, back) = (head.look(now, false), head.look(now, true));
        head.looked(now, back, at(7));

        head.looked(now, behind, at(101));

        assert_eq!(head.since, at(7));
    }

    #[test]
    fn until_an_order_was_found_every_look_begins_at_the_front() {
        let (mut head, now) = head(None);

        assert_eq!(head.look(now, false).from, None);
        assert_eq!(head.look(now, false).from, None);
    }
}
