use std::mem;
use std::num::NonZero;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use poem::http::StatusCode;

use crate::payload::Problem;

/// A request that takes longer has a line in the log, unless it fails and has one for that; time spent waiting for
/// its body, or for what its caller asked to wait for, does not count. Shorter would tell of every busy moment,
/// longer would hide what callers notice.
const SLOW: Duration = Duration::from_secs(1);

/// Lines a second about requests that were turned away: one is like the other, and they come by the thousand.
const TURNED_AWAY: u32 = 1;

/// Lines a second about requests that failed or were slow. Each has a cause of its own, so that fewer would hide some; more
/// would let a stranger, or a database that is away, fill the disk with the log.
const FAILED: u32 = 10;

/// The lines of the log about requests that did not go well. A caller can make as many such requests as he likes, but not as
/// many lines: beyond so many a second they are counted only, and the next line has their number as `unsaid`.
#[derive(Debug)]
pub(super) struct Failures {
    turned_away: Quota,
    /// For faults of ours alone: nothing that a caller can cause at will hides one.
    broken: Quota,
    failed: Quota,
}

impl Default for Failures {
    fn default() -> Self {
        Self { turned_away: Quota::new(TURNED_AWAY), broken: Quota::new(FAILED), failed: Quota::new(FAILED) }
    }
}

impl Failures {
    /// Tells of a request that was turned away at the door.
    pub(super) fn turned_away(&self, problem: &Problem) {
        if let Some(unsaid) = self.turned_away.take() {
            tracing::warn!(unsaid = NonZero::new(unsaid), cause = %problem, "a request was turned away");
        }
    }

    /// Tells of a request that failed, if the failure is ours.
    pub(super) fn failed(&self, problem: &Problem) {
        let quota = if problem.is_broken() { &self.broken } else { &self.failed };
        if !problem.is_ours() {
            problem.log(None);
        } else if let Some(unsaid) = quota.take() {
            problem.log(NonZero::new(unsaid));
        }
    }

    /// Tells of a request that was slow, if it was. The span names it.
    pub(super) fn slow(&self, status: StatusCode, took: Duration) {
        if took < SLOW || status.is_server_error() {
            return;
        }
        if let Some(unsaid) = self.failed.take() {
            let duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
            tracing::warn!(status = status.as_u16(), duration_ms, unsaid = NonZero::new(unsaid), "a request was slow");
        }
    }
}

/// So many lines a second.
#[derive(Debug)]
struct Quota {
    a_second: u32,
    used: Mutex<Used>,
}

#[derive(Debug)]
struct Used {
    since: Instant,
    lines: u32,
    unsaid: u64,
}

impl Quota {
    fn new(a_second: u32) -> Self {
        Self { a_second, used: Mutex::new(Used { since: Instant::now(), lines: 0, unsaid: 0 }) }
    }

    /// Whether another line may be written now; then how many were not since the last one.
    fn take(&self) -> Option<u64> {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if used.since.elapsed() >= Duration::from_secs(1) {
            (used.since, used.lines) = (Instant::now(), 0);
        }
        if used.lines == self.a_second {
            used.unsaid += 1;
            return None;
        }
        used.lines += 1;
        Some(mem::take(&mut used.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_its_lines_of_a_second_a_quota_counts_and_the_next_line_has_the_number() {
        let quota = Quota::new(2);
        assert_eq!([quota.take(), quota.take(), quota.take(), quota.take()], [Some(0), Some(0), None, None]);

        let before = Instant::now().checked_sub(Duration::from_secs(1)).unwrap();
        quota.used.lock().unwrap().since = before;

        assert_eq!([quota.take(), quota.take(), quota.take()], [Some(2), Some(0), None]);
    }
}
