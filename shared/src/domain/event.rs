use std::time::Duration;

use chrono::{DateTime, Utc};

use super::{Order, OrderStatus, WorkerId};

/// Something that happened to an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When, by the database's clock.
    pub at: DateTime<Utc>,
    /// What.
    pub kind: EventKind,
    /// The attempt that began or ended with it.
    pub attempt: Option<u16>,
    /// The worker that made that attempt.
    pub worker_id: Option<WorkerId>,
    /// How long the attempt took.
    pub duration: Option<Duration>,
    /// What went wrong.
    pub error: Option<String>,
    /// When the order may be claimed again.
    pub available_at: Option<DateTime<Utc>>,
}

/// What can happen to an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// It was placed.
    Placed,
    /// A worker claimed it.
    Claimed,
    /// An attempt failed; another will follow.
    AttemptFailed,
    /// It failed for good.
    Failed,
    /// A worker that stopped handed it back.
    Released,
    /// It was taken back from a dead worker.
    Rescued,
    /// A person gave it attempts anew.
    Retried,
    /// A person took it back.
    Canceled,
    /// It is done.
    Completed,
}

/// One stored event and the claim that it ended.
pub(crate) struct StoredEvent {
    pub(crate) event: Event,
    pub(crate) claimed_at: Option<DateTime<Utc>>,
}

/// The whole story of an order, oldest first: what its own row tells, and the events stored beside it.
#[must_use]
pub(crate) fn story(order: &Order, stored: Vec<StoredEvent>) -> Vec<Event> {
    let mut story = Vec::with_capacity(2 * stored.len() + 3);
    story.push(happened(order.created_at, EventKind::Placed));
    for StoredEvent { event, claimed_at } in stored {
        if let Some(at) = claimed_at {
            story.push(Event {
                attempt: event.attempt,
                worker_id: event.worker_id,
                ..happened(at, EventKind::Claimed)
            });
        }
        story.push(event);
    }
    let (attempt, worker_id) = (Some(order.attempt), order.worker_id);
    let under_way = matches!(order.status, OrderStatus::Processing | OrderStatus::Completed);
    if let Some(at) = order.claimed_at.filter(|_| under_way) {
        story.push(Event { attempt, worker_id, ..happened(at, EventKind::Claimed) });
        if let Some(done) = order.completed_at {
            let duration = (done - at).to_std().ok();
            story.push(Event { attempt, worker_id, duration, ..happened(done, EventKind::Completed) });
        }
    }
    story
}

fn happened(at: DateTime<Utc>, kind: EventKind) -> Event {
    Event { at, kind, attempt: None, worker_id: None, duration: None, error: None, available_at: None }
}
