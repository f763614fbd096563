use chrono::{DateTime, Utc};
use orders_shared::domain::{self, BreakerState, LiveWorker, ProcessorKind};
use poem_openapi::{Enum, Object};
use serde::Serialize;
use uuid::Uuid;

/// A live worker.
#[derive(Object, Serialize)]
#[oai(rename = "Worker")]
pub(crate) struct WorkerState {
    /// The worker's id: a new one after each start.
    worker_id: Uuid,
    /// The name of its machine.
    host: String,
    /// The id of its process.
    pid: u32,
    /// Version and revision of its program, such as `0.1.0+3f2a9c1d`.
    version: String,
    /// How it processes orders; null if its release does not say.
    processor: Option<Processor>,
    /// Whether it sends orders to its service; null unless its processor is `http`.
    breaker: Option<Breaker>,
    /// Number of orders that it can work on at once.
    slots: u32,
    /// Number of orders that it was working on at its last heartbeat.
    busy: u32,
    /// When it started.
    started_at: DateTime<Utc>,
    /// When it sent its last heartbeat.
    heartbeat_at: DateTime<Utc>,
}

/// How a worker processes orders.
#[derive(Clone, Copy, Enum, Serialize)]
#[oai(rename_all = "snake_case", remote = "ProcessorKind")]
#[serde(rename_all = "snake_case")]
enum Processor {
    /// It only simulates work.
    Simulated,
    /// By code of its own program.
    Rust,
    /// It sends them to a service over HTTP.
    Http,
}

/// Whether a worker sends orders to its service, which it does less while the service fails or rejects most orders.
#[derive(Object, Serialize)]
struct Breaker {
    /// What it does now.
    state: State,
    /// When it last closed, or opened.
    since: DateTime<Utc>,
    /// Why it is not closed: `failing` or `rejecting`, and the last error; null while it is closed.
    reason: Option<String>,
}

/// What a worker does for its service.
#[derive(Clone, Copy, Enum, Serialize)]
#[oai(rename_all = "snake_case", rename = "BreakerState", remote = "BreakerState")]
#[serde(rename_all = "snake_case")]
enum State {
    /// It sends orders.
    Closed,
    /// It sends none, until the next probe.
    Open,
    /// It sends one, to see whether the service is back.
    HalfOpen,
}

impl From<LiveWorker> for WorkerState {
    fn from(worker: LiveWorker) -> Self {
        Self {
            worker_id: worker.worker_id.uuid(),
            host: worker.host,
            pid: worker.pid,
            version: worker.version,
            processor: worker.processor.map(Into::into),
            breaker: worker.breaker.map(Into::into),
            slots: worker.slots,
            busy: worker.busy,
            started_at: worker.started_at,
            heartbeat_at: worker.heartbeat_at,
        }
    }
}

impl From<domain::Breaker> for Breaker {
    fn from(breaker: domain::Breaker) -> Self {
        let domain::Breaker { state, since, reason } = breaker;
        Self { state: state.into(), since, reason }
    }
}
