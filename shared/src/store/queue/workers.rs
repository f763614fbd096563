//! The workers' rows: who is alive, who is dead, and the address at which a worker is notified of new orders.
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

use crate::domain::{Breaker, BreakerState, Heartbeat, LiveWorker, Registration, WorkerId};
use crate::store::sql::micros;
use crate::store::{Store, StoreError};

/// The most addresses that are read. Among so many workers some will be idle.
const ADDRESSES_MAX: u32 = 1_000;

const REGISTER: &str = r"
    insert into workers (worker_id, host, pid, version, processor, slots, wakeup_address, expires_at)
    values (?, ?, ?, ?, ?, ?, ?, now(6) + interval ? microsecond)
";

/// The server assigns columns in this order, so that `steady_since` and `breaker_since` still see the previous heartbeat. A
/// heartbeat in the future comes from before the clock went back, and so does `steady_since`.
///
/// A breaker that is not closed is open and half open in turn. Since when the service has been away is what people want to
/// know, so that counts as one state.
const BEAT: &str = r"
    update workers
    set steady_since = if(
            heartbeat_at between now(6) - interval ? microsecond and now(6),
            steady_since,
            now(6)
        ),
        heartbeat_at = now(6),
        expires_at = now(6) + interval ? microsecond,
        busy = ?,
        breaker_since = case
            when ? is null then null
            when (breaker = 'closed') = (? = 'closed') then breaker_since
            else now(6)
        end,
        breaker = ?,
        breaker_reason = ?
    where worker_id = ?
";

/// Reads the whole table, which has one row per worker. Ids rise with time.
const ELDEST_AND_PUSHING: &str = r"
    select min(worker_id), count(case when processor = 'http' then 1 end)
    from workers
    where expires_at > now(6)
";

/// A heartbeat so far in the future comes from before the clock went back. One that was committed while a statement
/// waited for its lock is not that far ahead.
const CLOCK_WENT_BACK: Duration = Duration::from_secs(5);

/// Workers whose time has expired, or whose heartbeat lies in the future since the clock went back. Locks nothing:
/// every worker asks every few seconds, and usually nobody is dead.
///
/// The observer must not be late itself, and must have been on time for a while. When the clock goes back, its
/// steadiness starts anew, and every other worker has its full time to send a heartbeat by the new clock.
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

/// Only this declares a worker dead: its next heartbeat finds no row. A worker that has sent a heartbeat in the
/// meantime lives.
const EXPIRE: &str = r"
    delete from workers
    where worker_id = ? and (expires_at <= now(6) or heartbeat_at > now(6) + interval ? microsecond)
";

const LIVE: &str = r"
    select
        worker_id, host, pid, version, processor, slots, busy, started_at, heartbeat_at,
        breaker, breaker_since, breaker_reason
    from workers
    where expires_at > now(6)
    order by started_at, worker_id
";

/// Reads the whole table, which has one row per worker.
const WAKEUP_ADDRESSES: &str = r"
    select wakeup_address
    from workers
    where expires_at > now(6) and wakeup_address is not null
    order by worker_id
    limit ?
";

impl Store {
    /// Registers a worker. From now on it must send heartbeats, each within `dead_after`.
    pub async fn register(&self, worker: &Registration) -> Result<(), StoreError> {
        self.call("register this worker", async |connection| {
            sqlx::query(REGISTER)
                .bind(worker.worker_id.uuid())
                .bind(&worker.host)
                .bind(worker.pid)
                .bind(&worker.version)
                .bind(worker.processor.name())
                .bind(worker.slots)
                .bind(worker.wakeup_address.map(|address| address.to_string()))
                .bind(micros(worker.dead_after))
                .execute(&mut *connection)
                .await?;
            Ok(())
        })
        .await
    }

    /// Sends a heartbeat, with the state of the breaker, and why it is not closed, if the worker has one.
    pub async fn beat(
        &self,
        worker: &Registration,
        busy: u32,
        breaker: Option<(BreakerState, Option<&str>)>,
    ) -> Result<Heartbeat, StoreError> {
        let state = breaker.map(|(state, _)| state.name());
        let reason = breaker.and_then(|(_, reason)| reason);
        self.call("send a heartbeat", async |connection| {
            let beat = sqlx::query(BEAT)
                .bind(micros(late_after(worker)))
                .bind(micros(worker.dead_after))
                .bind(busy)
                .bind(state)
                .bind(state)
                .bind(state)
                .bind(reason)
                .bind(worker.worker_id.uuid());
            let alive = beat.execute(&mut *connection).await?.rows_affected() > 0;
            let (eldest, pushing): (Option<Uuid>, i64) =
                sqlx::query_as(ELDEST_AND_PUSHING).fetch_one(&mut *connection).await?;
            let eldest = eldest == Some(worker.worker_id.uuid());
            let pushing = u32::try_from(pushing).unwrap_or_default();
            Ok(if alive { Heartbeat::Alive { eldest, pushing } } else { Heartbeat::Dead })
        })
        .await
    }

    /// Removes a worker that stops: others at once rescue the orders that it still holds. After an error, its row
    /// expires.
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

    /// Declares every worker dead whose time has expired, and returns how many. Does nothing unless the heartbeats of
    /// the `observer` have been on time for a third of the time that it may be silent.
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

    /// The addresses at which live workers are notified of new orders. Unreadable ones are left out.
    pub async fn wakeup_addresses(&self) -> Result<Vec<SocketAddr>, StoreError> {
        self.call("list the wakeup addresses of the workers", async |connection| {
            let query = sqlx::query_scalar(WAKEUP_ADDRESSES).bind(ADDRESSES_MAX);
            let addresses: Vec<String> = query.fetch_all(connection).await?;
            Ok(addresses.iter().filter_map(|address| address.parse().ok()).collect())
        })
        .await
    }
}

#[derive(sqlx::FromRow)]
struct WorkerRow {
    worker_id: Uuid,
    host: String,
    pid: u32,
    version: String,
    processor: Option<String>,
    slots: u32,
    busy: u32,
    started_at: DateTime<Utc>,
    heartbeat_at: DateTime<Utc>,
    breaker: Option<String>,
    breaker_since: Option<DateTime<Utc>>,
    breaker_reason: Option<String>,
}

/// A name that a later release has written counts as none.
fn live_worker(row: WorkerRow) -> LiveWorker {
    let state: Option<BreakerState> = row.breaker.and_then(|name| name.parse().ok());
    let breaker = state.zip(row.breaker_since);
    LiveWorker {
        worker_id: row.worker_id.into(),
        host: row.host,
        pid: row.pid,
        version: row.version,
        processor: row.processor.and_then(|name| name.parse().ok()),
        breaker: breaker.map(|(state, since)| Breaker { state, since, reason: row.breaker_reason }),
        slots: row.slots,
        busy: row.busy,
        started_at: row.started_at,
        heartbeat_at: row.heartbeat_at,
    }
}

/// A heartbeat is late after half of the time that its worker may be silent: by then it has missed two, not just one.
fn late_after(worker: &Registration) -> Duration {
    worker.dead_after / 2
}
