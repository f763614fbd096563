use chrono::{DateTime, Utc};
use orders_shared::domain::LiveWorker;
use poem_openapi::Object;
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
    /// Number of orders that it can work on at once.
    slots: u32,
    /// Number of orders that it was working on at its last heartbeat.
    busy: u32,
    /// When it started.
    started_at: DateTime<Utc>,
    /// When it sent its last heartbeat.
    heartbeat_at: DateTime<Utc>,
}

impl From<LiveWorker> for WorkerState {
    fn from(worker: LiveWorker) -> Self {
        let LiveWorker { worker_id, host, pid, version, slots, busy, started_at, heartbeat_at, .. } = worker;
        Self { worker_id: worker_id.uuid(), host, pid, version, slots, busy, started_at, heartbeat_at }
    }
}
