//! Shapes of what people ask about the queue and about an order's way through it.

use std::time::Duration;

use chrono::{DateTime, Utc};
use orders_shared::domain::{
    Event, EventKind, LiveWorker, Order, OrderCounts, OrderId, OrderStatus, Queue, Situation, Why, WorkerId,
};
use poem_openapi::types::Example;
use poem_openapi::{Enum, Object};
use serde::Serialize;
use uuid::Uuid;

use super::Status;
use crate::payload::{Fields, Shape};

/// How an order is to be retried.
#[derive(Object)]
#[oai(example)]
pub(crate) struct RetryOrder {
    /// Whether to retry it though it is poison; false where it is missing or null.
    force: Option<bool>,
}

impl Example for RetryOrder {
    fn example() -> Self {
        Self { force: Some(true) }
    }
}

impl Shape for RetryOrder {
    /// Whether it is forced.
    type Meaning = bool;

    const BYTES_MAX: usize = 4 << 10;

    fn read(fields: &mut Fields<'_>) -> Option<bool> {
        Some(fields.optional("force", Fields::boolean).unwrap_or_default())
    }
}

/// Whether orders are claimed.
#[derive(Object, Serialize)]
pub(crate) struct PauseState {
    /// Whether no order is claimed.
    pub(crate) paused: bool,
    /// Since when; null when the queue is not paused.
    pub(crate) paused_at: Option<DateTime<Utc>>,
}

