use std::collections::HashSet;
use std::time::Duration;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::claims;
use super::claims::Orphaned;
use super::locked::still_held;
use crate::domain::{ClaimToken, Heartbeat, LiveWorker, OrderId, Registration, WorkerId};
use crate::store::sql::{Script, micros};
use crate::store::{Rescued, Store, StoreError};

/// Orders that one commit rescues at most.
const RESCUE_MAX: usize = 500;

const REGISTER: &str = r"
    insert into workers (worker_id, host, pid, version, slots, wakeup_address, expires_at)
    values (?, ?, ?, ?, ?, ?, now(6) + interval ? microsecond)
";

/// The server assigns from the first to the last: `steady_since` is judged by the heartbeat before this one. One of the
/// future was made before the clock went back, as `steady_since` was.
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
/// worker looks every few seconds, and mostly there is nobody.
///
/// The one who looks must not be late itself, nor have been so until a moment ago. After the clock went back, which begins
/// its steadiness anew, every other worker has a whole life to send a heartbeat by the new one.
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

impl Store {
    /// Makes a worker known. It must beat within `dead_after` from now on.
    ///
    /// # Errors
    ///
    /// When the database is away.
    pub async fn register(&self, worker: &Registration) -> Result<(), StoreError> {
        self.call("register this worker", async {
            let mut line = self.line().await?;
            sqlx::query(REGISTER)
                .bind(worker.worker_id.uuid())
                .bind(&worker.host)
                .bind(worker.pid)
                .bind(&worker.version)
                .bind(worker.slots)
                .bind(worker.wakeup_address.map(|address| address.to_string()))
                .bind(micros(worker.dead_after))
                .execute(&mut *line)
                .await?;
            line.done();
            Ok(())
        })
        .await
    }

    /// One heartbeat.
    ///
    /// # Errors
    ///
    /// When the database is away.
    pub async fn beat(&self, worker: &Registration, busy: u32) -> Result<Heartbeat, StoreError> {
        self.call("send a heartbeat", async {
            let mut line = self.line().await?;
            let beat = sqlx::query(BEAT)
                .bind(micros(late_after(worker)))
                .bind(micros(worker.dead_after))
                .bind(busy)
                .bind(worker.worker_id.uuid());
            let alive = beat.execute(&mut *line).await?.rows_affected() > 0;
            // Ids rise with time.
            let eldest: Option<Uuid> = sqlx::query_scalar(ELDEST).fetch_optional(&mut *line).await?;
            line.done();
            let eldest = eldest == Some(worker.worker_id.uuid());
            Ok(if alive { Heartbeat::Alive { eldest } } else { Heartbeat::Dead })
        })
        .await
    }

    /// Takes a worker that ends off the list. Whatever it still holds is rescued by others, at once.
    ///
    /// # Errors
    ///
    /// When the database is away; then the worker's heartbeat runs out.
    pub async fn unregister(&self, worker_id: WorkerId) -> Result<(), StoreError> {
        self.call("unregister this worker", async {
            let mut line = self.line().await?;
            sqlx::query("delete from workers where worker_id = ?").bind(worker_id.uuid()).execute(&mut *line).await?;
            line.done();
            Ok(())
        })
        .await
    }

    /// Declares every worker dead whose lease has run out, and returns how many. None, unless the heartbeats of the
    /// `observer` have been on time for a third of the time that it may be silent.
    ///
    /// # Errors
    ///
    /// When the database is away.
    pub async fn expire_workers(&self, observer: &Registration) -> Result<u64, StoreError> {
        self.call("look for dead workers", async {
            let mut line = self.line().await?;
            let expired: Vec<Uuid> = sqlx::query_scalar(EXPIRED)
                .bind(micros(CLOCK_WENT_BACK))
                .bind(micros(observer.dead_after))
                .bind(observer.worker_id.uuid())
                .bind(micros(late_after(observer)))
                .bind(micros(observer.dead_after / 3))
                .fetch_all(&mut *line)
                .await?;
            let mut dead = 0;
            for worker_id in expired {
                let expire = sqlx::query(EXPIRE).bind(worker_id).bind(micros(CLOCK_WENT_BACK));
                dead += expire.execute(&mut *line).await?.rows_affected();
            }
            line.done();
            Ok(dead)
        })
        .await
    }

