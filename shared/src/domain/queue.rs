use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::{OrderId, OrderStatus, WorkerId};

/// What a worker process says about itself when it registers.
#[derive(Clone, Debug)]
pub struct Registration {
    /// Its id, which it keeps.
    pub worker_id: WorkerId,
    /// The machine's name.
    pub host: String,
    /// The process's id on that machine.
    pub pid: u32,
    /// The program's version.
    pub version: String,
    /// How it processes orders.
    pub processor: ProcessorKind,
    /// Orders that it can work on at once.
    pub slots: u32,
    /// The address at which it hears that there are orders, if it listens.
    pub wakeup_address: Option<SocketAddr>,
    /// It counts as dead after this long without a heartbeat.
    pub dead_after: Duration,
}

/// What a heartbeat found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heartbeat {
    /// The worker was declared dead: its orders belong to others.
    Dead,
    /// The worker is alive.
    Alive {
        /// No other worker has been alive for longer.
        eldest: bool,
        /// Live workers that push orders to a service, this one included.
        pushing: u32,
    },
}

/// A live worker, by the database's clock.
#[derive(Clone, Debug)]
pub struct LiveWorker {
    /// Its id.
    pub worker_id: WorkerId,
    /// The machine's name.
    pub host: String,
    /// The process's id on that machine.
    pub pid: u32,
    /// The program's version.
    pub version: String,
    /// How it processes orders; `None` if it comes from a release that did not say.
    pub processor: Option<ProcessorKind>,
    /// Whether it sends orders to its service now; `None` unless it pushes them to one.
    pub breaker: Option<Breaker>,
    /// Orders that it can work on at once.
    pub slots: u32,
    /// Orders that it worked on at its last heartbeat.
    pub busy: u32,
    /// When it registered.
    pub started_at: DateTime<Utc>,
    /// Its last heartbeat.
    pub heartbeat_at: DateTime<Utc>,
}

/// How a worker processes orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProcessorKind {
    /// It only simulates work.
    Simulated,
    /// By code of its own program.
    Rust,
    /// It pushes them to a service over HTTP.
    Http,
}

impl ProcessorKind {
    /// The name, as it stands in the database.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Simulated => "simulated",
            Self::Rust => "rust",
            Self::Http => "http",
        }
    }
}

/// A name in the database that this release does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this release does not know the name")]
pub struct UnknownName;

impl FromStr for ProcessorKind {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        [Self::Simulated, Self::Rust, Self::Http].into_iter().find(|kind| kind.name() == name).ok_or(UnknownName)
    }
}

/// What a worker that pushes orders to a service does while that fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breaker {
    /// Whether it sends orders.
    pub state: BreakerState,
    /// Since when it has been closed, or not, by the database's clock.
    pub since: DateTime<Utc>,
    /// Why, for people; `None` while it is closed.
    pub reason: Option<String>,
}

/// Whether a worker sends orders to its service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BreakerState {
    /// It sends orders.
    Closed,
    /// It sends none, until the next probe.
    Open,
    /// It tries a few orders, to see whether the service is back.
    HalfOpen,
}

impl BreakerState {
    /// All states.
    pub const ALL: [Self; 3] = [Self::Closed, Self::Open, Self::HalfOpen];

    /// The name, as it stands in the database.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

impl FromStr for BreakerState {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        Self::ALL.into_iter().find(|state| state.name() == name).ok_or(UnknownName)
    }
}

/// The queue at one moment.
#[derive(Clone, Debug)]
pub struct Queue {
    /// When it was paused; `None` if it is not.
    pub paused_at: Option<DateTime<Utc>>,
    /// How many orders are in each status.
    pub counts: OrderCounts,
    /// The order that has been due for longest, when it became due, and how long ago that was.
    pub oldest_due: Option<(OrderId, DateTime<Utc>, Duration)>,
    /// All live workers, the longest running first.
    pub workers: Vec<LiveWorker>,
    /// How far the database's clock is behind the newest order, after it went back.
    pub clock_behind: Duration,
}

/// How many orders are in each status, at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OrderCounts {
    /// Orders that wait for a worker.
    pub pending: u64,
    /// Orders that a worker has claimed.
    pub processing: u64,
    /// Orders that are done.
    pub completed: u64,
    /// Orders that failed for good.
    pub failed: u64,
    /// Orders that were canceled.
    pub canceled: u64,
    /// Time from placing to completion, summed over all completed orders.
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

    /// Mean seconds from placing to completion; 0.0 if nothing was completed.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a mean of counts below 2^53 loses nothing that shows")]
    pub fn average_processing_secs(&self) -> f64 {
        if self.completed == 0 { 0.0 } else { self.processing_time.as_secs_f64() / self.completed as f64 }
    }
}
