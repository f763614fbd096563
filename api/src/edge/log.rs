use std::num::NonZero;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use poem::http::StatusCode;

use crate::problems::{Kind, Problem};

/// A request that takes longer gets a line in the log, unless it fails and gets one for that. Time spent waiting for
/// its body, or with `?wait`, does not count. A shorter limit would log every busy moment; a longer one would hide
/// delays that callers notice.
const SLOW: Duration = Duration::from_secs(1);

/// Lines a second. Fewer would hide causes, as each line has its own; more would let a stranger, or an outage of the
/// database, fill the disk.
const LINES_A_SECOND: u32 = 10;

/// Logs requests that failed or were slow. Callers can cause any number of them, so the lines of each second are
/// limited: the rest is only counted, and the next line has their number as `unsaid`.
#[derive(Debug, Default)]
pub(super) struct FailureLog {
    /// For faults of this program alone, so that nothing that a caller can cause hides one.
    broken: Quota,
    /// For requests that are turned away, which may be thousands.
    overloaded: Quota,
    others: Quota,
}

impl FailureLog {
    /// Logs a request that failed; a client's fault only at debug level.
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

    /// Logs a request if it was slow. The span names it.
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

/// Limits the number of lines a second.
#[derive(Debug, Default)]
struct Quota(Mutex<QuotaState>);

#[derive(Debug, Default)]
struct QuotaState {
    since: Option<Instant>,
    lines: u32,
    unsaid: u64,
}

impl Quota {
    /// If another line may be written now: how many lines were left out since the last one.
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
    fn lines_beyond_the_quota_are_counted_and_the_next_line_has_their_number() {
        let quota = Quota::default();
        let told = |lines: u32| (0..lines).filter_map(|_| quota.take()).collect::<Vec<_>>();
        assert_eq!(told(LINES_A_SECOND + 3), [0; LINES_A_SECOND as usize]);

        quota.0.lock().unwrap().since = Instant::now().checked_sub(Duration::from_secs(1));

        assert_eq!(told(2), [3, 0]);
    }
}