    /// Takes orders back from dead workers, some of the batches that they claimed after `after`. Returns the last batch that
    /// was looked at, unless there are no more. What the database does not take as a whole is rescued order by order.
    ///
    /// # Errors
    ///
    /// When the database is away; then nothing of this may have been rescued.
    pub async fn rescue_orphans(&self, after: Option<ClaimToken>) -> Result<(Rescued, Option<ClaimToken>), StoreError> {
        let (batches, orphans) = self.orphans(after).await?;
        let Some(last) = batches.last().map(|batch| batch.token) else { return Ok((Rescued::default(), None)) };
        let (rescued, left) = if orphans.is_empty() {
            Default::default()
        } else {
            match self.take_back(orphans.clone()).await {
                Err(error) if !error.is_passing() => self.rescue_one_by_one(orphans).await?,
                other => other?,
            }
        };
        let is_done = |order_ids: &Vec<OrderId>| order_ids.iter().all(|order_id| !left.contains(order_id));
        let done = batches.iter().filter(|batch| batch.order_ids.as_ref().is_some_and(is_done));
        if let Err(error) = self.forget(&done.map(|batch| batch.token).collect::<Vec<_>>()).await {
            // They are found again, and nothing is left to be rescued.
            tracing::warn!(error = &error as &dyn std::error::Error, "claims of dead workers stay on the list");
        }
        Ok((rescued, Some(last)))
    }

    /// Rescues what can be rescued, and gives what is left.
    async fn rescue_one_by_one(
        &self,
        orphans: Vec<(OrderId, ClaimToken)>,
    ) -> Result<(Rescued, HashSet<OrderId>), StoreError> {
        let (mut total, mut left) = (Rescued::default(), HashSet::new());
        for orphan in orphans {
            match self.take_back(vec![orphan]).await {
                Ok((one, busy)) => {
                    total.rescued += one.rescued;
                    total.poisonous += one.poisonous;
                    left.extend(busy);
                }
                Err(error) if error.is_passing() => return Err(error),
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::error!(order_id = %orphan.0, error, "an order of a dead worker cannot be rescued");
                    left.insert(orphan.0);
                }
            }
        }
        Ok((total, left))
    }

    /// As many batches of dead workers as one commit takes back, and those of their orders that are still in work.
    async fn orphans(
        &self,
        after: Option<ClaimToken>,
    ) -> Result<(Vec<Orphaned>, Vec<(OrderId, ClaimToken)>), StoreError> {
        self.call("look for orders of dead workers", async {
            let mut line = self.line().await?;
            let mut batches = claims::orphaned(&mut line, after).await?;
            let mut orders = 0;
            batches.retain(|batch| {
                let is_first = orders == 0;
                orders += batch.order_ids.as_ref().map_or(0, Vec::len);
                is_first || orders <= RESCUE_MAX
            });
            let named = batches
                .iter()
                .flat_map(|batch| batch.order_ids.iter().flatten().map(|&order_id| (order_id, batch.token)));
            let orphans = still_held(&mut line, named.collect()).await?;
            line.done();
            Ok((batches, orphans))
        })
        .await
    }

    /// Takes the rows of batches away of which nobody holds an order any more.
    async fn forget(&self, tokens: &[ClaimToken]) -> Result<(), StoreError> {
        self.call("forget claims", async {
            let mut line = self.line().await?;
            claims::delete(Script::begin(), tokens).commit().run(&mut line).await?;
            line.done();
            Ok(())
        })
        .await
    }

    /// Every worker that is alive, the longest running first.
    ///
    /// # Errors
    ///
    /// When the database is away.
    pub async fn live_workers(&self) -> Result<Vec<LiveWorker>, StoreError> {
        self.call("list the workers", async {
            let mut line = self.line().await?;
            let rows: Vec<WorkerRow> = sqlx::query_as(LIVE).fetch_all(&mut *line).await?;
            line.done();
            Ok(rows.into_iter().map(LiveWorker::from).collect())
        })
        .await
    }
}

#[derive(Debug, sqlx::FromRow)]
struct WorkerRow {
    worker_id: Uuid,
    host: String,
    pid: u32,
    version: String,
    slots: u32,
    busy: u32,
    started_at: DateTime<Utc>,
    heartbeat_at: DateTime<Utc>,
}

impl From<WorkerRow> for LiveWorker {
    fn from(row: WorkerRow) -> Self {
        let WorkerRow { worker_id, host, pid, version, slots, busy, started_at, heartbeat_at } = row;
        Self { worker_id: worker_id.into(), host, pid, version, slots, busy, started_at, heartbeat_at }
    }
}

/// A heartbeat is late when half of the time has passed that its worker may be silent: two were missed, not one.
fn late_after(worker: &Registration) -> Duration {
    worker.dead_after / 2
}
