use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::payload::Problem;

/// Time between two lines about requests that were turned away. They come by the thousand, and writing a line for each
/// would be more work than answering some.
const BETWEEN_LINES: Duration = Duration::from_secs(1);

/// Requests that were turned away at the door.
#[derive(Debug, Default)]
pub(crate) struct Shed {
    unsaid: Mutex<(Option<Instant>, u64)>,
}

impl Shed {
    /// Counts one, and says how many there were where the last line is long enough ago.
    pub(crate) fn log(&self, problem: Problem) -> Problem {
        let mut unsaid = self.unsaid.lock().unwrap_or_else(PoisonError::into_inner);
        let (said, count) = &mut *unsaid;
        *count += 1;
        if said.is_none_or(|said| said.elapsed() >= BETWEEN_LINES) {
            tracing::warn!(requests = *count, cause = %problem, "requests were turned away");
            (*said, *count) = (Some(Instant::now()), 0);
        }
        problem
    }
}
