use std::time::Duration;

use chrono::{DateTime, Utc};

use super::{Breaker, BreakerState, LiveWorker, Order, OrderStatus};

/// The facts around an order that say why it is not done yet.
#[derive(Clone, Debug)]
pub struct Situation {
    /// The database's clock.
    pub now: DateTime<Utc>,
    /// When the queue was paused; `None` if it is not.
    pub paused_at: Option<DateTime<Utc>>,
    /// Workers that are alive.
    pub live_workers: u64,
    /// The breaker that opened last, if all live workers push orders to a service and none of their breakers is closed.
    pub open_breaker: Option<Breaker>,
    /// The worker that works on the order, if it is alive.
    pub holder: Option<LiveWorker>,
    /// Due orders that come before this one, counted up to [`Situation::AHEAD_MAX`].
    pub ahead: u64,
    /// Since when the order waits for what its work depends on, and how often it was tried in vain; `None` if it does not.
    pub outage: Option<(DateTime<Utc>, u32)>,
    /// How far the database's clock is behind the newest order, after it went back.
    pub clock_behind: Duration,
}

impl Situation {
    /// Orders ahead are counted up to this number, which bounds the cost of the question.
    pub const AHEAD_MAX: u64 = 10_000;

    /// The breaker that opened last, if all these workers push orders to a service and none of their breakers is closed.
    #[must_use]
    pub fn open_breaker(live: &[LiveWorker]) -> Option<Breaker> {
        let open = |worker: &LiveWorker| worker.breaker.clone().filter(|breaker| breaker.state != BreakerState::Closed);
        let open: Vec<Breaker> = live.iter().map(open).collect::<Option<_>>()?;
        open.into_iter().max_by_key(|breaker| breaker.since)
    }
}

/// Why an order is not done yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// It is done.
    Completed,
    /// It was canceled.
    Canceled,
    /// It is out of attempts, or can never succeed.
    Failed,
    /// A worker is working on it.
    Claimed,
    /// Its worker died; it will be rescued.
    WorkerDied,
    /// It is not due yet, as its client requested.
    Scheduled,
    /// The database's clock went back to before the order's due time; a worker takes the order anyway.
    ClockWentBack,
    /// It is not due yet: an attempt failed, and the next one comes later.
    WaitsForRetry,
    /// What its work depends on is away.
    ServiceUnavailable,
    /// The queue is paused.
    QueuePaused,
    /// No worker is alive.
    NoLiveWorker,
    /// Other orders have been due for longer.
    OthersAhead,
    /// It is next.
    Next,
}

impl Why {
    /// Why `order` is not done yet: the first obstacle in its way.
    #[must_use]
    pub fn of(order: &Order, situation: &Situation) -> Self {
        match order.status {
            OrderStatus::Completed => Self::Completed,
            OrderStatus::Canceled => Self::Canceled,
            OrderStatus::Failed => Self::Failed,
            OrderStatus::Processing if situation.holder.is_some() => Self::Claimed,
            OrderStatus::Processing => Self::WorkerDied,
            OrderStatus::Pending if !is_due(order, situation) => {
                let is_wanted_later = order.process_after.is_some_and(|after| after > situation.now);
                if !situation.clock_behind.is_zero() && !is_wanted_later {
                    Self::ClockWentBack
                } else if situation.outage.is_some() {
                    Self::ServiceUnavailable
                } else if order.attempt > 0 {
                    Self::WaitsForRetry
                } else {
                    Self::Scheduled
                }
            }
            OrderStatus::Pending if situation.paused_at.is_some() => Self::QueuePaused,
            OrderStatus::Pending if situation.live_workers == 0 => Self::NoLiveWorker,
            OrderStatus::Pending if situation.open_breaker.is_some() => Self::ServiceUnavailable,
            OrderStatus::Pending if situation.ahead > 0 => Self::OthersAhead,
            OrderStatus::Pending => Self::Next,
        }
    }

