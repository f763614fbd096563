//! The workers' rows: who lives, who is dead, and where a worker hears of new orders.
//!
//! Death is the deletion of the row; no column says "dead". After an outage of the database, a pause of the machine or
//! a step of the clock, every row may have expired although all workers live. What made the others late made the
//! observer late too. So a late heartbeat, by the database's clock, moves the worker's `steady_since` to now, and only
//! a worker that is on time, and has been steady for a third of `WORKER_DEAD_AFTER_SECS`, declares others dead. By then
//! the other live workers, which try again within half a second of each miss, have sent heartbeats. For the same reason
//! a worker that has just started declares nobody dead for that long.

use std::net::SocketAddr;
use std::time::Duration;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::domain::{Heartbeat, LiveWorker, Registration, WorkerId};
use crate::store::sql::micros;
use crate::store::{Store, StoreError};

/// Addresses that a caller keeps in mind at most. Of more workers these are enough to find one that is idle.
const ADDRESSES_MAX: u32 = 1_000;

const REGISTER: &str = r"
    insert into workers (worker_id, host, pid, version, slots, wakeup_address, expires_at)
    values (?, ?, ?, ?, ?, ?, now(6) + interval ? microsecond)
";

/// The server assigns from the first to the last, so that `steady_since` goes by the heartbeat before this one. A heartbeat of
/// the future was made before the clock went back, as `steady_since` was.
const BEAT: &str = r"
    update workers
    set steady_since = if(
            heartbeat_at between now(6) - interval ? microsecond and now(6),
            steady_since,
            now(6)
        ),
        heartbeat_at = now(6),
        expires_at = now(6) + interval ? microsecond,
        busy = ?
    where worker_id = ?
";

const ELDEST: &str = "select worker_id from workers where expires_at > now(6) order by worker_id limit 1";

/// How far in the future a heartbeat lies that was made before the clock went back: more than any that was committed while
/// a statement waited for its lock.
const CLOCK_WENT_BACK: Duration = Duration::from_secs(5);

/// Workers whose lease has run out, or is further ahead than one life, since the clock went back. Locks nothing: every
/// worker asks every few seconds, and mostly nobody is dead.
///
/// The observer must not be late itself, nor have been so until a moment ago. After the clock went back, which begins its
/// steadiness anew, every other worker has a whole life to send a heartbeat by the new time.
const EXPIRED: &str = r"
    select dead.worker_id
    from workers as observer
    join workers as dead
        on dead.expires_at <= now(6)
        or dead.heartbeat_at > now(6) + interval ? microsecond
            and observer.steady_since <= now(6) - interval ? microsecond
    where observer.worker_id = ?
        and observer.heartbeat_at >= now(6) - interval ? microsecond
        and observer.steady_since <= now(6) - interval ? microsecond
    order by dead.worker_id
";

/// A worker is declared dead by this alone: its next heartbeat finds no row. One that has sent a heartbeat meanwhile lives.
const EXPIRE: &str = r"
    delete from workers
    where worker_id = ? and (expires_at <= now(6) or heartbeat_at > now(6) + interval ? microsecond)
";

const LIVE: &str = r"
    select worker_id, host, pid, version, slots, busy, started_at, heartbeat_at
    from workers
    where expires_at > now(6)
    order by started_at, worker_id
";

/// Reads the whole table, which has a row for each worker.
const WAKEUP_ADDRESSES: &str = r"
    select wakeup_address
    from workers
    where expires_at > now(6) and wakeup_address is not null
    order by worker_id
    limit ?
";

impl Store {
    /// Makes a worker known. From now on it must send a heartbeat within `dead_after`.
    pub async fn register(&self, worker: &Registration) -> Result<(), StoreError> {
        self.call("register this worker", async |connection| {
            sqlx::query(REGISTER)
                .bind(worker.worker_id.uuid())
                .bind(&worker.host)
                .bind(worker.pid)
                .bind(&worker.version)
                .bind(worker.slots)
                .bind(worker.wakeup_address.map(|address| address.to_string()))
                .bind(micros(worker.dead_after))
                .execute(&mut *connection)
                .await?;
            Ok(())
        })
        .await
    }

