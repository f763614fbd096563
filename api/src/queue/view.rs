use std::time::Duration;

use chrono::{DateTime, Utc};
use orders_shared::domain::{OrderCounts, OrderId, Queue};
use orders_shared::version::Version;
use poem_openapi::Object;
use serde::Serialize;
use uuid::Uuid;

use crate::wire::worker::WorkerState;

/// Whether the queue is paused.
#[derive(Object, Serialize)]
pub struct PauseState {
    /// Whether the queue is paused, so that no order is claimed.
    paused: bool,
    /// When it was paused; null if it is not.
    paused_at: Option<DateTime<Utc>>,
}

impl PauseState {
    /// Paused at this time, or not paused.
    #[must_use]
    pub fn new(paused_at: Option<DateTime<Utc>>) -> Self {
        Self { paused: paused_at.is_some(), paused_at }
    }
}

/// The queue at one moment.
#[derive(Object, Serialize)]
#[oai(rename = "Queue")]
pub struct QueueState {
    /// Version and revision of the API that answers, such as `0.1.0+3f2a9c1d`.
    version: String,
    /// Whether the queue is paused, so that no order is claimed.
    paused: bool,
    /// When it was paused; null if it is not.
    paused_at: Option<DateTime<Utc>>,
    /// How many orders are in each status.
    depth: Depth,
    /// The order that has been due for longest; null if none is due.
    oldest_due: Option<OldestDue>,
    /// All live workers.
    workers: Vec<WorkerState>,
}

/// How many orders are in each status.
#[derive(Object, Serialize)]
#[oai(rename_all = "UPPERCASE")]
#[serde(rename_all = "UPPERCASE")]
struct Depth {
    /// Orders that wait for a worker.
    pending: u64,
    /// Orders that a worker has claimed.
    processing: u64,
    /// Orders that are done.
    completed: u64,
    /// Orders that failed for good.
    failed: u64,
    /// Orders that were canceled.
    canceled: u64,
}

/// The order that has been due for longest.
#[derive(Object, Serialize)]
struct OldestDue {
    /// The order's id.
    order_id: Uuid,
    /// When it became due.
    available_at: DateTime<Utc>,
    /// Seconds since then.
    late_secs: f64,
}

impl QueueState {
    /// The queue, as an API of this version shows it.
    #[must_use]
    pub fn new(queue: Queue, version: Version) -> Self {
        let oldest_due = queue.oldest_due.map(|(order_id, available_at, late): (OrderId, _, Duration)| OldestDue {
            order_id: order_id.uuid(),
            available_at,
            late_secs: late.as_secs_f64(),
        });
        Self {
            version: version.to_string(),
            paused: queue.paused_at.is_some(),
            paused_at: queue.paused_at,
            depth: Depth::from(queue.counts),
            oldest_due,
            workers: queue.workers.into_iter().map(WorkerState::from).collect(),
        }
    }
}

impl From<OrderCounts> for Depth {
    fn from(counts: OrderCounts) -> Self {
        let OrderCounts { pending, processing, completed, failed, canceled, .. } = counts;
        Self { pending, processing, completed, failed, canceled }
    }
}
