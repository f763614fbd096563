use std::num::NonZero;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use poem::http::StatusCode;

use crate::problems::{Kind, Problem};

/// A request that takes longer has a line in the log, unless it fails and has one for that; time spent waiting for
/// its body, or for what its caller asked to wait for, does not count. Shorter would tell of every busy moment,
/// longer would hide what callers notice.
const SLOW: Duration = Duration::from_secs(1);

/// Lines a second. Each has a cause of its own, so that fewer would hide some; more would let a stranger, or a database that is
/// away, fill the disk with the log.
const LINES_A_SECOND: u32 = 10;

/// The lines of the log about requests that did not go well. A caller can make as many such requests as he likes, but not as
/// many lines: beyond so many a second they are counted only, and the next line has their number as `unsaid`.
#[derive(Debug, Default)]
pub(super) struct FailureLog {
    /// For faults of ours alone: nothing that a caller can cause at will hides one.
    broken: Quota,
    /// For requests that are turned away, which come by the thousand.
    overloaded: Quota,
    others: Quota,
}

impl FailureLog {
    /// Tells of a request that failed, if the failure is ours.
    pub(super) fn failed(&self, problem: &Problem) {
        let quota = match () {
            () if problem.is_broken() => &self.broken,
            () if problem.is(Kind::Overloaded) => &self.overloaded,
            () => &self.others,
        };
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
        if let Some(unsaid) = self.others.take() {
            let duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
            tracing::warn!(status = status.as_u16(), duration_ms, unsaid = NonZero::new(unsaid), "a request was slow");
        }
    }
}

/// So many lines a second.
#[derive(Debug, Default)]
struct Quota(Mutex<QuotaState>);

#[derive(Debug, Default)]
struct QuotaState {
    since: Option<Instant>,
    lines: u32,
    unsaid: u64,
}

impl Quota {
    /// Whether another line may be written now; then how many were not since the last one.
    fn take(&self) -> Option<u64> {
        let mut used = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if used.since.is_none_or(|since| since.elapsed() >= Duration::from_secs(1)) {
            (used.since, used.lines) = (Some(Instant::now()), 0);
        }
        if used.lines == LINES_A_SECOND {
            used.unsaid += 1;
            return None;
        }
        used.lines += 1;
        Some(std::mem::take(&mut used.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_its_lines_a_second_has_a_number_which_the_next_line_tells() {
        let quota = Quota::default();
        let told = |lines: u32| (0..lines).filter_map(|_| quota.take()).collect::<Vec<_>>();
        assert_eq!(told(LINES_A_SECOND + 3), [0; LINES_A_SECOND as usize]);

        quota.0.lock().unwrap().since = Instant::now().checked_sub(Duration::from_secs(1));

        assert_eq!(told(2), [3, 0]);
    }
}
