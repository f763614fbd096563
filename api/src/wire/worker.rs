use chrono::{DateTime, Utc};
use orders_shared::domain::LiveWorker;
use poem_openapi::Object;
use serde::Serialize;
use uuid::Uuid;

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
    /// Its release and the revision of its source, as `0.1.0+3f2a9c1d`.
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

impl From<LiveWorker> for WorkerState {
    fn from(worker: LiveWorker) -> Self {
        let LiveWorker { worker_id, host, pid, version, slots, busy, started_at, heartbeat_at } = worker;
        Self { worker_id: worker_id.uuid(), host, pid, version, slots, busy, started_at, heartbeat_at }
    }
}
