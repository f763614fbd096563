//! How the connections are shared out among their uses.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

/// What a connection is for. Each lane has connections of its own, so that none holds another up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum Lane {
    /// The program's own work: the intake's commits, or a worker's claims, outcomes and rescues.
    Work,
    /// Reads that serve all callers at once: readiness, counts, the queue, the orders that callers wait for.
    Watch,
    /// Requests of single callers.
    Callers,
}

impl Lane {
    pub(super) const COUNT: usize = 3;

    /// The item of this lane, where each lane has one.
    pub(super) fn of<T>(self, [work, watch, callers]: [T; Self::COUNT]) -> T {
        match self {
            Self::Work => work,
            Self::Watch => watch,
            Self::Callers => callers,
        }
    }

    /// How long a call waits for a connection. Work can only wait; a caller is better told soon to try again later.
    pub(super) const fn wait_limit(self) -> Duration {
        match self {
            Self::Work => Duration::from_secs(3),
            Self::Watch | Self::Callers => Duration::from_secs(1),
        }
    }
}

/// A permit for each connection that a lane may have. If there are few connections, some lanes share their permits.
#[derive(Debug)]
pub(super) struct Lanes([Arc<Semaphore>; Lane::COUNT]);

impl Lanes {
    /// Shares `max` connections out. Work gets as many as it can use, as long as one is left for the others.
    pub(super) fn sharing(max: usize, work: usize) -> Self {
        let permits = |count| Arc::new(Semaphore::new(count));
        let work = work.min(max.saturating_sub(1)).max(1);
        let rest = max.saturating_sub(work);
        let work = permits(work);
        Self(match rest {
            0 => [Arc::clone(&work), Arc::clone(&work), work],
            1 => {
                let both = permits(rest);
                [work, Arc::clone(&both), both]
            }
            2..6 => [work, permits(1), permits(rest - 1)],
            _ => [work, permits(2), permits(rest - 2)],
        })
    }

    /// The permits of one lane.
    pub(super) fn permits(&self, lane: Lane) -> &Arc<Semaphore> {
        lane.of(self.0.each_ref())
    }

    /// Hands out no more permits.
    pub(super) fn close(&self) {
        for permits in &self.0 {
            permits.close();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_has_what_it_can_use_and_few_connections_are_shared_within_the_maximum() {
        for (max, work, permits) in [
            (10, 2, vec![2, 2, 6]),
            (10, 5, vec![5, 1, 4]),
            (4, 2, vec![2, 1, 1]),
            (3, 2, vec![2, 1]),
            (3, 5, vec![2, 1]),
            (2, 2, vec![1, 1]),
            (2, 5, vec![1, 1]),
            (1, 1, vec![1]),
        ] {
            let mut lanes = Lanes::sharing(max, work).0.to_vec();
            lanes.dedup_by(|one, other| Arc::ptr_eq(one, other));

            assert_eq!(lanes.iter().map(|lane| lane.available_permits()).collect::<Vec<_>>(), permits, "{max} {work}");
        }
    }
}
