use std::time::Duration;

use chrono::{DateTime, Utc};
use orders_shared::domain::{OrderCounts, OrderId, Queue};
use orders_shared::version::Version;
use poem_openapi::Object;
use serde::Serialize;
use uuid::Uuid;

use crate::wire::worker::WorkerState;

/// Whether orders are claimed.
#[derive(Object, Serialize)]
pub struct PauseState {
    /// Whether no order is claimed.
    pub paused: bool,
    /// Since when; null when the queue is not paused.
    pub paused_at: Option<DateTime<Utc>>,
}

/// The queue now.
#[derive(Object, Serialize)]
#[oai(rename = "Queue")]
pub struct QueueState {
    /// Release and revision of the API that answers, as `0.1.0+3f2a9c1d`.
    version: String,
    /// Whether no order is claimed.
    paused: bool,
    /// Since when; null when the queue is not paused.
    paused_at: Option<DateTime<Utc>>,
    /// How many orders stand where.
    depth: Depth,
    /// The order that has been due longest; null when none is due.
    oldest_due: Option<OldestDue>,
    /// Every worker that is alive.
    workers: Vec<WorkerState>,
}

/// How many orders are in each status.
#[derive(Object, Serialize)]
#[oai(rename_all = "UPPERCASE")]
#[serde(rename_all = "UPPERCASE")]
struct Depth {
    /// Orders that wait.
    pending: u64,
    /// Orders that a worker has claimed.
    processing: u64,
    /// Orders that are done.
    completed: u64,
    /// Orders that could not be done.
    failed: u64,
    /// Orders that were taken back.
    canceled: u64,
}

/// The order that has been due longest.
#[derive(Object, Serialize)]
struct OldestDue {
    /// Its id.
    order_id: Uuid,
    /// Since when it is due.
    available_at: DateTime<Utc>,
    /// For how many seconds.
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