/// The queue now.
#[derive(Object, Serialize)]
#[oai(rename = "Queue")]
pub(crate) struct QueueState {
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
pub(crate) struct Depth {
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
pub(crate) struct OldestDue {
    /// Its id.
    order_id: Uuid,
    /// Since when it is due.
    available_at: DateTime<Utc>,
    /// For how many seconds.
    late_secs: f64,
}

/// A worker that is alive.
#[derive(Object, Serialize)]
#[oai(rename = "Worker")]
pub(crate) struct WorkerState {
    /// Its id: another one after each start.
    worker_id: Uuid,
    /// Its machine.
    host: String,
    /// Its process there.
    pid: u32,
    /// Its release.
    version: String,
    /// Orders that it can work on at once.
    slots: u32,
    /// Orders that it worked on at its last heartbeat.
    busy: u32,
    /// When it started.
    started_at: DateTime<Utc>,
    /// Its last heartbeat.
    heartbeat_at: DateTime<Utc>,
}

impl From<Queue> for QueueState {
    fn from(queue: Queue) -> Self {
        let oldest_due = queue.oldest_due.map(|(order_id, available_at, late): (OrderId, _, Duration)| OldestDue {
            order_id: order_id.uuid(),
            available_at,
            late_secs: late.as_secs_f64(),
        });
        Self {
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

impl From<LiveWorker> for WorkerState {
    fn from(worker: LiveWorker) -> Self {
        let LiveWorker { worker_id, host, pid, version, slots, busy, started_at, heartbeat_at } = worker;
        Self { worker_id: worker_id.uuid(), host, pid, version, slots, busy, started_at, heartbeat_at }
    }
}

/// A page of an order's story.
#[derive(Object, Serialize)]
pub(crate) struct Story {
    /// What happened to it, oldest first.
    pub(crate) events: Vec<OrderEvent>,
    /// The next page's `cursor`; null on the last one.
    pub(crate) next_cursor: Option<String>,
}

/// Something that happened to an order.
#[derive(Object, Serialize)]
pub(crate) struct OrderEvent {
    /// When.
    at: DateTime<Utc>,
    /// What.
    event: What,
    /// The attempt that began or ended; null for what people did.
    attempt: Option<u16>,
    /// The worker that made the attempt.
    worker_id: Option<Uuid>,
    /// How long the attempt took, in milliseconds, where it ended.
    duration_ms: Option<f64>,
    /// What went wrong.
    error: Option<String>,
    /// When the order may be claimed again, where it may.
    available_at: Option<DateTime<Utc>>,
}

/// What can happen to an order.
#[derive(Clone, Copy, Enum, Serialize)]
#[oai(rename_all = "snake_case", rename = "OrderEventKind")]
#[serde(rename_all = "snake_case")]
enum What {
    /// It was placed.
    Placed,
    /// A worker claimed it.
    Claimed,
    /// An attempt failed; another follows.
    AttemptFailed,
    /// It failed for good.
    Failed,
    /// A worker that stopped handed it back.
    Released,
    /// It was taken back from a dead worker.
    Rescued,
    /// Somebody gave it all its attempts anew.
    Retried,
    /// Somebody took it back.
    Canceled,
    /// It was done.
    Completed,
}

impl From<Event> for OrderEvent {
    fn from(event: Event) -> Self {
        let what = match event.kind {
            EventKind::Placed => What::Placed,
            EventKind::Claimed => What::Claimed,
            EventKind::AttemptFailed => What::AttemptFailed,
            EventKind::Failed => What::Failed,
            EventKind::Released => What::Released,
            EventKind::Rescued => What::Rescued,
            EventKind::Retried => What::Retried,
            EventKind::Canceled => What::Canceled,
            EventKind::Completed => What::Completed,
        };
        Self {
            at: event.at,
            event: what,
            attempt: event.attempt,
            worker_id: event.worker_id.map(WorkerId::uuid),
            duration_ms: event.duration.map(millis),
            error: event.error,
            available_at: event.available_at,
        }
    }
}

/// Milliseconds of whole microseconds, with no noise behind them.
#[expect(clippy::cast_precision_loss, reason = "no attempt lasts for centuries")]
fn millis(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1_000.0
}

/// Why an order is not done yet.
#[derive(Object, Serialize)]
pub(crate) struct Explanation {
    /// The order.
    order_id: Uuid,
    /// Where it stands.
    status: Status,
    /// The reason for programs.
    code: Code,
    /// The reason for people, in one sentence.
    reason: String,
    /// When a worker may claim it; null unless it is PENDING.
    available_at: Option<DateTime<Utc>>,
    /// Since when the queue is paused; null when it is not.
    paused_at: Option<DateTime<Utc>>,
    /// Due orders that come before it, counted up to 10,000; null unless it is due itself.
    ahead: Option<u64>,
    /// Workers that are alive.
    live_workers: u64,
    /// The worker that holds it, if one does.
    claimed_by: Option<WorkerState>,
    /// Since when; null when none does.
    claimed_at: Option<DateTime<Utc>>,
    /// The attempt under way while it is PROCESSING, otherwise the attempts used.
    attempt: u16,
    /// Why the last attempt that failed did so; null where none did.
    last_error: Option<String>,
}

/// Why an order is not done yet: the first obstacle in its way.
#[derive(Clone, Copy, Enum, Serialize)]
#[oai(rename_all = "snake_case", rename = "WhyCode")]
#[serde(rename_all = "snake_case")]
enum Code {
    /// It is done.
    Completed,
    /// It was taken back.
    Canceled,
    /// It is out of attempts, or cannot succeed.
    Failed,
    /// A worker is at it.
    Claimed,
    /// Its worker died; it is about to be rescued.
    WorkerDied,
    /// It is not due yet.
    Scheduled,
    /// The database's clock went back behind the time at which it was due; a worker takes it all the same.
    ClockWentBack,
    /// An attempt failed, and the next one waits.
    WaitsForRetry,
    /// No order is claimed now.
    QueuePaused,
    /// It is due, and no worker is alive.
    NoLiveWorker,
    /// Others are due for longer.
    OthersAhead,
    /// It is the next.
    Next,
}

impl From<&Why> for Code {
    fn from(why: &Why) -> Self {
        match why {
            Why::Completed => Self::Completed,
            Why::Canceled => Self::Canceled,
            Why::Failed => Self::Failed,
            Why::Claimed => Self::Claimed,
            Why::WorkerDied => Self::WorkerDied,
            Why::Scheduled => Self::Scheduled,
            Why::ClockWentBack => Self::ClockWentBack,
            Why::WaitsForRetry => Self::WaitsForRetry,
            Why::QueuePaused => Self::QueuePaused,
            Why::NoLiveWorker => Self::NoLiveWorker,
            Why::OthersAhead => Self::OthersAhead,
            Why::Next => Self::Next,
        }
    }
}

impl Explanation {
    pub(crate) fn new(order: Order, situation: Situation) -> Self {
        let why = Why::of(&order, &situation);
        let held = order.status == OrderStatus::Processing;
        let due = order.available_at.is_some_and(|at| at <= situation.now);
        Self {
            order_id: order.order_id.uuid(),
            status: order.status.into(),
            code: Code::from(&why),
            reason: why.sentence(&order, &situation),
            available_at: order.available_at,
            paused_at: situation.paused_at,
            ahead: due.then_some(situation.ahead),
            live_workers: situation.live_workers,
            claimed_by: situation.holder.filter(|_| held).map(WorkerState::from),
            claimed_at: order.claimed_at.filter(|_| held),
            attempt: order.attempt,
            last_error: order.last_error,
        }
    }
}