    /// The reason for people, in one sentence.
    #[must_use]
    pub fn sentence(&self, order: &Order, situation: &Situation) -> String {
        let last_error = order.last_error.as_deref().unwrap_or("no error was recorded");
        let updated_at = time(Some(order.updated_at));
        match self {
            Self::Completed => format!("It was completed at {}.", time(order.completed_at)),
            Self::Canceled => format!("It was canceled at {updated_at}."),
            Self::Failed => format!("It failed at {updated_at}, after {}: {last_error}", attempts(order.attempt)),
            Self::Claimed => {
                let by = situation.holder.as_ref().map(|it| format!("{} (process {})", it.host, it.pid));
                let by = by.unwrap_or_else(|| "A worker".to_owned());
                format!("{by} has been working on it since {} (attempt {}).", time(order.claimed_at), order.attempt)
            }
            Self::WorkerDied => {
                "Its worker died; a live worker, if there is one, will take it over within seconds.".to_owned()
            }
            Self::Scheduled => format!("It is scheduled for {}.", time(order.available_at)),
            Self::ClockWentBack => format!(
                "The database's clock went back and is {} s behind the newest order; a worker will still take this \
                 order within seconds.",
                situation.clock_behind.as_secs()
            ),
            Self::WaitsForRetry => format!(
                "After {}, it will be tried again at {}; the last one failed: {last_error}",
                attempts(order.attempt),
                time(order.available_at)
            ),
            Self::ServiceUnavailable if is_due(order, situation) => {
                let breaker = situation.open_breaker.as_ref();
                format!(
                    "It is due, but workers have been sending no orders to their service since {}: {}",
                    time(breaker.map(|breaker| breaker.since)),
                    breaker.and_then(|breaker| breaker.reason.as_deref()).unwrap_or("no reason was recorded")
                )
            }
            Self::ServiceUnavailable => {
                let (since, times) = situation.outage.map_or((None, 0), |(since, times)| (Some(since), times));
                let tries = if times == 1 { "1 try".to_owned() } else { format!("{times} tries") };
                format!(
                    "What its work needs has been unavailable since {} ({tries}); it will be tried again at {}; the last \
                     error: {last_error}",
                    time(since),
                    time(order.available_at)
                )
            }
            Self::QueuePaused => format!("The queue has been paused since {}.", time(situation.paused_at)),
            Self::NoLiveWorker => "It is due, but no worker is alive.".to_owned(),
            Self::OthersAhead if situation.ahead >= Situation::AHEAD_MAX => {
                format!("It is due, but at least {} orders are ahead of it.", Situation::AHEAD_MAX)
            }
            Self::OthersAhead => format!("It is due; orders ahead of it: {}.", situation.ahead),
            Self::Next if order.is_suspect() => format!(
                "It is due, but {} workers were lost while they worked on it: it waits for a worker with nothing else \
                 under way.",
                order.rescues
            ),
            Self::Next => "It is due, and will be claimed next, as soon as a worker has a free slot.".to_owned(),
        }
    }
}

fn is_due(order: &Order, situation: &Situation) -> bool {
    order.available_at.is_none_or(|due| due <= situation.now)
}

fn attempts(attempts: u16) -> String {
    if attempts == 1 { "1 attempt".to_owned() } else { format!("{attempts} attempts") }
}

fn time(at: Option<DateTime<Utc>>) -> String {
    at.map_or_else(|| "an unknown time".to_owned(), |at| at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::WorkerId;

    /// A worker whose breaker has been in this state for so many seconds; `None` if it pushes nothing.
    fn worker(now: DateTime<Utc>, breaker: Option<(BreakerState, u64)>) -> LiveWorker {
        let breaker =
            breaker.map(|(state, secs)| Breaker { state, since: now - Duration::from_secs(secs), reason: None });
        LiveWorker {
            worker_id: WorkerId::fresh(),
            host: String::new(),
            pid: 1,
            version: String::new(),
            processor: None,
            breaker,
            slots: 1,
            busy: 0,
            started_at: now,
            heartbeat_at: now,
        }
    }

    #[test]
    fn a_service_is_unavailable_since_the_last_of_all_workers_stopped_sending() {
        let (closed, open, half_open) = (BreakerState::Closed, BreakerState::Open, BreakerState::HalfOpen);
        for (breakers, secs) in [
            (vec![], None),
            (vec![Some((closed, 9))], None),
            (vec![Some((open, 9))], Some(9)),
            (vec![Some((half_open, 9)), Some((open, 5))], Some(5)),
            (vec![Some((open, 9)), Some((closed, 5))], None),
            (vec![Some((open, 9)), None], None),
        ] {
            let now = Utc::now();
            let live: Vec<_> = breakers.iter().map(|breaker| worker(now, *breaker)).collect();

            let since = Situation::open_breaker(&live).map(|breaker| breaker.since);

            assert_eq!(since, secs.map(|secs| now - Duration::from_secs(secs)), "{breakers:?}");
        }
    }
}