    /// One heartbeat.
    pub async fn beat(&self, worker: &Registration, busy: u32) -> Result<Heartbeat, StoreError> {
        self.call("send a heartbeat", async |connection| {
            let beat = sqlx::query(BEAT)
                .bind(micros(late_after(worker)))
                .bind(micros(worker.dead_after))
                .bind(busy)
                .bind(worker.worker_id.uuid());
            let alive = beat.execute(&mut *connection).await?.rows_affected() > 0;
            // Ids rise with time.
            let eldest: Option<Uuid> = sqlx::query_scalar(ELDEST).fetch_optional(&mut *connection).await?;
            let eldest = eldest == Some(worker.worker_id.uuid());
            Ok(if alive { Heartbeat::Alive { eldest } } else { Heartbeat::Dead })
        })
        .await
    }

    /// Takes a worker that ends off the list: others rescue at once what it still holds. After an error its heartbeat runs out.
    pub async fn unregister(&self, worker_id: WorkerId) -> Result<(), StoreError> {
        self.call("unregister this worker", async |connection| {
            sqlx::query("delete from workers where worker_id = ?")
                .bind(worker_id.uuid())
                .execute(&mut *connection)
                .await?;
            Ok(())
        })
        .await
    }

    /// Declares every worker dead whose lease has run out, and returns how many. None, unless the heartbeats of the
    /// `observer` have been on time for a third of the time that it may be silent.
    pub async fn expire_workers(&self, observer: &Registration) -> Result<u64, StoreError> {
        self.call("look for dead workers", async |connection| {
            let expired: Vec<Uuid> = sqlx::query_scalar(EXPIRED)
                .bind(micros(CLOCK_WENT_BACK))
                .bind(micros(observer.dead_after))
                .bind(observer.worker_id.uuid())
                .bind(micros(late_after(observer)))
                .bind(micros(observer.dead_after / 3))
                .fetch_all(&mut *connection)
                .await?;
            let mut dead = 0;
            for worker_id in expired {
                let expire = sqlx::query(EXPIRE).bind(worker_id).bind(micros(CLOCK_WENT_BACK));
                dead += expire.execute(&mut *connection).await?.rows_affected();
            }
            Ok(dead)
        })
        .await
    }

    /// Every worker that is alive, the longest running first.
    pub async fn live_workers(&self) -> Result<Vec<LiveWorker>, StoreError> {
        self.call("list the workers", async |connection| {
            let rows: Vec<WorkerRow> = sqlx::query_as(LIVE).fetch_all(&mut *connection).await?;
            Ok(rows.into_iter().map(live_worker).collect())
        })
        .await
    }

    /// Where live workers hear that orders are there. What is no address is left out.
    pub async fn wakeup_addresses(&self) -> Result<Vec<SocketAddr>, StoreError> {
        self.call("list the wakeup addresses of the workers", async |connection| {
            let query = sqlx::query_scalar(WAKEUP_ADDRESSES).bind(ADDRESSES_MAX);
            let addresses: Vec<String> = query.fetch_all(connection).await?;
            Ok(addresses.iter().filter_map(|address| address.parse().ok()).collect())
        })
        .await
    }
}

type WorkerRow = (Uuid, String, u32, String, u32, u32, DateTime<Utc>, DateTime<Utc>);

fn live_worker(row: WorkerRow) -> LiveWorker {
    let (worker_id, host, pid, version, slots, busy, started_at, heartbeat_at) = row;
    LiveWorker { worker_id: worker_id.into(), host, pid, version, slots, busy, started_at, heartbeat_at }
}

/// A heartbeat is late when half of the time has passed that its worker may be silent: two were missed, not one.
fn late_after(worker: &Registration) -> Duration {
    worker.dead_after / 2
}
