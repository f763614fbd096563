use std::net::SocketAddr;
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::{OrderId, OrderStatus, WorkerId};

/// What a worker process says of itself when it registers.
#[derive(Clone, Debug)]
pub struct Registration {
    /// Its identity from now on.
    pub worker_id: WorkerId,
    /// The machine's name.
    pub host: String,
    /// The process's number there.
    pub pid: u32,
    /// The program's version.
    pub version: String,
    /// Orders that it can work on at once.
    pub slots: u32,
    /// Where it hears that orders are there, if it does.
    pub wakeup_address: Option<SocketAddr>,
    /// Without a heartbeat for this long it is dead.
    pub dead_after: Duration,
}

/// What a heartbeat came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heartbeat {
    /// The worker was declared dead: whatever it holds belongs to others.
    Dead,
    /// It lives.
    Alive {
        /// No other worker lives for longer.
        eldest: bool,
    },
}

/// A worker that is alive, by the database's clock.
#[derive(Clone, Debug)]
pub struct LiveWorker {
    /// Its identity.
    pub worker_id: WorkerId,
    /// The machine's name.
    pub host: String,
    /// The process's number there.
    pub pid: u32,
    /// The program's version.
    pub version: String,
    /// Orders that it can work on at once.
    pub slots: u32,
    /// Orders that it worked on at its last heartbeat.
    pub busy: u32,
    /// When it registered.
    pub started_at: DateTime<Utc>,
    /// Its last heartbeat.
    pub heartbeat_at: DateTime<Utc>,
}

/// The queue at one moment.
#[derive(Clone, Debug)]
pub struct Queue {
    /// Since when no order is claimed; `None` when it is not paused.
    pub paused_at: Option<DateTime<Utc>>,
    /// How many orders stand where.
    pub counts: OrderCounts,
    /// The order that has been due longest, since when, and for how long.
    pub oldest_due: Option<(OrderId, DateTime<Utc>, Duration)>,
    /// Every worker that is alive, the longest running first.
    pub workers: Vec<LiveWorker>,
    /// How far the database's clock is behind the newest order: it went back.
    pub clock_behind: Duration,
}

/// How many orders stand where, at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OrderCounts {
    /// Orders that wait.
    pub pending: u64,
    /// Orders that a worker has claimed.
    pub processing: u64,
    /// Orders that are done.
    pub completed: u64,
    /// Orders that could not be done.
    pub failed: u64,
    /// Orders that were taken back.
    pub canceled: u64,
    /// From creation to completion, summed over all completed orders.
    pub processing_time: Duration,
}

impl OrderCounts {
    /// Orders in one status.
    #[must_use]
    pub fn of(&self, status: OrderStatus) -> u64 {
        match status {
            OrderStatus::Pending => self.pending,
            OrderStatus::Processing => self.processing,
            OrderStatus::Completed => self.completed,
            OrderStatus::Failed => self.failed,
            OrderStatus::Canceled => self.canceled,
        }
    }

    /// Mean seconds from creation to completion; 0.0 when nothing was completed.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a mean of counts below 2^53 loses nothing that shows")]
    pub fn average_processing_secs(&self) -> f64 {
        if self.completed == 0 { 0.0 } else { self.processing_time.as_secs_f64() / self.completed as f64 }
    }
}
